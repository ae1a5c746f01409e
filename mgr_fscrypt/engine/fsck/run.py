"""`fsck` of a subtree: look at every entry, look again at what seems wrong, and repair what can be repaired.

It works beside clients that use the subtree. What seems wrong is looked at once more after some seconds (`PATIENCE`),
while nobody holds its lease and its version stays the same; only what is wrong then, too, is told. Memory is bounded.
"""

import errno
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from ...ceph.errors import NotAllowedError, NotFoundError
from ...ceph.interface import Kind, LeaseState, Mount
from ..directories import Directories, Directory
from ..errors import DamagedError, EngineError, RefusedError
from ..inodes import FileMode
from ..keyring import Keyring
from ..paths import Path, components, named
from ..subtrees import Subtrees
from ..walking import Unreadable, Visited, walk
from .checks import Checks
from .contents import ObjectExtents
from .findings import Code, Finding
from .presence import open_elsewhere
from .repairs import Repairs

PATIENCE = 4.0
"""Seconds before the second look: longer than the lease of a writer that died, and than links and directories take to
be made. With less, more is taken for the work of others."""
SUSPECTS = 10_000
"""Entries that wait for their second look at a time."""
_LOOKS = 3


@dataclass(frozen=True)
class _Suspect:
    """An entry with what the first look found; no codes where a directory could not be entered."""

    visited: Visited
    ino: int
    codes: frozenset[Code]
    seen: float


