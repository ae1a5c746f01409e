"""What ceph-mgr loads: begin and end, health, and the thread on which commands (`door`) use the database.

Runs in ceph-mgr of 18.2 and 20.2, in whose interpreters neither a cipher library nor libcephfs is touched by
this module (doc/facts.md M1). Handlers run on ceph-mgr's threads and must not wait: the database is only used
on a thread of its own (`control.waiting`).
"""

import errno
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

from mgr_module import CommandResult, HandleCommandResult, MgrDBNotReady, MgrModule

from .api.dashboard import DashboardDoor
from .api.service import ApiService, Settings
from .api.sessions import Sessions
from .control import (
    Audit,
    AuditWatch,
    FileSystem,
    KeyLine,
    KeyPage,
    Keys,
    Resources,
    Result,
    Subtrees,
    TenantLine,
    TenantPage,
    Tenants,
)
from .control.access import Access
from .control.acting import Acting
from .control.audience import Audience
from .control.client_lines import left_to_a_client
from .control.destructions import Destructions
from .control.doctor import Doctor, Practice
from .control.evictions import Evictions
from .control.evictor import Evictor
from .control.follow_up import FollowUp
from .control.gatekeeper import Gatekeeper
from .control.gates import Gates
from .control.health import AHEAD, LATE, DatabaseWatch, job_checks, key_checks, rotation_checks
from .control.history import History
from .control.job_watch import JobWatch
from .control.jobs import Jobs
from .control.key_managers import KeyManagers
from .control.metrics import Metrics
from .control.migration_outcomes import MigrationOutcomes
from .control.migration_watch import MigrationWatch
from .control.migrations import Migrations
from .control.node_bundles import NodeBundles
from .control.observing import Observer
from .control.opening import Opening
from .control.outages import Outages
from .control.persons import Line
from .control.protectors import ProtectorWatch
from .control.reach import Reach
from .control.rescanning import Rescans
from .control.rungs import Rungs
from .control.sampling import Sampler
from .control.scans import Scans, ScanWatch
from .control.service import ServiceKeeper
from .control.sessions import LoggedIn
from .control.subtree_jobs import SubtreeJobs
from .control.values import Simplified
from .control.waiting import Waiting
from .door import Commands
from .door.command import Command
from .door.options import OPTIONS
from .messages import RELEASE
from .messages.job import Jobs as JobsAtAGlance
from .progress_board import ProgressBoard
from .servers import ManagedServers
from .service_link import ServiceLink, Way
from .store import (
    ActTable,
    DestructionTable,
    EvictionTable,
    GateTable,
    IdentityTable,
    Joined,
    KeyTable,
    LeftMigrationTable,
    MeasureTable,
    NewerSchemaError,
    NotReadyError,
    SubtreeTable,
    TenantTable,
    prepare,
)

PATIENCE = 5.0
"""Seconds that a command waits for the database."""
_LOOK = 3.0
"""Seconds that the doctor waits for a look at sessions and caps, and for each question to a server."""
TICK = 10.0
"""Seconds between two looks at the health."""
SOON = 1.0
"""The same while lockboxes are read."""


