"""What a scan found, beside what is registered: `ceph fscrypt scan`, and what health tells of it.

The engine service walks the file system and keeps what it finds (`service/kinds/scan.py`); this compares it with the
register, page by page in order of paths, as things are when somebody looks.
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Protocol

from ..messages import SubtreeFacts
from ..messages.job import MOST_ON_PAGE, JobPage, JobState
from ..messages.scan import FoundSubtree, ScanPage, ScanQuestion
from ..messages.service import Ask, JobQuestion, JobsQuestion, Said
from ..store import Found, Place, Subtree, Wanted
from .cluster import FileSystem, FileSystemMap, existing
from .filters import chosen
from .marks import Marks
from .paging import more
from .raised import Warned, raised
from .refusal import RefusalError
from .results import Part, Result
from .subtrees import Subtrees
from .text import one_line, shell_word, table
from .values import Simplified

KIND = "scan"
MIXED = "FSCRYPT_MIXED_SUBTREE"
UNREGISTERED = "FSCRYPT_REGISTER_OUTDATED"
_PAGE = 100
_AT_ONCE = 5
"""Pages that are registered at one look: the watch has other things to look at."""


class Standing(StrEnum):
    """How a subtree stands in the register."""

    REGISTERED = "registered"
    CHANGED = "changed"
    """Registered with another mode or policy, of the same key."""
    UNREGISTERED = "unregistered"
    MOVED = "moved"
    """Registered at another path."""
    REPLACED = "replaced"
    """Another directory is registered at this path, or it was under another key."""
    MISSING = "missing"
    """Registered, and not found."""


class ScanService(Protocol):
    """The engine service, as `control.service.ServiceKeeper` is."""

    def asked(self, ask: Callable[[], Ask]) -> Said:
        """What it says. Raises `RefusalError`: it does not answer, or refuses."""
        ...


class ComparedSubtrees(Protocol):
    """The register; `store.SubtreeTable` tells what each call means."""

    def at(self, fscid: int, path: str) -> Subtree | None:
        """Find by path."""
        ...

    def with_inode(self, fscid: int, inode: int) -> Subtree | None:
        """Find by inode number."""
        ...

    def page(self, fscid: int | None, after: Place, limit: int, wanted: Wanted = ...) -> Found:
        """List in order."""
        ...


@dataclass(frozen=True)
class ScanLine:
    """One subtree, as it was found or is registered.

    Args:
        path: of its top directory.
        standing: one of `Standing`.
        other: the path that it is registered at, of one that was moved.
        mixed: what does not belong there, and how many.
        example: the path of one of these, as stored.
        commands: what brings the register up to date, in order.
        report: what is found, as the register takes it; empty of one that is missing.
    """

    path: str
    standing: Standing
    other: str = ""
    mixed: tuple[tuple[str, int], ...] = ()
    example: str = ""
    commands: tuple[str, ...] = ()
    report: str = ""


@dataclass(frozen=True)
class ScanLines:
    """A page of what a scan found, in order of paths.

    Args:
        fs_name: the file system.
        job: the scan.
        lines: one after the other.
        following: what asks for the next page; None on the last one.
    """

    fs_name: str
    job: str
    lines: tuple[ScanLine, ...]
    following: str | None

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        lines = [
            asdict(line)
            | {"standing": line.standing.value, "mixed": dict(line.mixed), "commands": list(line.commands)}
            for line in self.lines
        ]
        return {"fs_name": self.fs_name, "job": self.job, "subtrees": lines, "following": self.following}

    def plain(self) -> str:
        """Show it to a person."""
        if not self.lines and self.following is None:
            return f"Scan {self.job} of {self.fs_name} found no subtree, and none is registered there."
        rows = [
            (line.standing.value, line.path, ", ".join(f"{n} {what}" for what, n in line.mixed) or "-")
            for line in self.lines
        ]
        shown = [table(("STANDING", "PATH", "MIXED"), rows)] if rows else ["None so far."]
        commands = [command for line in self.lines for command in line.commands]
        if commands:
            shown += ["", "To bring the register up to date:", *(f"  {one_line(each)}" for each in commands)]
        if self.following is not None:
            shown.append(more(self.following))
        return "\n".join(shown)


class Scans:
    """Compares what scans found with the register.

    Args:
        service: keeps what they found.
        store: the register; on the database's thread only.
        cluster: the file systems.
        whole: makes all that is asked of the database inside one transaction; the same.
        answer: does work there, and answers in time.
    """

    def __init__(
        self,
        *,
        service: ScanService,
        store: ComparedSubtrees,
        cluster: FileSystemMap,
        whole: Callable[[], AbstractContextManager[None]],
        answer: Callable[[Callable[[], Result]], Result],
    ) -> None:
        self._service = service
        self._store = store
        self._cluster = cluster
        self._whole = whole
        self._answer = answer

    def newest(self, fscid: int) -> JobState | None:
        """The scan of a file system that was done last, of the newest hundred jobs. Raises `RefusalError`."""
        said = self._service.asked(lambda: JobsQuestion(None, MOST_ON_PAGE))
        if not isinstance(said, JobPage):
            raise _another_release()
        done = [
            job
            for job in said.jobs
            if job.wish.kind == KIND and job.wish.fscid == fscid and job.state == "done"
        ]
        return max(done, key=lambda job: job.ended or 0.0, default=None)

    def job(self, number: str) -> JobState | None:
        """A scan by its id; None where it was forgotten. Raises `RefusalError`."""
        try:
            said = self._service.asked(lambda: JobQuestion(number))
        except RefusalError as refusal:
            if refusal.result.code == errno.ENOENT:
                return None
            raise
        return said if isinstance(said, JobState) else None

    def listing(self, fs_name: str, after: str | None = None, *, standing: str | None = None) -> Result:
        """List what the newest scan of a file system found, a page at a time, in order of paths: both lists that are
        compared have no other one. With `standing` only what stands like that; a page may have nothing then."""
        try:
            wanted = chosen({"standing": standing}, {"standing": tuple(Standing)}).get("standing")
            found = existing(self._cluster, fs_name)
            scan = self.newest(found.fscid)
            if scan is None:
                return Result.failed(
                    errno.ENOENT,
                    f"no scan of {fs_name} is done; begin one with `ceph fscrypt scan {shell_word(fs_name)}`",
                )
            page = self.page(found, scan, after or "")
            fitting = tuple(each for each in page.lines if wanted in (None, each.standing))
            return Result(answer=replace(page, lines=fitting))
        except RefusalError as refusal:
            return refusal.result

    def page(self, file_system: FileSystem, scan: JobState, after: str) -> ScanLines:
        """Compare what comes after a path. Raises `RefusalError`."""
        said = self._service.asked(lambda: ScanQuestion(scan.id, after, _PAGE))
        if not isinstance(said, ScanPage):
            raise _another_release()
        result = self._answer(lambda: Result(answer=self._compared(file_system, scan, after, said)))
        if not isinstance(result.answer, ScanLines):
            raise RefusalError(result.code, result.status)
        return result.answer

    def _compared(self, file_system: FileSystem, scan: JobState, after: str, said: ScanPage) -> ScanLines:
        """On the database's thread. Both lists are in the order of paths; the page ends where the shorter one does."""
        with self._whole():
            return self._beside(file_system, scan, after, said)

    def _beside(self, file_system: FileSystem, scan: JobState, after: str, said: ScanPage) -> ScanLines:
        fscid = file_system.fscid
        known = self._store.page(fscid, Place(fscid, after), _PAGE, Wanted(below=scan.wish.path))
        ends = [said.following, None if known.following is None else known.following.path]
        end = min((each for each in ends if each is not None), default=None)
        found = [each for each in said.found if end is None or each.path <= end]
        seen = {each.path for each in found}
        # in whole seconds, as the register counts: what was registered in this one counts as later
        begun = int(scan.started or scan.created)
        lines = [self._line(file_system, each, begun) for each in found]
        lines += [
            _missing(file_system, each)
            for each in known.subtrees
            # what was registered since may have been made since
            if (end is None or each.path <= end) and each.path not in seen and each.registered < begun
        ]
        ordered = tuple(sorted(lines, key=lambda line: line.path))
        return ScanLines(file_system.name, scan.id, ordered, end)

    def _line(self, file_system: FileSystem, found: FoundSubtree, begun: int) -> ScanLine:
        fs = shell_word(file_system.name)
        report = found.facts.encode()
        adopt = f"ceph fscrypt subtree adopt {fs} {shell_word(found.path)} --report {shell_word(report)}"
        line = ScanLine(
            found.path,
            Standing.UNREGISTERED,
            mixed=tuple((each.what, each.count) for each in found.mixed),
            example=found.mixed[0].example if found.mixed else "",
            commands=(adopt,),
            report=report,
        )
        here = self._store.at(file_system.fscid, found.path)
        there = self._store.with_inode(file_system.fscid, found.inode)
        policy = found.policy
        if any(each is not None and each.registered >= begun for each in (here, there)):
            # what was told since it was looked at is newer than what the scan knows
            return replace(line, standing=Standing.REGISTERED, commands=())
        if here is not None and here.inode == found.inode and here.key_identifier == policy.key_identifier:
            same = (here.mode, here.contents, here.names, here.padding) == (
                found.mode,
                policy.contents,
                policy.names,
                policy.padding,
            )
            if same:
                return replace(line, standing=Standing.REGISTERED, commands=())
            return replace(line, standing=Standing.CHANGED)
        stale = self.stale(file_system, found.path, found.facts)
        forget = tuple(f"ceph fscrypt subtree forget {fs} {shell_word(path)}" for path in stale)
        if there is not None and there.path != found.path:
            return replace(line, standing=Standing.MOVED, other=there.path, commands=(*forget, adopt))
        if here is not None:
            return replace(line, standing=Standing.REPLACED, commands=(*forget, adopt))
        return line

    def stale(self, file_system: FileSystem, path: str, facts: SubtreeFacts) -> list[str]:
        """The paths of what is registered and contradicts what was found; on the database's thread."""
        here = self._store.at(file_system.fscid, path)
        there = self._store.with_inode(file_system.fscid, facts.inode)
        stale = [there.path] if there is not None and there.path != path else []
        same = (facts.inode, facts.policy.key_identifier)
        if here is not None and (here.inode, here.key_identifier) != same:
            stale.append(path)
        return stale