class Fsck:
    """One run over a directory of an encrypted subtree.

    Attributes:
        entries: how many were looked at.
        busy: how many seemed wrong and were not judged, because others were at work on them.

    Raises (constructor):
        NotFoundError: it is not there.
        RefusedError: EINVAL: it is not encrypted.
        DamagedError: something on the way to it is damaged: start there.
    """

    def __init__(
        self,
        mount: Mount,
        keyring: Keyring,
        path: Path,
        objects: ObjectExtents | None,
        patience: float = PATIENCE,
    ) -> None:
        self._mount = mount
        self._patience = patience
        self._directories = Directories(mount, keyring)
        chain = self._directories.walk(components(path))
        self._root = chain[-1]
        if self._root.context is None:
            raise RefusedError(
                errno.EINVAL,
                "not in an encrypted subtree",
                self._root.plain,
                remedy="Name an encrypted directory.",
            )
        self._of_root: list[Finding] = []
        mode = self._mode_of(Subtrees(mount, keyring, self._directories), chain)
        self._checks = Checks(mount, keyring, mode, objects)
        self._checks.nonces.other(self._root.context.nonce, self._root.ino)
        self._repairs = Repairs(mount, keyring, self._checks)
        self.entries = 0
        self.busy = 0

    @property
    def root(self) -> Directory:
        """Where it begins; without its key names, targets and contents are looked at from outside only."""
        return self._root

    def findings(self, step: Callable[[], None] = lambda: None) -> Generator[Finding]:
        """All that is wrong; `step` is called for each entry. Whoever does not run it to its end closes it."""
        yield from self._of_root
        left = [self._root]
        while left:
            yield from self._below(left.pop(), left, step)
        yield from self._not_checked()

    def repair(self, finding: Finding) -> bool:
        """Do what a finding says that it would; False where it is gone, or somebody is at work on it.

        Raises:
            EngineError, CephError: it could not be done; it can be tried again.
        """
        return self._repairs.apply(finding)

    # looking

    def _below(self, top: Directory, left: list[Directory], step: Callable[[], None]) -> Generator[Finding]:
        suspects: list[_Suspect] = []
        with closing(walk(self._directories, top)) as entries:
            for met in entries:
                if isinstance(met, Unreadable):
                    suspects.append(
                        _Suspect(met.visited, met.visited.entry.ino, frozenset(), time.monotonic())
                    )
                else:
                    self.entries += 1
                    step()
                    found = self._checks.look(met)
                    if found:
                        codes = frozenset(one.code for one in found)
                        suspects.append(_Suspect(met, found[0].ino, codes, time.monotonic()))
                if len(suspects) >= SUSPECTS:
                    yield from self._confirmed(suspects, left)
                    suspects.clear()
        yield from self._confirmed(suspects, left)

    def _confirmed(self, suspects: list[_Suspect], left: list[Directory]) -> Iterator[Finding]:
        if not suspects:
            return
        time.sleep(max(0.0, suspects[-1].seen + self._patience - time.monotonic()))
        self._mount.sync()  # else this client may not see what it set itself (interface.Mount.setxattr)
        for suspect in suspects:
            with named(suspect.visited.plain):
                if suspect.codes:
                    yield from self._still_wrong(suspect)
                else:
                    yield from self._still_shut(suspect.visited, left)

    def _still_wrong(self, suspect: _Suspect) -> Iterator[Finding]:
        found = self._at_rest(suspect.visited)
        if found is None:
            self.busy += 1
            return
        for finding in found:
            if finding.ino != suspect.ino or finding.code not in suspect.codes:
                continue
            if finding.code is Code.HALF_MADE and suspect.visited.entry.kind is Kind.FILE:
                yield from self._still_half_made(suspect.visited, finding)
            else:
                yield finding

    def _still_half_made(self, visited: Visited, finding: Finding) -> Iterator[Finding]:
        """A file that nobody has open; without its repair where that cannot be told."""
        try:
            if open_elsewhere(self._mount, finding.stored):
                self.busy += 1
                return
        except NotFoundError:
            return
        except NotAllowedError:
            finding = replace(finding, repair=None)
        # its maker may have completed and closed it in between
        if any((one.code, one.ino) == (finding.code, finding.ino) for one in self._checks.look(visited)):
            yield finding

    def _still_shut(self, visited: Visited, left: list[Directory]) -> Iterator[Finding]:
        """A directory that could not be entered: walked now if it can be, told unless something tells why."""
        try:
            below = self._directories.enter(visited.parent, visited.entry)
            with closing(self._directories.entries(below)) as entries:
                next(entries, None)
            left.append(below)
        except NotFoundError:
            return
        except (EngineError, NotAllowedError) as error:
            explained = {Code.UNDECODABLE, Code.HALF_MADE, Code.MISSING_CONTEXT, Code.NESTED_POLICY}
            if not explained & {one.code for one in self._checks.look(visited)}:
                yield Finding(
                    Code.UNREADABLE,
                    visited.stored,
                    visited.plain,
                    visited.entry.ino,
                    f"what is in it was not looked at: {error.strerror}",
                    visited=visited,
                )

    def _at_rest(self, visited: Visited) -> list[Finding] | None:
        """What is wrong with an entry while nobody is at work on it; None where somebody always is."""
        try:
            for _ in range(_LOOKS):
                before = self._moment(visited)
                found = self._checks.look(visited)
                if before is not None and before == self._moment(visited):
                    return found
        except NotFoundError:
            return []
        except NotAllowedError:
            return self._checks.look(visited)
        return None

    def _moment(self, visited: Visited) -> tuple[int, int | None] | None:
        """The inode and its version; None while somebody holds its lease."""
        raw = self._mount.stat(visited.stored)
        if raw.kind is Kind.FILE and self._checks.leases.state(raw.ino) is LeaseState.HELD:
            return None
        return raw.ino, raw.version

    # the whole

    def _mode_of(self, subtrees: Subtrees, chain: tuple[Directory, ...]) -> FileMode | None:
        try:
            return subtrees.mode_of(chain)
        except DamagedError as error:
            self._of_root.append(self._about_root(Code.UNDECODABLE, error.strerror or str(error)))
        except RefusedError as error:
            self._of_root.append(self._about_root(Code.NOT_CHECKED, error.strerror or str(error)))
        return None

    def _not_checked(self) -> Iterator[Finding]:
        if self._checks.objects_refused:
            yield self._about_root(
                Code.NOT_CHECKED,
                "this Ceph entity may not read objects: short and stray ones were not looked for",
            )
        if self._checks.leases.refused:
            yield self._about_root(
                Code.NOT_CHECKED,
                "this Ceph entity may not look at leases: only waiting told what is in motion",
            )
        if not self._checks.names.complete:
            yield self._about_root(
                Code.NOT_CHECKED,
                "what kernels stored beside names was not looked at everywhere: this Ceph entity may not ask the MDSs, "
                "or a directory is too large",
            )
        if not self._checks.nonces.complete:
            yield self._about_root(
                Code.NOT_CHECKED, "the tree is too large to compare all nonces: only the first ones were"
            )

    def _about_root(self, code: Code, detail: str) -> Finding:
        return Finding(code, self._root.stored, self._root.plain, self._root.ino, detail)
