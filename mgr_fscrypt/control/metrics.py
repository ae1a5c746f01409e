"""What `ceph fscrypt metrics` tells Prometheus: how many, of which state; never a label for a path or a session.

`FAMILIES` is the whole list: the page on monitoring, alert rules and the dashboard are held against it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from ..messages import RELEASE
from ..messages.migration_job import ENCRYPT, MIGRATE
from .audience import Audience, ClientPage
from .audit import ActPage, Audit
from .cluster import FileSystemMap, names_of
from .exposition import Exposition, Family, Sample
from .gate_answers import GatePage
from .gates import Gates
from .health import AHEAD, LATE, expiring_keys, untested_keys
from .keys import KeyPage, Keys
from .migration_watch import MigrationWatch
from .observing import Census
from .paging import MAX_PAGE
from .results import Result
from .service import ServiceReport
from .subtrees import Subtrees
from .tenants import TenantPage, Tenants
from .values import Overview, Simplified
from .verdicts import Kind

_STATES = ("serving", "standby", "unreachable", "down", "off")

INFO = Family("ceph_fscrypt_info", "gauge", "1; the release of the module.", ("release",))
DATABASE = Family(
    "ceph_fscrypt_database_up", "gauge", "Whether the module's database answers (1) or not (0)."
)
SUBTREES = Family(
    "ceph_fscrypt_subtrees",
    "gauge",
    "Registered encrypted subtrees, by the mode of new files.",
    ("fs", "mode"),
)
KEYS = Family("ceph_fscrypt_keys", "gauge", "Master keys that were reported, by state.", ("fs", "state"))
EXPIRING = Family(
    "ceph_fscrypt_keys_expiring", "gauge", "Master keys whose day is within 30 days, or past.", ("fs",)
)
UNTESTED = Family(
    "ceph_fscrypt_keys_untested", "gauge", "Master keys whose recovery drill is overdue.", ("fs",)
)
OVERDUE = Family(
    "ceph_fscrypt_rotations_overdue",
    "gauge",
    "Tenants whose key was to be rotated a day ago or before.",
    ("fs",),
)
CLIENTS = Family(
    "ceph_fscrypt_clients",
    "gauge",
    "Client sessions, of 5000 at most, by what they can do to encrypted subtrees.",
    ("fs", "verdict"),
)
GATES = Family("ceph_fscrypt_gates", "gauge", "Gates, by rung and state.", ("fs", "rung", "state"))
LOOKED = Family(
    "ceph_fscrypt_last_look_timestamp_seconds",
    "gauge",
    "When servers last told of sessions and caps, in seconds since the epoch; 0: never.",
)
SERVICE = Family(
    "ceph_fscrypt_service", "gauge", "1 for the state that the engine service is in.", ("state",)
)
SERVICE_KEYS = Family(
    "ceph_fscrypt_service_keys",
    "gauge",
    "Master keys in the engine service's memory, or on their way.",
    ("state",),
)
JOBS = Family(
    "ceph_fscrypt_jobs", "gauge", "Jobs of the engine service, except for those that are done.", ("state",)
)
JOB_KINDS = Family(
    "ceph_fscrypt_job_kinds",
    "gauge",
    "Jobs by kind and state: of those that are not over, and of those that are, 20 at most.",
    ("kind", "state"),
)
MIGRATED = Family(
    "ceph_fscrypt_migration_entries",
    "gauge",
    "Entries of the migrations that are at work: done in the present step, and all of them.",
    ("what",),
)
MIGRATIONS_STALLED = Family("ceph_fscrypt_migrations_stalled", "gauge", "Migrations that do not get on.")
TRASH = Family(
    "ceph_fscrypt_migration_trash",
    "gauge",
    "Old trees that are kept after their migration, by its direction.",
    ("fs", "direction"),
)
PLAINTEXT = Family(
    "ceph_fscrypt_migration_plaintext",
    "gauge",
    "Places with the plaintext of what was encrypted since: old trees, and snapshots that have them.",
    ("fs", "where"),
)
KMS = Family(
    "ceph_fscrypt_kms_reachable", "gauge", "Whether a key manager answered the engine service last.", ("kms",)
)
ACTS = Family("ceph_fscrypt_audit_records_total", "counter", "Records of the audit.")
HEALTH = Family(
    "ceph_fscrypt_health_check",
    "gauge",
    "What a health check of this module counts; there while the check is raised.",
    ("name", "severity"),
)
FAMILIES = (
    INFO,
    DATABASE,
    SUBTREES,
    KEYS,
    EXPIRING,
    UNTESTED,
    OVERDUE,
    CLIENTS,
    GATES,
    LOOKED,
    SERVICE,
    SERVICE_KEYS,
    JOBS,
    JOB_KINDS,
    MIGRATED,
    MIGRATIONS_STALLED,
    TRASH,
    PLAINTEXT,
    KMS,
    ACTS,
    HEALTH,
)


class CountedKeys(Protocol):
    """Reported keys; `store.KeyTable` tells what each call means."""

    def counts(self) -> Mapping[tuple[int, str], int]:
        """Count by file system and state."""
        ...


class Metrics:
    """Measures.

    Args:
        subtrees, keys, tenants, audience, gates, audit: the register; asked on the database's thread only.
        counted: counts keys; the same.
        cluster: the file systems.
        clock: seconds since the epoch.
        answer: does work there, and answers in time.
        census: what was learnt last.
        service: how the engine service is.
        migrations: what they left, and which do not get on.
        health: the health checks that are raised, as ceph-mgr has them.
    """

    def __init__(
        self,
        *,
        subtrees: Subtrees,
        keys: Keys,
        counted: CountedKeys,
        tenants: Tenants,
        audience: Audience,
        gates: Gates,
        audit: Audit,
        cluster: FileSystemMap,
        clock: Callable[[], float],
        answer: Callable[[Callable[[], Result]], Result],
        census: Callable[[], Census],
        service: Callable[[], ServiceReport],
        migrations: MigrationWatch,
        health: Callable[[], Simplified],
    ) -> None:
        self._subtrees = subtrees
        self._keys = keys
        self._counted = counted
        self._tenants = tenants
        self._audience = audience
        self._gates = gates
        self._audit = audit
        self._cluster = cluster
        self._clock = clock
        self._answer = answer
        self._census = census
        self._service = service
        self._migrations = migrations
        self._health = health

    def measure(self) -> Result:
        """Give all that can be told now; what only a database knows that does not answer is left out."""
        registered = self._answer(lambda: Result(answer=Exposition(tuple(self._registered())))).answer
        known = registered.samples if isinstance(registered, Exposition) else ()
        samples = [
            Sample(INFO, 1, (RELEASE,)),
            Sample(DATABASE, int(bool(known))),
            *known,
            Sample(LOOKED, self._census().asked),
            *_of_service(self._service()),
            *_of_migrations(self._migrations, names_of(self._cluster)),
            *_of_health(self._health()),
        ]
        return Result(answer=Exposition(tuple(samples)))

    def _registered(self) -> Iterator[Sample]:
        """What the database knows; on its thread."""
        names = names_of(self._cluster)
        overview = self._subtrees.overview(version="", ceph="").answer
        if isinstance(overview, Overview):
            for each in overview.file_systems:
                yield Sample(SUBTREES, each.engine, (each.name, "engine"))
                yield Sample(SUBTREES, each.kernel, (each.name, "kernel"))
        for (fscid, state), number in sorted(self._counted.counts().items()):
            yield Sample(KEYS, number, (names.get(fscid, f"file system {fscid}"), state))
        yield from self._due(names)
        clients = self._audience.listing(limit=MAX_PAGE).answer
        if isinstance(clients, ClientPage):
            yield from _of_clients(names.values(), clients)
        gates = self._gates.show().answer
        if isinstance(gates, GatePage):
            counted = Counter((line.fs_name, line.gate.rung, line.state) for line in gates.gates)
            yield from (Sample(GATES, number, labels) for labels, number in sorted(counted.items()))
        acts = self._audit.listing(limit=1).answer
        if isinstance(acts, ActPage):
            yield Sample(ACTS, acts.acts[0].number if acts.acts else 0)

    def _due(self, names: Mapping[int, str]) -> Iterator[Sample]:
        due = self._keys.due(AHEAD).answer
        late = self._tenants.due(LATE).answer
        if isinstance(due, KeyPage) and isinstance(late, TenantPage):
            now = self._clock()
            expiring = Counter(key.fs_name for key in expiring_keys(due.keys, now))
            untested = Counter(key.fs_name for key in untested_keys(due.keys, now))
            overdue = Counter(line.fs_name for line in late.tenants)
            for family, counted in ((EXPIRING, expiring), (UNTESTED, untested), (OVERDUE, overdue)):
                yield from (Sample(family, counted[name], (name,)) for name in sorted(names.values()))


def _of_clients(names: Iterable[str], page: ClientPage) -> Iterator[Sample]:
    counted = Counter((line.fs_name, line.verdict) for line in page.clients)
    for name in sorted(names):
        yield from (Sample(CLIENTS, counted[name, kind.value], (name, kind.value)) for kind in Kind)


def _of_service(report: ServiceReport) -> Iterator[Sample]:
    yield from (Sample(SERVICE, int(report.state == state), (state,)) for state in _STATES)
    if report.service is not None:
        counted = Counter(key.state for key in report.service.keys)
        yield from (Sample(SERVICE_KEYS, number, (state,)) for state, number in sorted(counted.items()))
        if (jobs := report.service.jobs) is not None:
            yield Sample(JOBS, jobs.active - jobs.waiting, ("active",))
            yield Sample(JOBS, jobs.waiting, ("waiting",))
            yield Sample(JOBS, jobs.failed, ("failed",))
            kinds = Counter((job.kind, job.state) for job in jobs.told)
            yield from (Sample(JOB_KINDS, number, labels) for labels, number in sorted(kinds.items()))
            working = [job for job in jobs.told if job.kind == MIGRATE and job.state == "running"]
            yield Sample(MIGRATED, sum(job.done for job in working), ("done",))
            yield Sample(MIGRATED, sum(job.total or 0 for job in working), ("all",))
        yield from (Sample(KMS, int(each.reachable), (each.name,)) for each in report.service.backends)


def _of_migrations(watch: MigrationWatch, names: Mapping[int, str]) -> Iterator[Sample]:
    yield Sample(MIGRATIONS_STALLED, watch.stalled)
    trash: Counter[tuple[str, str]] = Counter()
    plain: Counter[tuple[str, str]] = Counter()
    for each in watch.known:
        name = names.get(each.fscid, f"file system {each.fscid}")
        trash[name, each.direction] += each.trash
        if each.direction == ENCRYPT:
            plain[name, "trash"] += each.trash
            plain[name, "snapshot"] += len(each.snapshots)
    yield from (Sample(TRASH, number, labels) for labels, number in sorted(trash.items()))
    yield from (Sample(PLAINTEXT, number, labels) for labels, number in sorted(plain.items()))


def _of_health(checks: Simplified) -> Iterator[Sample]:
    for name, check in sorted(checks.items()):
        yield Sample(HEALTH, check["count"], (name, check["severity"]))
