"""The encrypted file system: plaintext paths in, ciphertext stored.

Everything below a directory with a policy is encrypted; what is not is only walked through: files are not read or
made there. A directory whose key is not in the keyring behaves as the kernel's does:
names as stored, real sizes, unlink and rmdir allowed, ENOKEY for the rest. Symbolic links are never followed.
"""

import errno
import os
import stat as modes
from collections.abc import Generator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from ..ceph.errors import CephError, ExistsError, NotFoundError
from ..ceph.interface import Kind, Mount
from ..format import (
    AUTH_XATTR,
    Contents,
    Context,
    FormatError,
    MasterKey,
    Mode,
    NameTooLongError,
    Target,
)
from .directories import Directories, Directory, DirEntry, Place, exists, inconsistent, read_auth
from .errors import BusyError, DamagedError, LockedError, RefusedError
from .files import File
from .inodes import ByPath, FileFacts, FileMode, look, read_facts, settle
from .keyring import Keyring
from .links import locked_target, plain_target
from .making import UNFINISHED, doubtful, half_made, require_usable_mode, unfinished
from .modes import Report, hold, release
from .open_inodes import OpenInode, OpenInodes, kernel_owned
from .paths import Path, components, named
from .sharing import Sharing
from .subtrees import Subtree, Subtrees, policy_of
from .waiting import until_made


@dataclass(frozen=True)
class Attributes:
    """What `stat` tells. `size` is the real size; `file_mode` whose the contents are, where it is an encrypted file.

    `encrypted` is false for special files, for what lies outside, and for children that are half made.
    """

    ino: int
    kind: Kind
    permissions: int
    nlink: int
    uid: int
    gid: int
    size: int
    blocks: int
    atime: float
    mtime: float
    ctime: float
    version: int | None
    encrypted: bool
    file_mode: FileMode | None


