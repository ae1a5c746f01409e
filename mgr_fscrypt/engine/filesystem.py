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
from weakref import WeakSet

from ..ceph.errors import CephError, NotFoundError
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
from .files import File, LeasedFile, NewFile, kernel_owned
from .inodes import LEASE_TIMEOUT, ByPath, FileFacts, FileMode, look, read_facts, settle
from .keyring import Keyring
from .links import locked_target, plain_target
from .making import UNFINISHED, half_made, require_usable_mode, unfinished
from .modes import Report, hold, release
from .paths import Path, components, named
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
    """One mount and the keys of one user. Calls may come from several threads."""

    def __init__(self, mount: Mount, keyring: Keyring) -> None:
        self._mount = mount
        self._keyring = keyring
        self._directories = Directories(mount, keyring)
        self._subtrees = Subtrees(mount, keyring, self._directories)
        self._files: WeakSet[File] = WeakSet()

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
        with named(place.plain):
            self._mount.unlink(place.existing)

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
        """Permission bits; no key is needed. What is half made is refused: its mode is what marks it.

        Raises:
            RefusedError: EINVAL: in an encrypted directory, a mode that marks what is half made (0, 0200).
        """
        place = self._place(path)
        if place.parent.context is not None:
            require_usable_mode(mode, place.plain)
        with named(place.plain):
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

    def create(self, path: Path, mode: int = 0o644) -> NewFile:
        """Make a file, open for writing. Others can use it once it was fsynced or closed; it is complete by then.

        Raises:
            LockedError: the key is not here.
            ExistsError: the name is taken.
            RefusedError: EINVAL: outside of every subtree, or a mode that marks what is half made; ENAMETOOLONG.
        """
        place = self._encrypted_place(path)
        context = self._require_inherited(place.parent)
        require_usable_mode(mode, place.plain)
        file_mode = self._subtrees.mode_of(place.chain)
        stored = place.new
        contents = self._contents(context, place.plain)
        with named(place.plain):
            fd = self._mount.open(stored, os.O_CREAT | os.O_EXCL | os.O_RDWR, UNFINISHED)
        made = NewFile(
            self._mount,
            fd,
            stored,
            place.plain,
            contents,
            context,
            mode=file_mode,
            permissions=mode,
        )
        self._files.add(made)
        return made

    def open(self, path: Path, *, write: bool = False) -> File:
        """Open a file that is there.

        Raises:
            LockedError: the key is not here.
            BusyError: it is to be written and is in kernel mode.
            LeaseHeldError: it is to be written and another client writes it.
            RefusedError: EPERM: it is of another policy; EISDIR, ELOOP, EINVAL: not an encrypted regular file.
            DamagedError: half made, or not what engine or kernel write.
        """
        place = self._encrypted_place(path)
        place.parent.require_key()
        stored, plain = place.existing, place.plain
        with named(plain):
            _require_file(self._mount.stat(stored).kind, plain)
            if write:
                leased = self._open_leased(place, stored)
                self._files.add(leased)
                return leased
            facts = read_facts(self._mount, stored, plain)
            if facts.context.policy != place.parent.policy:
                raise inconsistent(plain)
            contents = self._contents(facts.context, plain)
            file = File(self._mount, self._mount.open(stored, os.O_RDONLY), stored, plain, contents)
            self._files.add(file)
            return file

    def _open_leased(self, place: Place, stored: bytes) -> File:
        plain = place.plain
        facts = read_facts(self._mount, stored, plain, thorough=True)
        if facts.context.policy != place.parent.policy:
            raise inconsistent(plain)
        if facts.mode is FileMode.KERNEL:
            raise kernel_owned(plain)
        contents = self._contents(facts.context, plain)
        lease = self._mount.lease(facts.raw.ino)
        lease.acquire(LEASE_TIMEOUT)
        try:
            fd = self._mount.open(stored, os.O_RDWR)
            try:
                return LeasedFile(self._mount, fd, stored, plain, contents, lease)
            except BaseException:
                self._mount.close(fd)
                raise
        except BaseException:
            lease.release()
            raise

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
        if any(file.is_open for file in self._files):
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
        facts = None
        if inside and found.kind is Kind.FILE and not unfinished(found):
            facts = self._visible_facts(stored, plain)
        if found.kind is Kind.FILE:
            encrypted = facts is not None
        elif found.kind is Kind.SPECIAL:
            encrypted = False
        else:
            encrypted = inside or read_auth(self._mount, stored, plain) is not None
        return Attributes(
            ino=found.ino,
            kind=found.kind,
            permissions=modes.S_IMODE(found.mode),
            nlink=found.nlink,
            uid=found.uid,
            gid=found.gid,
            size=facts.real_size if facts else found.size,
            blocks=found.blocks,
            atime=found.atime,
            mtime=found.mtime,
            ctime=found.ctime,
            version=found.version,
            encrypted=encrypted,
            file_mode=facts.mode if facts else None,
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
        if (
            unfinished(found)
            and until_made(lambda: self._context_of(stored, found.kind, place.plain)) is None
        ):
            raise half_made(place.plain)

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