class Module(
    Commands,
    MgrModule,  # type: ignore[misc] # ceph-mgr's base class has no types
):
    """The module ``fscrypt`` of ceph-mgr."""

    CLICommand = Command
    DASHBOARD: ClassVar = DashboardDoor()
    # ceph-mgr does not tell who gives a command (doc/facts.md M12)
    who = ""
    behind: Line = ()
    MODULE_OPTIONS: ClassVar = list(OPTIONS)
    # ceph-mgr demands a schema that it counts itself; ours is the store's, counted by the store
    SCHEMA: Sequence[str] = ()
    SCHEMA_VERSIONED: Sequence[Sequence[str]] = ((),)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stopping = threading.Event()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fscrypt-database")
        self._waiting = Waiting(self._worker, PATIENCE)
        database = Joined(self)
        keys, subtrees, tenants = KeyTable(database), SubtreeTable(database), TenantTable(database)
        self.keys = Keys(store=keys, cluster=self, clock=time.time)
        self.tenants = Tenants(store=tenants, cluster=self, clock=time.time)
        self.subtrees = Subtrees(store=subtrees, cluster=self, clock=time.time, key=self.keys.line)
        self._protectors = ProtectorWatch(keys=keys, tenants=tenants, subtrees=subtrees, cluster=self)
        self.service = ServiceKeeper(
            ServiceLink(self._way_of_service, self.log),
            now=time.monotonic,
            date=time.time,
            log=self.log,
            seen=self._seen_jobs,
        )
        self._job_watch = JobWatch(ProgressBoard(self), self.log)
        self.jobs = Jobs(
            service=self.service,
            cluster=self,
            registered=lambda fs, path: self._answer(lambda: self.subtrees.show(fs, path)),
            new_id=lambda: uuid.uuid4().hex,
        )
        self.audit = Audit(
            store=ActTable(database),
            clock=time.time,
            manager=f"mgr.{self.get_mgr_id()}",
            tell=lambda text: self.cluster_log("audit", self.ClusterLogPrio.INFO, text),
        )
        self.key_managers = KeyManagers(ask=self.service.asked, cluster=self)
        self.rescans = Rescans(
            ask=self.service.asked,
            managers=self.key_managers.known,
            keys=self.keys,
            tenants=self.tenants,
            cluster=self,
            answer=self._answer_or_later,
            recorded=self.audit.recorded,
            wiped=self.service.wiped,
        )
        gates = GateTable(database)
        self._make_gates(subtrees, gates, EvictionTable(database))
        self.scans = Scans(
            service=self.service,
            store=subtrees,
            cluster=self,
            whole=database.whole,
            answer=self._answer,
        )
        self._scan_watch = ScanWatch(
            scans=self.scans,
            subtrees=self.subtrees,
            cluster=self,
            marks=self,
            answer=self._answer,
            recorded=self.audit.recorded,
        )
        left = LeftMigrationTable(database)
        self._migration_watch = MigrationWatch(
            left=left,
            jobs=self.jobs,
            cluster=self,
            answer=self._answer,
            recorded=self.audit.recorded,
            now=time.monotonic,
            date=time.time,
        )
        self._health: Simplified = {}
        self._late: Sequence[TenantLine] = ()
        self.metrics = Metrics(
            subtrees=self.subtrees,
            keys=self.keys,
            counted=keys,
            tenants=self.tenants,
            audience=self.audience,
            gates=self.gates,
            audit=self.audit,
            cluster=self,
            clock=time.time,
            answer=self._answer,
            census=self.observer.census,
            service=self.service.report,
            migrations=self._migration_watch,
            health=lambda: self._health,
        )
        measures = MeasureTable(database)
        self.history = History(store=measures, clock=time.time)
        self._sampler = Sampler(
            measures=measures,
            subtrees=subtrees,
            keys=keys,
            cluster=self,
            service=self.service.report,
            ask=self.service.asked,
            answer=self._answer,
            whole=database.whole,
            clock=time.time,
        )
        self._make_doctor(Reach(subtrees=subtrees, gates=gates))
        self._make_subtree_jobs(left)
        self.destructions = Destructions(
            store=DestructionTable(database),
            keys=self.keys,
            cluster=self,
            clock=time.time,
            wanted=lambda: bool(self.get_module_option("two_people")),
        )
        self.resources = Resources(
            subtrees=self.subtrees,
            keys=self.keys,
            gates=self.gates,
            subtree_store=subtrees,
            key_store=keys,
            gate_store=gates,
            tenant_store=tenants,
            cluster=self,
            destructions=self.destructions,
        )
        self.access = Access(store=IdentityTable(database), clock=time.time, answer=self._answer)
        self.outages = Outages(
            database=lambda: self._waiting.trouble,
            service=self.service.trouble,
            report=self.service.report,
            census=self.observer.census,
        )
        sessions = Sessions(time.monotonic, time.time)
        self.sessions = LoggedIn(sessions, self.access)
        self._acting = Acting(answer=self._answer, audit=self.audit, wiped=self.service.wiped, log=self.log)
        self.serving = ApiService(
            desk=self,
            cluster=self,
            commands={
                name.removeprefix("fscrypt "): each.func
                for name, each in Command.COMMANDS.items()
                if name.startswith("fscrypt ")
            },
            acting=self._acting,
            access=self.access,
            settings=self._way_of_api,
            kept=self,
            dashboard=self.DASHBOARD,
            sessions=sessions,
            log=self.log,
        )

    def serve(self) -> None:
        """Watch the database and the service until ceph-mgr stops the module."""
        threading.Thread(target=self.service.run, name="fscrypt-service", daemon=True).start()
        threading.Thread(
            target=self.observer.run,
            args=[self._watched, self._act_on_clients],
            name="fscrypt-observer",
            daemon=True,
        ).start()
        threading.Thread(target=self.follow_up.run, name="fscrypt-follow-up", daemon=True).start()
        threading.Thread(target=self.serving.run, name="fscrypt-api", daemon=True).start()
        watch = DatabaseWatch(time.monotonic)
        acts = AuditWatch(self.audit)
        # what the database told last holds while it does not answer: no warning ends by that
        keys: Sequence[KeyLine] = ()
        while not self._stopping.is_set():
            due = self._answer(lambda: self.keys.due(AHEAD))
            if isinstance(due.answer, KeyPage):
                keys = due.answer.keys
            checks = watch.checks(due) | key_checks(keys, time.time()) | self._checks_of_rotations()
            if due.success:
                self._answer(acts.look)
                self._answer(self._protectors.look)
                self._scan_watch.look()
                self._migration_watch.look(self.service.jobs())
                self._sampler.look(self.service.jobs())
            checks |= acts.checks() | self._protectors.checks() | self._scan_watch.checks()
            checks |= self._migration_watch.checks()
            checks |= job_checks(self.service.jobs(), time.time())
            if self.access.met:
                self._answer(self.access.note)
            checks |= self.serving.checks()
            checks |= self.service.checks() | self._gatekeeper.checks() | self._evictor.checks()
            self._health = checks
            self.set_health_checks(checks)
            self.rescans.step()
            self._stopping.wait(SOON if self.rescans.wanted else TICK)

    def _make_gates(self, subtrees: SubtreeTable, gates: GateTable, evictions: EvictionTable) -> None:
        """What watches clients and gates: it asks servers, on a thread of its own."""
        servers = ManagedServers(self, CommandResult)
        self.observer = Observer(servers, date=time.time, log=self.log)
        parts: Any = {
            "subtrees": subtrees,
            "cluster": self,
            "census": self.observer.census,
            "clock": time.time,
        }
        self.evictions = Evictions(store=evictions, gates=gates, **parts)
        self.audience = Audience(gates=gates, ended=self.evictions.ended, **parts)
        self.gates = Gates(store=gates, **parts)
        self.rungs = Rungs(self.gates, self.evictions)
        doing: Any = {
            "servers": servers,
            "answer": self._answer,
            "recorded": self.audit.recorded,
            "log": self.log,
        }
        self._gatekeeper = Gatekeeper(gates=self.gates, audience=self.audience, **doing)
        self._evictor = Evictor(evictions=self.evictions, clock=time.time, pause=time.sleep, **doing)

    def _watched(self) -> bool:
        """Is there anything to learn of clients for?"""
        return self._gatekeeper.watched() or self._evictor.watched()

    def _act_on_clients(self) -> bool:
        """Do what is wanted and not done, caps before sessions; True: something was changed."""
        changed = self._gatekeeper.act()
        return self._evictor.act() or changed

    def _make_doctor(self, reach: Reach) -> None:
        """What looks at everything when it is asked to: on a thread of its own, which may wait for servers."""
        self._examiner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fscrypt-doctor")
        practice = Practice(
            subtrees=self.subtrees,
            tenants=self.tenants,
            audience=self.audience,
            gates=self.gates,
            reach=reach,
            answer=self._answer,
            overview=self.overview,
            census=lambda: self.observer.fresh(_LOOK),
            service=self.service.report,
            options=self._options,
            cluster=self,
        )
        witnesses = ManagedServers(self, CommandResult, patience=_LOOK)
        self.doctor = Doctor(practice, witnesses, self._examiner, self.log)

    def _make_subtree_jobs(self, left: LeftMigrationTable) -> None:
        """What is asked of the service for one subtree, and what comes of it."""
        parts: Any = {
            "subtrees": self.subtrees,
            "gates": self.gates,
            "jobs": self.jobs,
            "answer": self._answer,
            "own": self._admitted_entity,
        }
        self.follow_up = FollowUp(
            service=self.service,
            evictions=self.evictions,
            migrations=MigrationOutcomes(
                service=self.service,
                subtrees=self.subtrees,
                left=left,
                answer=self._answer_or_later,
                recorded=self.audit.recorded,
            ),
            cluster=self,
            recorded=self.audit.recorded,
            hurry=self.observer.hurry,
            marks=self,
            now=time.monotonic,
            log=self.log,
            **parts | {"answer": self._answer_or_later},
        )
        opening = Opening(keys=self.keys, tenants=self.tenants, answer=self._answer)
        self.node_bundles = NodeBundles(
            ask=self.service.asked,
            subtrees=self.subtrees,
            cluster=self,
            answer=self._answer,
            now=time.monotonic,
            pause=time.sleep,
            new_ticket=lambda: uuid.uuid4().hex,
        )
        self.subtree_jobs = SubtreeJobs(opening=opening, creations=self.follow_up, **parts)
        self.migrations = Migrations(
            subtrees=self.subtrees,
            opening=opening,
            jobs=self.jobs,
            service=self.service,
            cluster=self,
            answer=self._answer,
        )

    def _admitted_entity(self) -> str:
        """Whom gates have to let in, so that the service can work: no gate keeps a manager out."""
        entity = self._option("service_entity")
        return entity if entity.startswith("client.") else ""

    def _seen_jobs(self, jobs: JobsAtAGlance | None) -> None:
        self._job_watch.look(jobs)
        self.follow_up.seen(jobs)

    def _checks_of_rotations(self) -> Simplified:
        states = self.service.rotations()
        if states:
            self._answer(lambda: self.tenants.learn(states))
            self.rescans.rotated(states)
        late = self._answer(lambda: self.tenants.due(LATE)).answer
        if isinstance(late, TenantPage):
            self._late = late.tenants
        return rotation_checks(self._late, states)

    def shutdown(self) -> None:
        """Stop `serve` and the service; work on the database that has begun ends by itself."""
        self._stopping.set()
        self.service.stop()
        self.observer.stop()
        self.follow_up.stop()
        self.serving.stop()
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._examiner.shutdown(wait=False, cancel_futures=True)

    def file_systems(self) -> Sequence[FileSystem]:
        """Give the file systems of the present map (`control.FileSystemMap`)."""
        present = self.get("fs_map")["filesystems"]
        return [FileSystem(each["id"], each["mdsmap"]["fs_name"]) for each in present]

    def mark(self, name: str) -> str | None:
        """See `control.marks.Marks`."""
        found = self.get_store(name)
        return None if found is None else str(found)

    def set_mark(self, name: str, text: str) -> None:
        """See `control.marks.Marks`. Waits for the monitors."""
        self.set_store(name, text)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the store one transaction on the module's database (`store.Database`)."""
        with self._db_lock:
            try:
                db = self.db
            except MgrDBNotReady as error:
                msg = "the pool .mgr is not there yet"
                raise NotReadyError(msg) from error
            with db:
                # without BEGIN each statement commits by itself, 8 ms each (doc/facts.md M4)
                db.execute("BEGIN")
                prepare(db)
                self._waiting.trouble = ""
                yield db

    def overview(self) -> Result:
        """See `Desk`."""
        # "ceph version 20.2.4 (hash) name (stable)"
        return self.subtrees.overview(version=RELEASE, ceph=" ".join(self.version.split()[0:3:2]))

    def _way_of_service(self) -> Way | None:
        """How the service should run by the module's options; None: not now."""
        way = self._option("service")
        if way == "off" or not self.file_systems():
            return None
        entity = self._option("service_entity")
        return Way(
            socket=self._option("service_socket") if way == "socket" else "",
            python=self._option("service_python"),
            conf=self.get_ceph_conf_path(),
            entity=entity or f"mgr.{self.get_mgr_id()}",
            keyring=self._option("service_keyring")
            or ("" if entity else str(self.get_ceph_option("keyring"))),
            file_system=self._option("service_fs"),
            longest=float(self.get_module_option("service_resident_limit")),
        )

    def _way_of_api(self) -> Settings | None:
        """How the API should be served by the module's options; None: not at all."""
        if not self.get_module_option("api_server"):
            return None
        return Settings(
            address=self._option("api_address") or self.get_mgr_ip(),
            port=int(self.get_module_option("api_port")),
            certificate=self._option("api_certificate"),
            key=self._option("api_key"),
            authority=self._option("api_client_authority"),
            open_metrics=bool(self.get_module_option("api_open_metrics")),
        )

    def config_notify(self) -> None:
        """Called by ceph-mgr when options were changed."""
        self.serving.hurry()

    def _options(self) -> dict[str, str]:
        """The module's options that have another value than the default."""
        said = {each["name"]: (self.get_module_option(each["name"]), each["default"]) for each in OPTIONS}
        return {
            name: str(value) for name, (value, default) in said.items() if (value or "") != (default or "")
        }

    def _option(self, name: str) -> str:
        return str(self.get_module_option(name) or "")

    def left_to_a_client(
        self,
        fs: str,
        words: Sequence[str],
        form: str | None,
        options: Mapping[str, str | bool | None] | None = None,
    ) -> HandleCommandResult:
        """See `Desk`."""
        return self.reply_at_once(lambda: left_to_a_client(self, fs, words, options), form)

    def reply_at_once(self, work: Callable[[], Result], form: str | None = None) -> HandleCommandResult:
        """See `Desk`."""
        return _rendered(self._acting.asked_at_once(work), form)

    def reply(self, work: Callable[[], Result], form: str | None = None) -> HandleCommandResult:
        """See `Desk`."""
        return _rendered(self._acting.asked(work), form)

    def act(
        self,
        command: str,
        about: Sequence[str],
        work: Callable[[], Result],
        form: str | None = None,
        *,
        dry_run: bool = False,
    ) -> HandleCommandResult:
        """See `Desk`."""
        return _rendered(self._acting.done(command, about, work, dry_run=dry_run), form)

    def act_at_once(
        self,
        command: str,
        about: Sequence[str],
        work: Callable[[], Result],
        form: str | None = None,
        *,
        dry_run: bool = False,
    ) -> HandleCommandResult:
        """See `Desk`."""
        return _rendered(self._acting.done_at_once(command, about, work, dry_run=dry_run), form)

    def _answer(self, work: Callable[[], Result]) -> Result:
        return self._waiting.answer(lambda: self._on_database(work))

    def _answer_or_later(self, work: Callable[[], Result]) -> Result:
        """As `_answer`, for what goes on by itself until it is refused: a database that fails refuses nothing."""
        return self._waiting.answer(lambda: self._on_database(work, failed=errno.EAGAIN, newer=errno.EAGAIN))

    def _on_database(
        self, work: Callable[[], Result], *, failed: int = errno.EIO, newer: int = errno.EPERM
    ) -> Result:
        """Do work on the database's thread; what goes wrong with the database becomes its result."""
        try:
            try:
                return work()
            except sqlite3.DatabaseError as error:
                # a lost lock or an absent placement group spoils a connection: once more with a new one
                self.log.warning("database: %s; trying again on a new connection", error)
                self.close_db()
                return work()
        except NotReadyError as error:
            self._waiting.trouble = str(error)
            return Result.failed(
                errno.EAGAIN,
                f"{error}, nothing was changed; wait for an OSD (`ceph osd stat`), then run it again",
            )
        except NewerSchemaError as error:
            self._waiting.trouble = str(error)
            return Result.failed(newer, str(error))
        except sqlite3.Error as error:
            self._waiting.trouble = str(error)
            return Result.failed(
                failed,
                f"the manager's database failed: {error}; see the manager's log, then run the command again "
                "(twice does no harm)",
            )


def _rendered(result: Result, form: str | None) -> HandleCommandResult:
    return HandleCommandResult(*result.rendered(form))