class FileSystem:
    """One mount and the keys of one user. Calls may come from several threads. A context manager.

    What two clients of this kind write to one file is never lost, and each sees what the other wrote after its fsync
    or close.
    """

    def __init__(self, mount: Mount, keyring: Keyring) -> None:
        self._mount = mount
        self._keyring = keyring
        self._directories = Directories(mount, keyring)
        self._subtrees = Subtrees(mount, keyring, self._directories)
        self._inodes = OpenInodes()
        self._sharing = Sharing()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End background work; files are their users' to close before."""
        self._sharing.end()

    # subtrees

    def create_subtree(
        self,
        path: Path,
        identifier: bytes,
        *,
        padding: int = 32,
        contents: Mode = Mode.AES_256_XTS,
        mode: FileMode = FileMode.ENGINE,
    ) -> Subtree:
        """Give an empty directory a policy. Raises as `Subtrees.create` and `policy_of`."""
        return self._subtrees.create(path, policy_of(identifier, padding, contents), mode)

    def subtree(self, path: Path) -> Subtree:
        """What the directory at `path` is."""
        return self._subtrees.status(path)

    def release(self, path: Path, *, evict: bool = False) -> Report:
        """Hand a subtree to kernel clients. See `modes.release`; no file of this mount may be open."""
        self._require_nothing_open(path)
        return release(self._mount, self._keyring, self._directories, self._subtree_root(path), evict=evict)

    def hold(self, path: Path, *, evict: bool = False) -> Report:
        """Take a subtree back from kernel clients. See `modes.hold`; no file of this mount may be open."""
        self._require_nothing_open(path)
        return hold(self._mount, self._keyring, self._subtree_root(path), evict=evict)

    # names

    def exists(self, path: Path) -> bool:
        """Is something there?"""
        names = components(path)
        try:
            place = self._directories.place(names) if names else None
        except NotFoundError:
            return False
        if place is None:
            return True
        with named(place.plain):
            return exists(self._mount, place.existing)

    def scandir(self, path: Path) -> Generator[DirEntry]:
        """What lies in a directory, as a stream, which whoever does not run it to its end closes."""
        yield from self._directories.entries(self._directories.walk(components(path))[-1])

    def mkdir(self, path: Path, mode: int = 0o755) -> None:
        """Make a directory; below a policy with the same policy and a nonce of its own.

        It is made with a mode of which nobody has use and gets its real one once it has its context: until then
        it is half made.
        """
        place = self._place(path)
        context = self._inherited(place.parent)
        stored = place.new
        with named(place.plain):
            if context is None:
                self._mount.mkdir(stored, mode)
                return
            require_usable_mode(mode, place.plain)
            self._mount.mkdir(stored, UNFINISHED)
            self._mount.setxattr(stored, AUTH_XATTR, context.encode_auth())
            made = self._mount.stat(stored)
            self._mount.chmod(stored, mode | (made.mode & modes.S_ISGID))
            # a mode waits in the client for seconds: a crash would leave all that is put into it in something half made
            self._mount.sync()
            self._directories.remember(made.ino, context)

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory; no key is needed."""
        place = self._place(path)
        with named(place.plain):
            self._mount.rmdir(place.existing)

    def unlink(self, path: Path) -> None:
        """Remove a name; no key is needed, and what is half made can be removed."""
        place = self._place(path)
        stored = place.existing
        with named(place.plain):
            found = self._mount.stat(stored) if self._inodes else None
            self._mount.unlink(stored)
            inode = self._inodes.find(found.ino) if found is not None and found.nlink == 1 else None
            if inode is not None:
                inode.lose_name()

    def symlink(self, target: bytes | str, path: Path) -> None:
        """Make a symbolic link in an encrypted directory.

        It has no mode to hide behind: until it has its context, a moment later, readers find it half made.
        """
        place = self._encrypted_place(path)
        context = self._require_inherited(place.parent)
        stored = place.new
        try:
            encoded = Target(self._key(context, place.plain), context).encode(os.fsencode(target))
        except NameTooLongError as error:
            raise RefusedError(
                errno.ENAMETOOLONG, str(error), place.plain, remedy="Use a shorter target."
            ) from error
        except FormatError as error:
            raise RefusedError(errno.EINVAL, str(error), place.plain, remedy="Use another target.") from error
        with named(place.plain):
            self._mount.symlink(encoded, stored)
            self._mount.setxattr(stored, AUTH_XATTR, context.encode_auth())
            # this mount does not see its own setting for a while (interface.Mount.setxattr)
            self._directories.remember(self._mount.stat(stored).ino, context)

    def readlink(self, path: Path) -> bytes:
        """The target of a link; without the key what the kernel shows for it."""
        place = self._place(path)
        with named(place.plain):
            return self._target(place)

    def rename(self, source: Path, target: Path) -> None:
        """Move a name within one policy. As rename(2), it replaces a file or an empty directory.

        Raises:
            LockedError: either directory is locked.
            RefusedError: EXDEV: the policies differ, or only one side is encrypted. (The kernel lets files move out
                to an unencrypted directory, where they stay encrypted: a file in engine mode would be lost to all
                other programs there, so it is copied out instead.) ENAMETOOLONG: as for new names, and for
                a source that a kernel gave such a name.
        """
        old, new = self._place(source), self._place(target)
        _require_same_policy(old.parent, new.parent, new.plain)
        old.parent.require_key()
        # a rename drops the alternate name of a long source (doc/facts.md F12)
        from_, to = old.new, new.new
        with named(old.plain):
            self._publish(from_)
            if new.parent.policy is not None:
                self._require_policy(old.plain, from_, new.parent)
            if not self._same_inode(from_, to):
                self._mount.rename(from_, to)

    def link(self, existing: Path, new: Path) -> None:
        """A second name of a file, within one policy. Raises as `rename`; EOPNOTSUPP for a symbolic link."""
        old, place = self._encrypted_place(existing), self._encrypted_place(new)
        _require_same_policy(old.parent, place.parent, place.plain)
        old.parent.require_key()
        stored = place.new
        with named(old.plain):
            if self._mount.stat(old.existing).kind is Kind.SYMLINK:
                # libcephfs would make a second name of what the link points at
                raise RefusedError(
                    errno.EOPNOTSUPP,
                    "a symbolic link cannot get a second name",
                    old.plain,
                    remedy="Make another symbolic link with the same target.",
                )
            self._publish(old.existing)
            self._require_policy(old.plain, old.existing, place.parent)
        with named(place.plain):
            self._mount.link(old.existing, stored)

    # inodes

    def stat(self, path: Path) -> Attributes:
        """What is at `path`: the real size, with or without the key; of a link itself.

        Of a file that this user may not read the size is the raw one, in whole blocks: the real one is in an attribute.
        """
        names = components(path)
        if not names:
            directory = self._directories.root()
            return self._attributes(directory.stored, directory.plain, inside=directory.context is not None)
        place = self._directories.place(names)
        with named(place.plain):
            found = self._attributes(place.existing, place.plain, inside=place.parent.context is not None)
            if found.kind is Kind.SYMLINK and found.encrypted:
                return replace(found, size=len(self._target(place)))
            return found

    def chmod(self, path: Path, mode: int) -> None:
        """Permission bits; no key is needed. What others left half made is refused: its mode is what marks it.

        Raises:
            RefusedError: EINVAL: in an encrypted directory, the mode that marks what is half made (0200).
        """
        place = self._place(path)
        if place.parent.context is not None:
            require_usable_mode(mode, place.plain)
        with named(place.plain):
            inode = self._inodes.find(self._mount.stat(place.existing).ino) if self._inodes else None
            if inode is not None and inode.set_permissions(mode):
                return
            self._require_made(place)
            self._mount.chmod(place.existing, mode)

    def chown(self, path: Path, uid: int, gid: int) -> None:
        """Owner and group, -1 for as it is; no key is needed."""
        place = self._place(path)
        with named(place.plain):
            self._mount.chown(place.existing, uid, gid)

    def utimens(self, path: Path, atime: float, mtime: float) -> None:
        """Both times, seconds since 1970; no key is needed."""
        place = self._place(path)
        with named(place.plain):
            self._mount.utimens(place.existing, atime, mtime)

    # files

    def create(self, path: Path, mode: int = 0o644) -> File:
        """Make a file, open for reading and writing: `open` with O_RDWR, O_CREAT and O_EXCL."""
        return self.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path: Path, flags: int = os.O_RDONLY, mode: int = 0o644) -> File:
        """Open a file, with the flags of open(2). Links are never followed.

        One that is made here (O_CREAT; `mode` is used as it is) can be used by others once it was fsynced or closed;
        it is complete by then. O_TRUNC takes the right to write.

        Raises:
            LockedError: the key is not here.
            ExistsError: O_EXCL, and the name is taken.
            BusyError: it is to be written and is in kernel mode.
            RefusedError: EPERM: it is of another policy; EISDIR, ENOTDIR, ELOOP, EINVAL: not what can be opened so,
                outside of every subtree, or a mode that marks what is half made; ENAMETOOLONG; EOPNOTSUPP: O_TMPFILE.
            DamagedError: half made by others, or not what engine or kernel write.
        """
        place = self._encrypted_place(path)
        place.parent.require_key()
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise RefusedError(
                errno.EOPNOTSUPP, "CephFS makes no files without names", place.plain, remedy="Give it a name."
            )
        with named(place.plain):
            if not flags & os.O_CREAT:
                return self._open_existing(place, flags)
            if flags & os.O_EXCL:
                return self._make(place, flags, mode)
            try:
                return self._open_existing(place, flags)
            except NotFoundError:
                pass
            try:
                return self._make(place, flags, mode)
            except ExistsError:
                # another client made it in between
                return self._open_existing(place, flags)

    def _make(self, place: Place, flags: int, mode: int) -> File:
        context = self._require_inherited(place.parent)
        require_usable_mode(mode, place.plain)
        file_mode = self._subtrees.mode_of(place.chain)
        stored = place.new
        contents = self._contents(context, place.plain)
        fd = self._mount.open(stored, os.O_CREAT | os.O_EXCL | os.O_RDWR, UNFINISHED)
        inode = OpenInode(
            self._mount,
            fd,
            stored,
            place.plain,
            contents,
            context,
            file_mode,
            self._sharing,
            writable=True,
            permissions=mode,
        )
        self._inodes.add(inode)
        return File(inode, self._inodes, flags, place.plain, made=True)

    def _open_existing(self, place: Place, flags: int) -> File:
        write = flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)
        stored, plain = place.existing, place.plain
        found = self._mount.stat(stored)
        _require_file(found.kind, plain)
        if flags & os.O_DIRECTORY:
            raise RefusedError(errno.ENOTDIR, "not a directory", plain, remedy="Name a directory.")
        inode = self._inodes.join(found.ino)
        if inode is None:
            opened = self._opened(place, stored, write=write)
            inode = self._inodes.add(opened)
            if inode is None:
                inode = opened
            else:
                opened.end()
        file = File(inode, self._inodes, flags, plain)
        try:
            _require_policy_of(place.parent, inode.context, plain)
            if write:
                inode.allow_writing(lambda: self._mount.open(stored, os.O_RDWR))
            if flags & os.O_TRUNC:
                inode.truncate(0)
        except BaseException:
            file.close()
            raise
        return file

    def _opened(self, place: Place, stored: bytes, *, write: bool) -> OpenInode:
        plain = place.plain
        facts = read_facts(self._mount, stored, plain, thorough=write)
        _require_policy_of(place.parent, facts.context, plain)
        if write and facts.mode is FileMode.KERNEL:
            raise kernel_owned(plain)
        contents = self._contents(facts.context, plain)
        fd = self._mount.open(stored, os.O_RDWR if write else os.O_RDONLY)
        inode = OpenInode(
            self._mount, fd, stored, plain, contents, facts.context, facts.mode, self._sharing, writable=write
        )
        if inode.ino != facts.raw.ino:
            inode.end()
            raise BusyError(
                errno.ESTALE,
                "replaced while it was opened",
                plain,
                remedy="Open it again. Nothing was changed.",
            )
        return inode

    # parts

    def _place(self, path: Path) -> Place:
        return self._directories.place(components(path))

    def _encrypted_place(self, path: Path) -> Place:
        place = self._place(path)
        if place.parent.context is None:
            raise RefusedError(
                errno.EINVAL,
                "not in an encrypted subtree",
                place.plain,
                remedy="Make a subtree first, or use a plain mount for what is not encrypted.",
            )
        return place

    def _subtree_root(self, path: Path) -> Directory:
        chain = self._directories.walk(components(path))
        if chain[-1].context is None or (len(chain) > 1 and chain[-2].context is not None):
            raise RefusedError(
                errno.EINVAL,
                "not the root of an encrypted subtree",
                chain[-1].plain,
                remedy="Name the directory that was given the policy.",
            )
        return chain[-1]

    def _require_nothing_open(self, path: Path) -> None:
        if self._inodes:
            raise BusyError(
                errno.EBUSY, "files of this mount are open", os.fsencode(path), remedy="Close them first."
            )

    def _inherited(self, parent: Directory) -> Context | None:
        """The context of a new child."""
        parent.require_key()
        return None if parent.policy is None else Context.fresh(parent.policy)

    def _require_inherited(self, parent: Directory) -> Context:
        context = self._inherited(parent)
        if context is None:
            raise inconsistent(parent.plain)
        return context

    def _key(self, context: Context, plain: bytes) -> MasterKey:
        key = self._keyring.find(context.policy.key)
        if key is None:
            raise LockedError(plain, context.policy.key)
        return key

    def _contents(self, context: Context, plain: bytes) -> Contents:
        key = self._key(context, plain)
        try:
            context.policy.check_for_cephfs()
            return Contents(key, context)
        except FormatError as error:
            raise RefusedError(
                errno.EOPNOTSUPP, str(error), plain, remedy="Use a kernel client for it."
            ) from error

    def _context_of(self, stored: bytes, kind: Kind, plain: bytes) -> Context | None:
        """The context of a child of an encrypted directory, if it is complete by now."""
        if kind is Kind.SPECIAL or unfinished(self._mount.stat(stored)):
            return None
        if kind is Kind.FILE:
            facts = look(ByPath(self._mount, stored), plain)
            return facts.context if facts else None
        if kind is Kind.DIRECTORY:
            return read_auth(self._mount, stored, plain)
        context = self._directories.remembered(self._mount.stat(stored).ino)
        return context or read_auth(self._mount, stored, plain)

    def _link_context(self, stored: bytes, plain: bytes) -> Context:
        """The context of a link; one that has none yet is looked at again after our own view was renewed."""

        def again() -> Context | None:
            self._mount.sync()
            return self._context_of(stored, Kind.SYMLINK, plain)

        context = self._context_of(stored, Kind.SYMLINK, plain) or until_made(again)
        if context is None:
            raise half_made(plain)
        self._directories.remember(self._mount.stat(stored).ino, context)
        return context

    def _target(self, place: Place) -> bytes:
        stored = place.existing
        target = self._mount.readlink(stored)
        if place.parent.context is None:
            return target
        context = self._link_context(stored, place.plain)
        key = self._keyring.find(context.policy.key)
        try:
            return locked_target(target) if key is None else plain_target(key, context, target)
        except FormatError as error:
            raise DamagedError(
                errno.EUCLEAN, str(error), place.plain, remedy="Remove the link, and make it again."
            ) from error

    def _attributes(self, stored: bytes, plain: bytes, *, inside: bool) -> Attributes:
        found = self._mount.stat(stored)
        size, permissions, file_mode = found.size, modes.S_IMODE(found.mode), None
        inode = self._inodes.find(found.ino)
        if inode is not None:
            size, file_mode, encrypted = inode.size, inode.mode, True
            permissions = permissions if inode.permissions is None else inode.permissions
        elif found.kind is Kind.FILE:
            facts = self._visible_facts(stored, plain) if inside and not unfinished(found) else None
            encrypted = facts is not None
            if facts is not None:
                size, file_mode = facts.real_size, facts.mode
        elif found.kind is Kind.SPECIAL:
            encrypted = False
        else:
            encrypted = inside or read_auth(self._mount, stored, plain) is not None
        return Attributes(
            ino=found.ino,
            kind=found.kind,
            permissions=permissions,
            nlink=found.nlink,
            uid=found.uid,
            gid=found.gid,
            size=size,
            blocks=found.blocks,
            atime=found.atime,
            mtime=found.mtime,
            ctime=found.ctime,
            version=found.version,
            encrypted=encrypted,
            file_mode=file_mode,
        )

    def _visible_facts(self, stored: bytes, plain: bytes) -> FileFacts | None:
        """The facts of a file, or None where there are none or they may not be read."""
        subject = ByPath(self._mount, stored)
        try:
            facts = look(subject, plain)
        except CephError as error:
            if error.errno == errno.EACCES:
                return None
            raise
        return settle(self._mount, stored, subject, plain, facts) if facts else None

    def _require_made(self, place: Place) -> None:
        if place.parent.context is None:
            return
        stored = place.existing
        found = self._mount.stat(stored)
        if doubtful(found) and until_made(lambda: self._context_of(stored, found.kind, place.plain)) is None:
            raise half_made(place.plain)

    def _publish(self, stored: bytes) -> None:
        """What is private to this file system gets no other names before it is complete."""
        inode = self._inodes.find(self._mount.stat(stored).ino) if self._inodes else None
        if inode is not None and inode.permissions is not None:
            inode.flush()

    def _same_inode(self, stored: bytes, other: bytes) -> bool:
        """Are both names of one inode? Then rename(2) does nothing; libcephfs would lose sight of both for a time."""
        try:
            there = self._mount.stat(other)
        except NotFoundError:
            return False
        return self._mount.stat(stored).ino == there.ino

    def _require_policy(self, plain: bytes, stored: bytes, directory: Directory) -> None:
        """Only an inode of its policy may come into a directory (`fscrypt_has_permitted_context`)."""
        kind = self._mount.stat(stored).kind
        if kind is Kind.SPECIAL:
            return
        if kind is Kind.SYMLINK:
            context: Context | None = self._link_context(stored, plain)
        else:
            context = until_made(lambda: self._context_of(stored, kind, plain))
        if context is None:
            raise half_made(plain)
        if context.policy != directory.policy:
            raise _other_policy(plain)


def _require_file(kind: Kind, plain: bytes) -> None:
    if kind is Kind.FILE:
        return
    number = {Kind.DIRECTORY: errno.EISDIR, Kind.SYMLINK: errno.ELOOP}.get(kind, errno.EINVAL)
    raise RefusedError(number, f"a {kind.value}, not a regular file", plain, remedy="Name a regular file.")


def _require_policy_of(directory: Directory, context: Context, plain: bytes) -> None:
    if context.policy != directory.policy:
        raise inconsistent(plain)


def _require_same_policy(old: Directory, new: Directory, plain: bytes) -> None:
    if old.policy != new.policy:
        raise _other_policy(plain)


def _other_policy(plain: bytes) -> RefusedError:
    return RefusedError(
        errno.EXDEV,
        "the two directories are not of one encryption policy",
        plain,
        remedy="Copy instead. Nothing was changed.",
    )
