"""Taking a subtree back from kernel clients by making new inodes (`hold --copy`).

`hold` unsets attributes of inodes that other clients may have met, so it needs them to be gone (doc/facts.md F5, F5b).
Nobody has met a new inode: each file in kernel mode is written again beside itself, in engine mode, under a nonce of
its own, and renamed over itself. It is there, whole, at every moment. All names of one inode get the new one.

Clients that have the old inode open would go on with it, and what they write would be lost: such files are left as they
are, and told. A run that ended early is run again, which also removes what it left beside the files.
"""

import errno
import os
import re
import stat as modes
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import sha256

from ..ceph.errors import CephError, NotFoundError
from ..ceph.interface import Mount, Stat
from ..format import Context
from .blocks import Blocks, pieces
from .directories import Directories, Directory, exists, inconsistent
from .errors import BusyError, EngineError, RefusedError
from .inodes import FileFacts, FileMode, read_facts
from .keyring import Keyring
from .long_names import looks_hashed
from .making import UNFINISHED
from .modes import Proceed, Report, files_below, go_on, mark, scan, snapshots_of
from .open_inodes import OpenInode
from .paths import joined, named
from .sharing import Sharing, alone
from .unlocking import contents_of
from .walking import Visited

_BESIDE = re.compile(rb"\.fscrypt-hold-([0-9a-f]{1,16})(\+?)")
"""What lies beside a file while it is copied: the number of the old inode, and a + for another name of the new one."""
_TRIES = 3
_ALONE = 0.5
"""Seconds in which the MDS has told who is alone with a file that was just opened."""
_BURIED = 5.0
"""Seconds in which a client that died is found out, and its session ended, by who waits for it."""
_LOOK = 0.01
_OURS = ("ceph.", "trusted.fscrypt.")


def hold_by_copy(
    mount: Mount,
    keyring: Keyring,
    directories: Directories,
    sharing: Sharing,
    root: Directory,
    *,
    even_open: bool,
    proceed: Proceed = go_on,
) -> Report:
    """Kernel to engine mode, while other clients go on using the subtree. Afterwards this mount has forgotten every
    inode.

    Args:
        even_open: also files that other clients have open, who go on with the old contents and lose what they write.

    Raises:
        LockedError: the key is not here: a new inode has another nonce.
        CephError: such as ENOSPC and EDQUOT: room for one file more than there are is needed.
    """
    root.require_key()
    report = Report()
    job = _Job(mount, keyring, sharing, root, report, even_open=even_open)
    job.look_for_earlier(directories)
    with closing(files_below(directories, root, report, proceed)) as files:
        for visited in files:
            job.meet(visited)
    job.finish()
    # another client would wait for each inode that this one holds, until the MDS writes its journal (doc/facts.md F18)
    mount.renew()
    scan(mount, keyring, root, FileMode.ENGINE, report, proceed)
    if report.complete:
        mark(mount, root)
    report.snapshots = snapshots_of(mount, root)
    mount.renew()
    return report


