"""`ceph fscrypt doctor`: looks at all that encryption depends on, and says of each thing what to do.

Servers may not answer for long, so the checks are made one after the other on a thread of their own; a command takes
what is there in time, and says what is not. Nothing is changed.
"""

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from logging import Logger
from typing import Protocol, TypeVar

from . import doctor_checks as checks
from .audience import Audience, ClientPage
from .cluster import FileSystem, FileSystemMap, existing
from .doctor_checks import Layout, Modules, Pool, Schedule
from .findings import Finding, Grade, Report
from .gate_answers import GatePage
from .gates import Gates
from .observing import Census, Sight, SilentError
from .reach import Reach
from .refusal import RefusalError
from .results import Answer, Result
from .service import ServiceReport
from .subtrees import Subtrees
from .tenants import TenantPage, Tenants
from .values import Overview, SubtreePage

PATIENCE = 9.0
"""Seconds that a command waits for all checks together."""
_TENANTS = 1000
_CLIENTS = 1000
Kind = TypeVar("Kind", bound=Answer)


class Witnesses(Protocol):
    """Servers and modules that are asked for this only. All but `modules` may raise `SilentError`."""

    def versions(self) -> Mapping[str, Mapping[str, int]]:
        """Ask the monitors how many daemons of each kind run which version."""
        ...

    def pools(self) -> Sequence[Pool]:
        """Ask the monitors for all pools."""
        ...

    def layout_of(self, file_system: str, inode: int) -> Layout | None:
        """Ask the MDSs for a directory's layout; None: it is in no cache, or has none of its own."""
        ...

    def modules(self) -> Modules:
        """Which modules run. Cheap."""
        ...

    def schedules(self, file_system: str) -> Sequence[Schedule]:
        """Ask the module `snap_schedule`, if it runs, for all of its schedules."""
        ...


@dataclass(frozen=True)
class Practice:
    """What the doctor asks inside of the module.

    Args:
        subtrees, tenants, audience, gates, reach: the register and what is known of it; on the database's thread only.
        answer: does work there, and answers in time.
        overview: counts what is registered; on the database's thread.
        census: what was learnt of sessions and caps; may wait for a look that is due.
        service: how the engine service is.
        options: those that have another value than the default.
        cluster: the file systems.
    """

    subtrees: Subtrees
    tenants: Tenants
    audience: Audience
    gates: Gates
    reach: Reach
    answer: Callable[[Callable[[], Result]], Result]
    overview: Callable[[], Result]
    census: Callable[[], Census]
    service: Callable[[], ServiceReport]
    options: Callable[[], Mapping[str, str]]
    cluster: FileSystemMap


