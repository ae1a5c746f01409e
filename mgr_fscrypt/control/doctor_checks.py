"""What `ceph fscrypt doctor` thinks of what it is told: each check is a function of plain values."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ..messages import RELEASE
from .audience import ClientPage
from .clients import at_or_below
from .findings import Finding, Grade, listed
from .gate_answers import FEATURE, GatePage
from .observing import Served
from .service import ServiceReport
from .tenants import TenantPage
from .text import shell_word
from .values import FileSystemCount, SubtreeLine
from .verdicts import Kind

TRIED = ("18.2", "20.2")
"""The releases of Ceph on which everything is tested."""
OLDEST, NEWEST = 18, 20
"""The releases that clients write to (`ceph/releases.py`)."""
LOOKED_AT = 20
"""Subtrees of a file system whose layout is asked for: each is a question to an MDS."""
_VERSION = re.compile(r"\b(\d+)\.(\d+)\.(\d+)")
_OF_CHILDREN = ("service_python", "service_entity", "service_keyring", "service_fs", "service_resident_limit")


@dataclass(frozen=True)
class Pool:
    """A RADOS pool: its number and name; is it erasure coded, and may parts of its objects be overwritten?"""

    number: int
    name: str
    coded: bool
    overwrites: bool


@dataclass(frozen=True)
class Layout:
    """Where the data of new files below a directory goes: the pool's number, and over how many objects at a time."""

    pool: int
    stripe_count: int


@dataclass(frozen=True)
class Schedule:
    """Snapshots that Ceph takes of a directory by itself: how often, and what it keeps; empty: all of them."""

    path: str
    every: str
    retention: str


@dataclass(frozen=True)
class Modules:
    """Modules of ceph-mgr: those that run, and whether `progress` shows anything."""

    running: AbstractSet[str]
    progress_shown: bool