class _Job:
    """One run. In memory are the files with several names, and what earlier runs left.

    Of a file with several names the copy gets one more, the *anchor*, in the root of the subtree, until all have the
    new inode: a run that ended in between is gone on with from there.
    """

    def __init__(
        self,
        mount: Mount,
        keyring: Keyring,
        sharing: Sharing,
        root: Directory,
        report: Report,
        *,
        even_open: bool,
    ) -> None:
        self._mount = mount
        self._keyring = keyring
        self._sharing = sharing
        self._root = root
        self._report = report
        self._even_open = even_open
        self._linked: dict[int, list[Visited]] = {}
        self._anchors: set[int] = set()
        self._left: list[Visited] = []
        self._all_alive = False

    def look_for_earlier(self, directories: Directories) -> None:
        """Find the anchors of a run that gave the new inode to some names, and not to all."""
        with closing(directories.entries(self._root)) as entries:
            for entry in entries:
                found = _BESIDE.fullmatch(entry.name)
                if found is None or found[2]:
                    continue
                if self._mount.stat(joined(self._root.stored, entry.stored)).nlink > 1:
                    self._anchors.add(int(found[1], 16))

    def meet(self, visited: Visited) -> None:
        """A regular file: copy it now, or, if it has several names, when all of them are known."""
        if _BESIDE.fullmatch(visited.entry.name):
            self._left.append(visited)
            return
        with self._noting(visited):
            found = self._mount.stat(visited.stored)
            if found.nlink > 1 or found.ino in self._anchors:
                self._linked.setdefault(found.ino, []).append(visited)
            elif self._wants(visited):
                self._copy_alone(visited, found.ino)
                self._report.changed += 1
            else:
                self._report.unchanged += 1

    def finish(self) -> None:
        """The files with several names; then what is left beside files, but the anchors of those that failed."""
        for ino, names in self._linked.items():
            with self._noting(names[0]):
                if self._wants(names[0]):
                    self._copy_linked(ino, names)
                    self._report.changed += 1
                else:
                    self._report.unchanged += 1
                self._report.unchanged += len(names) - 1
                self._anchors.discard(ino)
        kept = {_beside(self._root, ino) for ino in self._anchors & self._linked.keys()}
        for visited in self._left:
            if visited.stored not in kept:
                _remove(self._mount, visited.stored)

    @contextmanager
    def _noting(self, visited: Visited) -> Iterator[None]:
        """What keeps one file from being copied does not keep others; one that is gone needs nothing."""
        try:
            with named(visited.plain):
                yield
        except NotFoundError:
            pass
        except EngineError as error:
            self._report.add(visited, error)
        except CephError as error:
            if error.errno not in (errno.EPERM, errno.EACCES):
                raise
            remedy = "Run it as a user who may read, write and give away the subtree's files."
            self._report.add(visited, RefusedError(error.errno, str(error.strerror), remedy=remedy))

    def _wants(self, visited: Visited) -> bool:
        """Is it in kernel mode, wholly or in part?"""
        facts = read_facts(self._mount, visited.stored, visited.plain, thorough=True)
        if facts.context.policy != visited.parent.policy:
            raise inconsistent(visited.plain)
        return facts.mode is FileMode.KERNEL

    def _copy_alone(self, visited: Visited, ino: int) -> None:
        beside = _beside(visited.parent, ino)
        with self._copied(visited, beside):
            self._mount.rename(beside, visited.stored)

    def _copy_linked(self, ino: int, names: list[Visited]) -> None:
        for visited in names:
            _require_short(visited)
        anchor = _beside(self._root, ino)
        if ino in self._anchors:
            with self._alone_with(names[0]):
                self._require_same(names[0], anchor)
                self._give(anchor, ino, names)
        elif len(names) == self._mount.stat(names[0].stored).nlink:
            beside = _beside(names[0].parent, ino)
            with self._copied(names[0], beside):
                if beside != anchor:
                    _remove(self._mount, anchor)
                    self._mount.rename(beside, anchor)
                self._anchors.add(ino)
                self._give(anchor, ino, names)
        else:
            raise BusyError(
                errno.EBUSY,
                "it has other names, outside of the subtree or made meanwhile",
                names[0].plain,
                remedy="Remove those outside, and run the same again.",
            )
        _remove(self._mount, anchor)

    def _give(self, anchor: bytes, ino: int, names: list[Visited]) -> None:
        for visited in names:
            another = _beside(visited.parent, ino, b"+")
            # libcephfs loses sight of the other names of what is replaced: each name is given by one that met none
            with self._mount.fresh() as fresh:
                if not exists(fresh, visited.stored) or fresh.stat(visited.stored).ino != ino:
                    raise BusyError(
                        errno.EBUSY,
                        "some of its names were removed or replaced meanwhile",
                        visited.plain,
                        remedy="Run the same again.",
                    )
                _remove(fresh, another)
                fresh.link(anchor, another)
                fresh.rename(another, visited.stored)

    @contextmanager
    def _copied(self, visited: Visited, beside: bytes) -> Iterator[None]:
        """The block finds a complete copy `beside`, of a file that nobody else has open. What it leaves there, the next
        run removes."""
        _require_short(visited)
        for _ in range(_TRIES):
            with self._alone_with(visited) as fd:
                before = self._mount.stat(visited.stored)
                self._copy(visited, fd, beside)
                if _same(before, self._mount.stat(visited.stored)) and self._is_alone(fd):
                    yield
                    return
                _remove(self._mount, beside)
        raise BusyError(
            errno.EBUSY,
            f"it was changed or opened while it was copied, {_TRIES} times",
            visited.plain,
            remedy="Run the same again when less is written to it.",
        )

    def _copy(self, visited: Visited, fd: int, beside: bytes) -> None:
        stored, plain = visited.stored, visited.plain
        facts = read_facts(self._mount, stored, plain, thorough=True)
        _remove(self._mount, beside)
        new = self._made(beside, facts, plain)
        try:
            self._mount.chown(beside, facts.raw.uid, facts.raw.gid)
            with contents_of(self._keyring, facts.context, plain) as contents:
                _copy_data(Blocks(self._mount, fd, contents), facts.real_size, new)
            new.flush()
            for name in self._mount.listxattr(stored):
                if not name.startswith(_OURS):
                    self._mount.setxattr(beside, name, self._mount.getxattr(stored, name))
            self._mount.utimens(beside, facts.raw.atime, facts.raw.mtime)
        except BaseException:
            new.give_up()
            new.end()
            _remove(self._mount, beside)
            raise
        new.end()

    def _made(self, beside: bytes, facts: FileFacts, plain: bytes) -> OpenInode:
        context = Context.fresh(facts.context.policy)
        contents = contents_of(self._keyring, context, plain)
        return OpenInode(
            self._mount,
            self._mount.open(beside, os.O_CREAT | os.O_EXCL | os.O_RDWR, UNFINISHED),
            beside,
            plain,
            contents,
            context,
            FileMode.ENGINE,
            self._sharing,
            writable=True,
            permissions=modes.S_IMODE(facts.raw.mode),
        )

    @contextmanager
    def _alone_with(self, visited: Visited) -> Iterator[int]:
        """A descriptor of a file that nobody else has open; to write, for who only reads is not told that."""
        fd = self._mount.open(visited.stored, os.O_RDONLY if self._even_open else os.O_RDWR)
        try:
            if not self._becomes_alone(fd):
                raise BusyError(
                    errno.EBUSY,
                    "another client has it open, and would go on with what it was",
                    visited.plain,
                    remedy="Run the same again when it is closed.",
                )
            yield fd
        finally:
            self._mount.close(fd)

    def _becomes_alone(self, fd: int) -> bool:
        """Is it open here only, once the MDS has told? The first time that it is not, those who died are ended."""
        if self._is_alone_within(_ALONE, fd):
            return True
        if self._all_alive:
            return False
        with self._mount.waiting():
            self._all_alive = True
            return self._is_alone_within(_BURIED, fd)

    def _is_alone_within(self, seconds: float, fd: int) -> bool:
        give_up = time.monotonic() + seconds
        while not self._is_alone(fd):
            if time.monotonic() > give_up:
                return False
            time.sleep(_LOOK)
        return True

    def _is_alone(self, fd: int) -> bool:
        return self._even_open or alone(self._mount.capabilities(fd))

    def _require_same(self, old: Visited, anchor: bytes) -> None:
        """Some names have the new inode since an earlier run: the others get it only if nothing was written since."""
        if self._digest(old.stored, old.plain) != self._digest(anchor, old.plain):
            raise BusyError(
                errno.EBUSY,
                "an earlier run gave its copy to some of its names, and one of the two was written since",
                old.plain,
                remedy="Compare them, and put what it shall be under both names; then run the same again.",
            )

    def _digest(self, stored: bytes, plain: bytes) -> bytes:
        facts = read_facts(self._mount, stored, plain, thorough=True)
        found = sha256(b"%d" % facts.real_size)
        fd = self._mount.open(stored, os.O_RDONLY)
        try:
            with contents_of(self._keyring, facts.context, plain) as contents:
                blocks = Blocks(self._mount, fd, contents)
                for start, stop in pieces(0, facts.real_size):
                    plain_piece = bytearray(stop - start)
                    blocks.read_into(memoryview(plain_piece), start)
                    found.update(plain_piece)
        finally:
            self._mount.close(fd)
        return found.digest()


def _copy_data(old: Blocks, size: int, new: OpenInode) -> None:
    """Holes stay holes."""
    at: int | None = 0
    while at is not None and (at := old.next(at, size, hole=False)) is not None:
        end = old.next(at, size, hole=True)
        for start, stop in pieces(at, size if end is None else end):
            piece = memoryview(bytearray(stop - start))
            old.read_into(piece, start)
            new.write(piece, start)
        at = end
    new.truncate(size)


def _same(before: Stat, after: Stat) -> bool:
    return (before.ino, before.size, before.version) == (after.ino, after.size, after.version)


def _beside(directory: Directory, ino: int, suffix: bytes = b"") -> bytes:
    return joined(directory.stored, directory.new_name(b".fscrypt-hold-%x" % ino + suffix))


def _remove(mount: Mount, stored: bytes) -> None:
    with suppress(NotFoundError):
        mount.unlink(stored)


def _require_short(visited: Visited) -> None:
    if looks_hashed(visited.entry.stored) or visited.parent.taints_names:
        raise RefusedError(
            errno.ENAMETOOLONG,
            "its name, or one on the way to it, is too long to be given to another inode",
            visited.plain,
            remedy="Rename it through a kernel client to at most 128 bytes, and run the same again.",
        )