class Doctor:
    """Examines.

    Args:
        practice: what is inside of the module.
        witnesses: what is outside.
        executor: has one worker, so that examinations never overlap.
        log: where mistakes of ours are told.
        patience: seconds that a command waits.
    """

    def __init__(
        self,
        practice: Practice,
        witnesses: Witnesses,
        executor: Executor,
        log: Logger,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._practice = practice
        self._witnesses = witnesses
        self._executor = executor
        self.log = log
        self._patience = patience

    def examine(self, fs_name: str | None = None) -> Result:
        """Look at everything, or at one file system and what all share. Answers in time."""
        try:
            there = self._practice.cluster.file_systems()
            chosen = there if fs_name is None else (existing(self._practice.cluster, fs_name),)
        except RefusalError as refusal:
            return refusal.result
        examination = _Examination(self._practice, self._witnesses, chosen, fs_name, self.log)
        try:
            future = self._executor.submit(examination.run)
        except RuntimeError:
            return Result.failed(
                errno.EAGAIN, "the module is stopping; run the command again in a few seconds"
            )
        try:
            future.result(timeout=self._patience)
        except FutureTimeoutError:
            future.cancel()
            examination.stop()
        return Result(answer=examination.report())


class _Examination:
    """One run over all checks, which may be looked at while it goes on."""

    def __init__(
        self,
        practice: Practice,
        witnesses: Witnesses,
        chosen: Sequence[FileSystem],
        fs_name: str | None,
        log: Logger,
    ) -> None:
        self._practice = practice
        self._witnesses = witnesses
        self._chosen = chosen
        self._fs_name = fs_name
        self.log = log
        self._pools: Sequence[Pool] = ()
        self._answered = False
        self._counts: Mapping[int, tuple[int, int]] = {}
        self._census = Census()
        self._stopped = False
        # what answers at once comes first
        self._checks: Mapping[str, Callable[[], Iterable[Finding]]] = {
            "options": lambda: checks.options(practice.options(), [each.name for each in self._all()]),
            "service": lambda: [checks.service(practice.service())],
            "modules": lambda: checks.modules(witnesses.modules()),
            "release": lambda: checks.releases(witnesses.versions()),
            "database": self._database,
            "kms": self._key_managers,
            "pool": self._of_pools,
            "features": self._features,
            "clients": self._clients,
            "gates": lambda: checks.gates(self._asked(practice.gates.show, GatePage, self._fs_name)),
            "caps": self._caps,
            "layout": self._layouts,
            "snapshots": self._schedules,
        }
        self._found: dict[str, tuple[Finding, ...]] = {}

    def run(self) -> None:
        """Make all checks."""
        for name, check in self._checks.items():
            if self._stopped:
                return
            found: list[Finding] = []
            try:
                # one by one: what was found before somebody fell silent stays
                for each in check():
                    found.append(each)
            except (SilentError, RefusalError) as error:
                remedy = "`ceph health detail`, then run it again"
                found.append(Finding(name, Grade.UNKNOWN, str(error), remedy))
            except Exception as error:
                self.log.exception("the doctor failed by a mistake of this module")
                told = f"internal error ({type(error).__name__}), see the manager's log"
                found.append(Finding(name, Grade.UNKNOWN, told, "report it with this minute of that log"))
            self._found[name] = tuple(found)

    def stop(self) -> None:
        """Begin no other check."""
        self._stopped = True

    def report(self) -> Report:
        """What was found by now."""
        late = "was not told in time: a server, or the database, does not answer"
        found = dict(self._found)
        return Report(
            tuple(
                each
                for name in self._checks
                for each in found.get(
                    name, (Finding(name, Grade.UNKNOWN, late, "`ceph -s`, then run it again"),)
                )
            )
        )

    def _all(self) -> Sequence[FileSystem]:
        return self._practice.cluster.file_systems()

    def _asked(
        self, question: Callable[..., Result], kind: type[Kind], *words: object, **more: object
    ) -> Kind:
        """An answer of the register. Raises `RefusalError`: it has none now."""
        result = self._practice.answer(lambda: question(*words, **more))
        if not isinstance(result.answer, kind):
            raise RefusalError(result.code, result.status)
        return result.answer

    def _database(self) -> Iterator[Finding]:
        try:
            overview = self._asked(self._practice.overview, Overview)
        except RefusalError as error:
            yield Finding("database", Grade.ERROR, str(error), "`ceph osd stat`, `ceph health detail`")
            return
        self._answered = True
        self._counts = {each.fscid: (each.engine, each.kernel) for each in overview.file_systems}
        yield from checks.database(overview.file_systems)

    def _key_managers(self) -> Iterator[Finding]:
        tenants = self._asked(self._practice.tenants.listing, TenantPage, self._fs_name, limit=_TENANTS)
        yield from checks.key_managers(self._practice.service(), tenants)

    def _sights(self) -> Iterator[Sight]:
        """What was learnt of the chosen file systems. Raises `SilentError`: nothing yet."""
        if not self._census.asked:
            self._census = self._practice.census()
        for each in self._chosen:
            sight = self._census.sights.get(each.fscid)
            if sight is None:
                trouble = self._census.trouble or "the servers are being asked"
                raise SilentError(f"nothing was learnt of file system {each.name} yet ({trouble})")
            yield sight

    def _of_pools(self) -> Iterator[Finding]:
        self._pools = self._witnesses.pools()
        for sight in self._sights():
            _, kernel = self._counts.get(sight.file_system.fscid, (0, 0))
            yield from checks.pools(sight.served, self._pools, kernel_mode=bool(kernel))

    def _features(self) -> Iterator[Finding]:
        if not self._answered:
            raise SilentError("the manager's database did not tell whether there are subtrees")
        for sight in self._sights():
            yield checks.features(sight.served, sum(self._counts.get(sight.file_system.fscid, (0, 0))))

    def _clients(self) -> Iterator[Finding]:
        page = self._asked(self._practice.audience.listing, ClientPage, self._fs_name, limit=_CLIENTS)
        yield from checks.clients(page)

    def _caps(self) -> Iterator[Finding]:
        for sight in self._sights():
            found = self._asked(self._reached, Report, sight)
            yield from found.findings

    def _reached(self, sight: Sight) -> Result:
        return Result(answer=Report(tuple(self._practice.reach.findings(sight, self._census.entities))))

    def _layouts(self) -> Iterator[Finding]:
        coded = {pool.number for pool in self._pools if pool.coded}
        for sight in self._sights():
            name = sight.file_system.name
            some = self._asked(self._practice.subtrees.listing, SubtreePage, name, limit=checks.LOOKED_AT)
            places = [("/", 1), *((line.path, line.inode) for line in some.subtrees)]
            asked = [(path, self._witnesses.layout_of(name, inode)) for path, inode in places]
            yield from checks.layouts(
                sight.served, asked, sum(self._counts.get(sight.file_system.fscid, (0, 0))), coded
            )

    def _schedules(self) -> Iterator[Finding]:
        for each in self._chosen:
            found = self._witnesses.schedules(each.name)
            some = self._asked(self._practice.subtrees.listing, SubtreePage, each.name)
            yield from checks.schedules(each.name, found, some.subtrees)