class ScanWatch:
    """Registers what scans found, where they were told to, and compares it with the register in rounds, for health.

    For one thread, which may wait for the service and the database.

    Args:
        scans: compares.
        subtrees: the register; on the database's thread only.
        cluster: the file systems.
        marks: which scan was seen last, so that what was registered by it is never registered again.
        answer: does work on the database, and answers in time.
        recorded: does work of a command about something, and records it in the audit; on the database's thread.
    """

    def __init__(
        self,
        *,
        scans: Scans,
        subtrees: Subtrees,
        cluster: FileSystemMap,
        marks: Marks,
        answer: Callable[[Callable[[], Result]], Result],
        recorded: Callable[[str, Sequence[str], Callable[[], Result]], Result],
    ) -> None:
        self._scans = scans
        self._subtrees = subtrees
        self._cluster = cluster
        self._marks = marks
        self._answer = answer
        self._recorded = recorded
        self._registering: dict[int, tuple[str, str]] = {}
        self._places: dict[int, str] = {}
        self._begun: dict[int, list[ScanLine]] = {}
        self._ended: dict[int, tuple[str, list[ScanLine]]] = {}

    def look(self) -> None:
        """See what is new, and compare some more."""
        there = self._cluster.file_systems()
        for gone in self._ended.keys() - {each.fscid for each in there}:
            del self._ended[gone]
        for file_system in there:
            try:
                scan = self._known(file_system)
                if scan is not None:
                    self._compare(file_system, scan)
            except RefusalError:
                # no service, or no database: health tells of that, and the next look may do better
                continue

    def checks(self) -> Simplified:
        """Give the health checks, as ceph-mgr takes them, by the last whole rounds."""
        mixed, outdated = [], []
        for name, lines in self._ended.values():
            for line in lines:
                where = f"{shell_word(name)} {shell_word(line.path)}"
                if line.mixed:
                    told = ", ".join(f"{number} {what}" for what, number in line.mixed)
                    mixed.append(f"{where}: {told}, such as {line.example}")
                if line.commands:
                    outdated.append(
                        f"{where}: {line.standing.value}: run `{'`, then `'.join(line.commands)}`"
                    )
        found = {
            MIXED: Warned(
                "{} subtrees have in them what does not belong there",
                mixed,
                "see `cephfs-fscrypt fsck`; copy what lies there in the clear into the subtree by a client with the "
                "key, and scan again",
            ),
            UNREGISTERED: Warned(
                "{} subtrees are not in the register as they were found",
                outdated,
                "`ceph fscrypt scan FS --register` registers all that is found",
            ),
        }
        return raised(found)

    def _known(self, file_system: FileSystem) -> JobState | None:
        """The newest scan; what it is to register is registered when it is seen for the first time."""
        name = f"scan.{file_system.fscid}"
        before = self._marks.mark(name)
        scan = self._scans.newest(file_system.fscid)
        if scan is None:
            return None if before is None else self._scans.job(before)
        if scan.id != before:
            if scan.wish.options.get("register") is True and not self._register(file_system, scan):
                return None
            self._marks.set_mark(name, scan.id)
            self._places[file_system.fscid] = ""
            self._begun[file_system.fscid] = []
        return scan

    def _compare(self, file_system: FileSystem, scan: JobState) -> None:
        number = file_system.fscid
        page = self._scans.page(file_system, scan, self._places.get(number, ""))
        kept = self._begun.setdefault(number, [])
        kept += [line for line in page.lines if line.mixed or line.commands]
        self._places[number] = page.following or ""
        if page.following is None:
            self._ended[number] = (file_system.name, kept)
            self._begun[number] = []

    def _register(self, file_system: FileSystem, scan: JobState) -> bool:
        """Register some more of what it found; is all of it? What is registered twice is once.

        Raises:
            RefusalError: no service, or no database; the next look goes on.
        """
        job, after = self._registering.get(file_system.fscid, ("", ""))
        after = after if job == scan.id else ""
        for _ in range(_AT_ONCE):
            page = self._scans.page(file_system, scan, after)
            due = [line for line in page.lines if line.report and line.commands]
            if due:
                done = self._answer(lambda due=due: self._put(file_system, due))  # type: ignore[misc]
                if not done.parts:
                    raise RefusalError(done.code, done.status)
            if page.following is None:
                self._registering.pop(file_system.fscid, None)
                return True
            after = page.following
            self._registering[file_system.fscid] = (scan.id, after)
        return False

    def _put(self, file_system: FileSystem, lines: Sequence[ScanLine]) -> Result:
        """All in one transaction; each has its record."""

        def done() -> Result:
            parts = [Part((file_system.name, line.path), self._adopted(file_system, line)) for line in lines]
            return Result(status=f"registered {len(parts)} subtrees", parts=tuple(parts), changed=True)

        return self._recorded("scan register", (file_system.name,), done)

    def _adopted(self, file_system: FileSystem, line: ScanLine) -> Result:
        # as it is now: a line before may have changed it
        stale = self._scans.stale(file_system, line.path, SubtreeFacts.decode(line.report))
        for path in stale:
            gone = self._subtrees.forget(file_system.name, path)
            if not gone.success and gone.code != errno.ENOENT:
                return gone
        return self._subtrees.adopt(file_system.name, line.path, line.report)


def _missing(file_system: FileSystem, subtree: Subtree) -> ScanLine:
    words = f"{shell_word(file_system.name)} {shell_word(subtree.path)}"
    return ScanLine(subtree.path, Standing.MISSING, commands=(f"ceph fscrypt subtree forget {words}",))


def _another_release() -> RefusalError:
    return RefusalError(
        errno.EPROTO,
        "the engine service answered something else; run the manager module and the service of one release",
    )