def releases(versions: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    """Judge the daemons' versions.

    Args:
        versions: what `ceph versions` answers: by kind of daemon, how many have which version.
    """
    kinds: dict[tuple[int, ...], list[str]] = {}
    for kind, counted in versions.items():
        if kind == "overall":
            continue
        for text in counted:
            found = _VERSION.search(text)
            kinds.setdefault(tuple(map(int, found.groups())) if found else (), []).append(kind)
    for version, of in sorted(kinds.items()):
        yield _of_release(version, listed(sorted(of), 10))
    if len(kinds) > 1:
        yield Finding(
            "release",
            Grade.WARNING,
            f"daemons of {len(kinds)} versions run beside each other",
            "bring the upgrade to its end: `ceph orch upgrade status`, `ceph versions`",
        )


def _of_release(version: tuple[int, ...], daemons: str) -> Finding:
    if not version:
        return Finding("release", Grade.UNKNOWN, f"{daemons}: a version that is not understood")
    text = f"{daemons}: Ceph {'.'.join(map(str, version))}"
    if ".".join(map(str, version[:2])) in TRIED:
        return Finding("release", Grade.OK, text)
    if version[0] < OLDEST:
        return Finding(
            "release",
            Grade.ERROR,
            f"{text} is too old for encryption: it refuses the attributes",
            f"upgrade to one of {', '.join(TRIED)}",
        )
    if version[0] > NEWEST:
        return Finding(
            "release",
            Grade.ERROR,
            f"{text} is newer than all that were tried: our clients only read there",
            "install a newer cephfs-fscrypt",
        )
    return Finding("release", Grade.WARNING, f"{text} was not tried", f"what was tried is {', '.join(TRIED)}")


def pools(served: Served, data: Sequence[Pool], *, kernel_mode: bool) -> Iterator[Finding]:
    """Judge the pools of a file system's data.

    Args:
        served: the file system.
        data: all pools.
        kernel_mode: has it subtrees in kernel mode?
    """
    name = served.file_system.name
    known = [pool for pool in data if pool.name in served.data_pools]
    for pool in known:
        if pool.coded and not pool.overwrites:
            yield Finding(
                "pool",
                Grade.ERROR,
                f"{name}: pool {pool.name} is erasure coded and takes no overwrites: no file can be written there",
                f"`ceph osd pool set {shell_word(pool.name)} allow_ec_overwrites true`",
            )
        elif pool.coded:
            yield Finding(
                "pool",
                Grade.WARNING,
                f"{name}: pool {pool.name} is erasure coded: "
                + ("kernel clients read" if kernel_mode else "once released, kernel clients would read")
                + " noise where an encrypted file has holes",
                "give encrypted subtrees a layout in a replicated pool, or avoid sparse files there",
            )
    plain = [pool.name for pool in known if not pool.coded]
    if plain:
        yield Finding("pool", Grade.OK, f"{name}: replicated data pools: {listed(plain)}")
    unseen = sorted(served.data_pools - {pool.name for pool in known})
    if unseen:
        yield Finding("pool", Grade.UNKNOWN, f"{name}: the monitors did not tell of {listed(unseen)}")


def layouts(
    served: Served, asked: Sequence[tuple[str, Layout | None]], subtrees: int, coded: AbstractSet[int]
) -> Iterator[Finding]:
    """Judge how the data of new files is spread.

    Args:
        served: the file system.
        asked: directories and their layouts: the root, and some subtrees; None: in no MDS's cache, or none of its own.
        subtrees: how many are registered.
        coded: numbers of erasure coded pools.
    """
    name = served.file_system.name
    striped = [path for path, layout in asked if layout is not None and layout.stripe_count > 1]
    if striped:
        yield Finding(
            "layout",
            Grade.ERROR,
            f"{name}: striped over several objects at a time: {listed(striped)}; no encrypted file can be made there",
            "`setfattr -n ceph.dir.layout.stripe_count -v 1 DIRECTORY`, before it gets its policy",
        )
    in_coded = [path for path, layout in asked[1:] if layout is not None and layout.pool in coded]
    if in_coded:
        yield Finding(
            "layout",
            Grade.WARNING,
            f"{name}: subtrees with a layout in an erasure coded pool: {listed(in_coded)}",
            "copy them into a subtree whose layout is in a replicated pool (`cephfs-fscrypt migrate`)",
        )
    seen = sum(layout is not None for _, layout in asked[1:])
    root = asked[0][1]
    if root is None:
        yield Finding("layout", Grade.UNKNOWN, f"{name}: no MDS told the layout of /")
    elif not striped:
        more = f"; asked for {len(asked) - 1} of {subtrees} subtrees, {seen} have a layout of their own"
        yield Finding("layout", Grade.OK, f"{name}: no layout is striped{more if subtrees else ''}")


def features(served: Served, subtrees: int) -> Finding:
    """Judge what a file system requires of its clients."""
    name = served.file_system.name
    told = f"{name}: required of clients: {listed(sorted(served.required)) or 'nothing'}"
    if subtrees and FEATURE not in served.required:
        return Finding(
            "features",
            Grade.WARNING,
            f"{told}; kernels that are too old for fscrypt may mount it",
            f"see what `ceph fscrypt gate preview {shell_word(name)} / require` would change",
        )
    return Finding("features", Grade.OK, told)


def clients(page: ClientPage) -> Iterator[Finding]:
    """Judge the sessions of a file system by what they can do to encrypted subtrees."""
    if page.trouble:
        yield Finding(
            "clients", Grade.UNKNOWN, f"not all servers answered: {page.trouble}", "`ceph fs status`"
        )
    for kind, grade in ((Kind.HARMFUL, Grade.WARNING), (Kind.UNKNOWN, Grade.UNKNOWN)):
        found = [line for line in page.clients if line.verdict == kind.value]
        if found:
            said = [
                f"{line.session} ({line.software} {line.release}, {line.entity} on {line.host})"
                for line in found
            ]
            yield Finding(
                "clients",
                grade,
                f"{kind.value} to encrypted subtrees: {listed(said)}",
                f"`ceph fscrypt client explain {found[0].session} {shell_word(found[0].fs_name)}`",
            )
    fine = sum(line.verdict in (Kind.BLIND, Kind.HARMLESS) for line in page.clients)
    more = ", of more than were looked at" if page.following is not None else ""
    yield Finding("clients", Grade.OK, f"sessions that can do no damage: {fine}{more}")


def gates(page: GatePage) -> Iterator[Finding]:
    """Judge how gates stand."""
    for line in page.gates:
        where = f"{shell_word(line.fs_name)} {shell_word(line.gate.path)}"
        if line.gate.trouble or line.state == "drifted":
            yield Finding(
                "gates",
                Grade.WARNING,
                f"{where}: {line.gate.trouble or 'caps are not as the gate set them'}",
                f"`ceph fscrypt gate show {where}`",
            )
    holding = sum(line.state == "set" for line in page.gates)
    yield Finding("gates", Grade.OK, f"gates that are set, and hold: {holding}")


def service(report: ServiceReport) -> Finding:
    """Judge the engine service."""
    if report.state == "off":
        return Finding(
            "service",
            Grade.OK,
            "there is none, by the option `service` or for lack of a file system: no job goes on",
        )
    state = f"{report.state}: {report.failure or (report.service.trouble if report.service else '')}"
    if report.service is None or report.state == "unreachable":
        return Finding(
            "service", Grade.ERROR, state, report.remedy or "`ceph fscrypt service status`, `ceph osd stat`"
        )
    known = report.service
    if known.release != RELEASE:
        return Finding(
            "service",
            Grade.WARNING,
            f"it is of release {known.release}, this module of {RELEASE}",
            "start the service again with this release",
        )
    where = f"process {known.pid} on {known.host}"
    if report.state == "standby":
        return Finding("service", Grade.OK, f"{where} stands by; {known.holder} works")
    return Finding("service", Grade.OK, f"{where} works")


def key_managers(report: ServiceReport, tenants: TenantPage) -> Iterator[Finding]:
    """Judge whether the service reaches the key managers that tenants' keys are with."""
    met = {} if report.service is None else {each.name: each for each in report.service.backends}
    for name, backend in sorted(met.items()):
        if not backend.reachable:
            yield Finding(
                "kms",
                Grade.ERROR,
                f"key manager {name} does not answer the engine service: {backend.error}",
                f"`cephfs-fscrypt kms test {shell_word(name)}` on the service's host",
            )
        elif backend.error:
            yield Finding(
                "kms",
                Grade.WARNING,
                f"key manager {name} refused what the engine service asked last: {backend.error}",
                f"`cephfs-fscrypt kms test {shell_word(name)}` on the service's host",
            )
        else:
            yield Finding("kms", Grade.OK, f"key manager {name} answers the engine service")
    idle = sorted({name for line in tenants.tenants for name in line.managers} - met.keys())
    why = "was not needed by the engine service since it began"
    if report.service is None:
        why = f"is met by nobody: the engine service is {report.state}"
    for name in idle:
        yield Finding(
            "kms",
            Grade.UNKNOWN,
            f"key manager {name} {why}",
            f"`cephfs-fscrypt kms test {shell_word(name)}`",
        )
    if not met and not idle:
        yield Finding("kms", Grade.OK, "no tenant's key is with a key manager, as far as was reported")


def database(counted: Sequence[FileSystemCount]) -> Iterator[Finding]:
    """Judge what the module's database, which answered, has."""
    gone = [each.name for each in counted if not each.present]
    if gone:
        yield Finding(
            "database",
            Grade.WARNING,
            f"subtrees are registered of file systems that were removed: {listed(gone)}",
            "`ceph fscrypt subtree forget FS PATH`",
        )
    total = sum(each.engine + each.kernel for each in counted)
    yield Finding("database", Grade.OK, f"it answers; {total} subtrees are registered")


def options(said: Mapping[str, str], file_systems: Iterable[str]) -> Iterator[Finding]:
    """Judge the module's options.

    Args:
        said: those that have another value than the default.
        file_systems: their names.
    """
    way = said.get("service", "child")
    idle = [name for name in _OF_CHILDREN if name in said and way != "child"]
    if "service_socket" in said and way != "socket":
        idle.append("service_socket")
    if idle:
        yield Finding(
            "options",
            Grade.WARNING,
            f"without effect while `service` is {way}: {listed(idle)}",
            f"`ceph config rm mgr mgr/fscrypt/{idle[0]}`, or another `service`",
        )
    if "service_keyring" in said and "service_entity" not in said:
        yield Finding(
            "options",
            Grade.WARNING,
            "`service_keyring` is set and `service_entity` is not: the manager's key is looked for there",
            "`ceph config set mgr mgr/fscrypt/service_entity client.NAME`",
        )
    wanted = said.get("service_fs")
    if wanted is not None and wanted not in set(file_systems):
        yield Finding(
            "options",
            Grade.ERROR,
            f'`service_fs` names "{wanted}", and there is no such file system',
            "`ceph config set mgr mgr/fscrypt/service_fs NAME`; see `ceph fs ls`",
        )
    yield Finding("options", Grade.OK, f"set: {listed(sorted(said), 10) or 'none, all as by default'}")


def schedules(fs_name: str, found: Sequence[Schedule], subtrees: Sequence[SubtreeLine]) -> Iterator[Finding]:
    """Judge snapshots that are taken of encrypted subtrees by themselves."""
    paths = [line.path for line in subtrees]
    over = [
        each
        for each in found
        if any(at_or_below(path, each.path) or at_or_below(each.path, path) for path in paths)
    ]
    endless = [each for each in over if not each.retention]
    if endless:
        path = endless[0].path
        yield Finding(
            "snapshots",
            Grade.WARNING,
            f"{fs_name}: schedules that keep all snapshots of encrypted subtrees: "
            f"{listed([f'{each.path} ({each.every})' for each in endless])}; they keep what was there in the clear, or "
            "under another key, before a migration",
            f"`ceph fs snap-schedule retention add {shell_word(path)} 7d --fs {shell_word(fs_name)}`",
        )
    kept = [f"{each.path} ({each.every}, kept {each.retention})" for each in over if each.retention]
    yield Finding(
        "snapshots",
        Grade.OK,
        f"{fs_name}: schedules over encrypted subtrees that forget in time: {listed(kept) or 'none'}",
    )


def modules(found: Modules) -> Iterator[Finding]:
    """Judge which other modules run."""
    if "progress" not in found.running or not found.progress_shown:
        yield Finding(
            "modules",
            Grade.WARNING,
            "`progress` shows nothing: `ceph -s` does not tell of jobs",
            "`ceph progress on`",
        )
    if "prometheus" not in found.running:
        yield Finding(
            "modules",
            Grade.WARNING,
            "`prometheus` does not run: no alert is raised by the health checks of this module",
            "`ceph mgr module enable prometheus`",
        )
    seen = sorted(found.running & {"progress", "prometheus", "snap_schedule"})
    yield Finding("modules", Grade.OK, f"running: {listed(seen) or 'none of those that we use'}")
