"""The encrypted file system: plaintext paths in, ciphertext stored.

Everything below a directory with a policy is encrypted; what is not is only walked through: files are not read or
made there. A directory whose key is not in the keyring behaves as the kernel's does:
names as stored, real sizes, unlink and rmdir allowed, ENOKEY for the rest. Symbolic links are never followed.
"""

import errno
import os
import stat as modes
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Self

from ..ceph.errors import CephError, ExistsError, NotFoundError
from ..ceph.interface import Capacity, Kind, Mount, Stat
from ..format import (
    AUTH_XATTR,
    NAME_MAX,
    Context,
    FormatError,
    Mode,
    NameTooLongError,
    Target,
)
from . import xattrs
from .acls import limited, most_for_children
from .attributes import Attributes
from .cache import Cache
from .cached_reads import CachedFiles
from .copying import hold_by_copy
from .directories import Directories, Directory, DirEntry, Place, exists, inconsistent, read_auth
from .disk_cache import DiskCache
from .errors import BusyError, DamagedError, LockedError, RefusedError
from .files import File
from .fsck import PATIENCE, Fsck, ObjectExtents
from .inodes import ByPath, FileFacts, FileMode, look, read_facts, settle
from .kernel_names import KernelNames, LongNaming, renames_by_kernel
from .keyring import Keyring
from .links import locked_target, plain_target
from .making import doubtful, half_made, make_directory, make_file, require_usable_mode, unfinished
from .modes import ModeChange, Proceed, Report, go_on, hold, mode_changes, release
from .open_inodes import OpenInode, OpenInodes, kernel_owned
from .paths import Path, components, named
from .prospects import NAMESPACE_XATTR, Prospect, State, Wish, prospect
from .publishing import SMALL, Publisher
from .removal import Removed, remove, require_removable
from .sharing import Sharing
from .snapshot_names import apart
from .snapshots import (
    FrozenInode,
    frozen_facts,
    frozen_link_context,
    frozen_sizes,
    make_snapshot,
    remove_snapshot,
    require_living,
    require_only_read,
)
from .subtrees import Subtree, Subtrees, policy_of
from .unlocking import contents_of, key_of
from .waiting import until_made

_HALF_MADE = 4096


class FileSystem:
    """One mount and the keys of one user. Calls may come from several threads. A context manager.

    Below `DIR/.snap/NAME` lies a snapshot, to be looked at and read as the directory itself; whatever would change
    something there is refused with EROFS.

    What two clients of this kind write to one file is never lost, and each sees what the other wrote after its fsync
    or close. Whoever needs what was closed to be durable asks for `sync`, or for `durable_close`: then also small new
    files are durable when their `close` returns, for some milliseconds more.

    With a `cache`, stored blocks of files that are only read here are kept in it, as ciphertext.

    With `patience`, small new files are completed only some time after their `close`, up to so many seconds, or with
    `sync`: for whoever makes many where nobody else looks. Others wait for each of them until then.

    With `kernel_names`, names are made that libcephfs cannot make, of up to 255 bytes, through a kernel.
    """

    def __init__(
        self,
        mount: Mount,
        keyring: Keyring,
        *,
        cache: DiskCache | None = None,
        durable_close: bool = False,
        patience: float = 0.0,
        kernel_names: KernelNames | None = None,
    ) -> None:
        self._mount = mount
        self._long_naming = None if kernel_names is None else LongNaming(mount, kernel_names)
        self._cached = None if cache is None else CachedFiles(mount, cache)
        self._keyring = keyring
        self._directories = Directories(mount, keyring)
        self._subtrees = Subtrees(mount, keyring, self._directories)
        self._inodes = OpenInodes()
        self._hopeless: Cache[int, bool] = Cache(_HALF_MADE)
        self._sharing = Sharing()
        self._publisher = Publisher(
            mount, self._inodes, largest=0 if durable_close else SMALL, patience=patience
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End background work; files are their users' to close before. Raises as `sync`."""
        try:
            self._publisher.end()
        finally:
            self._sharing.end()

    def sync(self) -> None:
        """What was made, changed and closed before is durable when it returns, and there for everybody.

        Raises what kept a new file from it since the last call, once.
        """
        self._publisher.drain()
        self._mount.sync()

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

    def prospect(self, path: Path, wish: Wish) -> Prospect:
        """What making a subtree would meet. Nothing is changed, no key is needed. Raises as `prospects.prospect`."""
        return prospect(self._mount, self._directories, self._subtrees, path, wish)

    def make_subtree(self, path: Path, wish: Wish) -> Prospect:
        """Have a directory, its RADOS namespace and its policy, in this order; what was so already stays.

        What a run that was killed left is no obstacle to the next one.

        Returns:
            what was met before.

        Raises:
            LockedError: the key is not here; nothing was changed.
            As `prospect`.
        """
        if self._keyring.find(wish.policy.key) is None:
            raise LockedError(b"/" + b"/".join(components(path)), wish.policy.key)
        found = self.prospect(path, wish)
        if found.state is State.MISSING:
            self.mkdir(path)
        if found.state is not State.DONE and wish.namespace is not None:
            directory = self._directories.walk(components(path))[-1]
            with named(directory.plain):
                if self._mount.layout(directory.stored).namespace != wish.namespace:
                    self._mount.setxattr(directory.stored, NAMESPACE_XATTR, wish.namespace.encode())
        self._subtrees.create(path, wish.policy, wish.mode)
        return found

    def subtree(self, path: Path) -> Subtree:
        """What the directory at `path` is."""
        return self._subtrees.status(path)

    def release(self, path: Path, *, evict: bool = False, proceed: Proceed = go_on) -> Report:
        """Hand a subtree to kernel clients. See `modes.release`; no file of this mount may be open."""
        self._require_nothing_open(path)
        root = self._subtree_root(path)
        return release(self._mount, self._keyring, self._directories, root, evict=evict, proceed=proceed)

    def hold(self, path: Path, *, evict: bool = False, proceed: Proceed = go_on) -> Report:
        """Take a subtree back from kernel clients. See `modes.hold`; no file of this mount may be open."""
        self._require_nothing_open(path)
        return hold(self._mount, self._keyring, self._subtree_root(path), evict=evict, proceed=proceed)

    def hold_by_copy(self, path: Path, *, even_open: bool = False, proceed: Proceed = go_on) -> Report:
        """Take a subtree back from kernel clients while they go on using it, by making new inodes.

        See `copying.hold_by_copy`; no file of this mount may be open.
        """
        self._require_nothing_open(path)
        root = self._subtree_root(path)
        return hold_by_copy(
            self._mount,
            self._keyring,
            self._directories,
            self._sharing,
            root,
            even_open=even_open,
            proceed=proceed,
        )

    def mode_changes(self, path: Path, from_: FileMode) -> Generator[ModeChange]:
        """What `release` or `hold` would change; nothing is. Raises as `modes.mode_changes`."""
        return mode_changes(self._mount, self._directories, self._subtree_root(path), from_)

    def require_outermost(self, path: Path) -> None:
        """Raises `RefusedError` (EINVAL) for a directory inside a subtree, whose top is what is spoken of."""
        chain = self._directories.walk(components(path))
        if len(chain) > 1 and chain[-2].context is not None:
            raise _not_a_top(chain[-1])

    def require_removable(self, path: Path, *, contents: bool = False) -> None:
        """Look whether `remove_subtree` would be refused. Raises as `removal.require_removable`."""
        require_removable(self._mount, self._subtree_root(path), contents=contents)

    def remove_subtree(
        self,
        path: Path,
        *,
        contents: bool = False,
        inode: int | None = None,
        proceed: Proceed = go_on,
        last: Proceed = go_on,
    ) -> Removed:
        """Remove a subtree, top and all; with `inode`, the one whose top has that number, and no other.

        No key is needed. See `removal.remove`, which raises ESTALE for another one; no file of this mount may be open.
        """
        self._require_nothing_open(path)
        self.sync()
        root = self._subtree_root(path)
        # it looks for that number before each step
        meant = root if inode is None else replace(root, ino=inode)
        return remove(self._mount, meant, contents=contents, proceed=proceed, last=last)

    def fsck(self, path: Path, objects: ObjectExtents | None = None, *, patience: float = PATIENCE) -> Fsck:
        """Look for damage below an encrypted directory. See `fsck.Fsck`; no file of this mount may be open."""
        self._require_nothing_open(path)
        return Fsck(self._mount, self._keyring, path, objects, patience)

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

    def mkdir(
        self,
        path: Path,
        mode: int = 0o755,
        *,
        umask: int = 0,
        attributes: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        """Make a directory; below a policy with the same policy and a nonce of its own. Mode and `umask` as `open`. The
        `attributes` are set before it has a policy, as a layout has to be (doc/facts.md F13); a snapshot takes none.

        It is made with a mode of which nobody has use and gets its real one once it has its context: until then
        it is half made. In `.snap`, a directory that is made is a snapshot (see `snapshots.make_snapshot`), in which
        is all that was changed and closed here before; it raises what `sync` would.
        """
        place = self._directories.place(components(path))
        if place.parent.lists_snapshots:
            with named(place.plain):
                # libcephfs would keep from it a context that it has not flushed
                self.sync()
                make_snapshot(self._mount, place)
            return
        require_living(place)
        context = self._inherited(place.parent)
        with named(place.plain), self._new(place, directory=True) as stored:
            most = self._most_for_children(place, umask)
            mode = limited(mode, most)
            if context is None:
                self._mount.mkdir(stored, mode)
                for name, value in attributes:
                    self._mount.setxattr(stored, name, value)
                return
            require_usable_mode(mode, place.plain)
            make_directory(self._mount, stored, most)
            for name, value in attributes:
                self._mount.setxattr(stored, name, value)
            self._mount.setxattr(stored, AUTH_XATTR, context.encode_auth())
            made = self._mount.stat(stored)
            self._mount.chmod(stored, mode | (made.mode & modes.S_ISGID))
            # a mode waits in the client for seconds: a crash would leave all that is put into it in something half made
            self._mount.sync()
            self._directories.remember(made.ino, context)

    def mknod(self, path: Path, mode: int, device: int = 0, *, umask: int = 0) -> None:
        """Make a FIFO, a socket or a device (number `device`), by the type bits of `mode`; `umask` as `open`.

        In an encrypted directory its name is encrypted; it has no context, for it has no contents.

        Raises:
            RefusedError: EINVAL: another type.
        """
        place = self._place(path)
        if modes.S_IFMT(mode) not in (modes.S_IFIFO, modes.S_IFSOCK, modes.S_IFCHR, modes.S_IFBLK):
            raise RefusedError(
                errno.EINVAL, "not a special file", place.plain, remedy="Use create, mkdir or symlink."
            )
        with named(place.plain), self._new(place) as stored:
            self._mount.mknod(stored, limited(mode, self._most_for_children(place, umask)), device)

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory, or in `.snap` a snapshot; no key is needed."""
        place = self._directories.place(components(path))
        with named(place.plain):
            if place.parent.lists_snapshots:
                remove_snapshot(self._mount, place)
            else:
                require_living(place)
                self._mount.rmdir(place.existing)

    def unlink(self, path: Path) -> None:
        """Remove a name; no key is needed, and what is half made can be removed."""
        place = self._place(path)
        stored = place.existing
        with named(place.plain), self._taking_away(stored):
            self._mount.unlink(stored)

    def symlink(self, target: bytes | str, path: Path) -> None:
        """Make a symbolic link in an encrypted directory.

        It has no mode to hide behind: until it has its context, a moment later, readers find it half made.
        """
        place = self._encrypted_place(path)
        context = self._require_inherited(place.parent)
        try:
            encoded = Target(key_of(self._keyring, context, place.plain), context).encode(os.fsencode(target))
        except NameTooLongError as error:
            raise RefusedError(
                errno.ENAMETOOLONG, str(error), place.plain, remedy="Use a shorter target."
            ) from error
        except FormatError as error:
            raise RefusedError(errno.EINVAL, str(error), place.plain, remedy="Use another target.") from error
        with named(place.plain), self._new(place) as stored:
            self._mount.symlink(encoded, stored)
            self._mount.setxattr(stored, AUTH_XATTR, context.encode_auth())
            # this mount does not see its own setting for a while (interface.Mount.setxattr)
            self._directories.remember(self._mount.stat(stored).ino, context)

    def readlink(self, path: Path) -> bytes:
        """The target of a link; without the key what the kernel shows for it."""
        place = self._directories.place(components(path))
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
        # a rename drops the alternate name of a long source (doc/facts.md F12), and gives a target none
        kernel = self._long_naming if renames_by_kernel(old, new) else None
        from_, to = (old.new, new.new) if kernel is None else (old.existing, new.existing)
        with named(old.plain):
            self._make_durable(from_)
            if new.parent.policy is not None:
                self._require_policy(old.plain, from_, new.parent)
            if not self._same_inode(from_, to):
                with self._taking_away(to):
                    if kernel is None:
                        self._mount.rename(from_, to)
                    else:
                        kernel.rename(old, new)

    def link(self, existing: Path, new: Path) -> None:
        """A second name of a file, within one policy. Raises as `rename`; EOPNOTSUPP for a symbolic link."""
        old, place = self._encrypted_place(existing), self._encrypted_place(new)
        _require_same_policy(old.parent, place.parent, place.plain)
        old.parent.require_key()
        if self._long_naming is None:
            # raises for names that only kernels make, as for a rename
            old.parent.new_name(old.name)
        with named(old.plain):
            if self._mount.stat(old.existing).kind is Kind.SYMLINK:
                # libcephfs would make a second name of what the link points at
                raise RefusedError(
                    errno.EOPNOTSUPP,
                    "a symbolic link cannot get a second name",
                    old.plain,
                    remedy="Make another symbolic link with the same target.",
                )
            self._make_durable(old.existing)
            self._require_policy(old.plain, old.existing, place.parent)
        with named(place.plain), self._new(place) as stored:
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
            found = self._attributes(
                place.existing,
                place.plain,
                inside=place.parent.context is not None and not place.parent.lists_snapshots,
                snapshot=place.snapshot,
            )
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
            with self._inodes.using(self._mount.stat(place.existing).ino) as inode:
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

    def listxattr(self, path: Path) -> list[str]:
        """Names of the extended attributes of the inode itself; no key is needed."""
        stored, plain = self._complete(path, publish=False)
        with named(plain):
            return xattrs.shown(self._mount.listxattr(stored))

    def getxattr(self, path: Path, name: str) -> bytes:
        """An extended attribute of the inode itself, as it is stored; no key is needed.

        Raises:
            NoAttributeError: there is none, or it is one of those that hold the encryption.
        """
        # the kernel asks for security.capability before it writes to a new file, which is no reason to publish it
        stored, plain = self._complete(path, publish=name == AUTH_XATTR or name.startswith("system."))
        with named(plain):
            context = None
            if name == AUTH_XATTR:
                context = self._context_of(stored, self._mount.stat(stored).kind, plain)
            return xattrs.value(self._mount, stored, plain, name, context)

    def setxattr(self, path: Path, name: str, value: bytes, flags: int = 0) -> None:
        """Create or replace an attribute, or only one of both (`os.XATTR_CREATE`, `os.XATTR_REPLACE`).

        No key is needed, and `value` is stored as it is.

        Raises:
            ExistsError, NoAttributeError: as the flags say.
            RefusedError: as `xattrs.require_changeable` and `xattrs.require_usable_value`.
        """
        stored, plain = self._complete(path)
        with named(plain):
            xattrs.require_changeable(name, self._mount.stat(stored).kind, plain)
            xattrs.require_usable_value(name, value, plain)
            self._mount.setxattr(stored, name, value, flags)

    def removexattr(self, path: Path, name: str) -> None:
        """Remove an attribute. Raises as `getxattr` and `xattrs.require_changeable`."""
        stored, plain = self._complete(path)
        with named(plain):
            xattrs.require_changeable(name, self._mount.stat(stored).kind, plain)
            self._mount.removexattr(stored, name)

    def statfs(self, path: Path) -> Capacity:
        """How much room there is, or how much the quota leaves that `path` lies under.

        The longest name is that of the directory (that `path` is, or lies in), in the form that its user sees.
        """
        names = components(path)
        directory = self._directories.walk(names[:-1])[-1]
        if names:
            place = self._directories.place(names)
            with named(place.plain):
                if self._mount.stat(place.existing).kind is Kind.DIRECTORY:
                    directory = self._directories.walk(names)[-1]
        with named(directory.plain):
            found = self._mount.statfs(directory.stored)
        longest = directory.longest_name if self._long_naming is None else NAME_MAX
        return replace(found, longest_name=min(found.longest_name, longest))

    # files

    def create(self, path: Path, mode: int = 0o644) -> File:
        """Make a file, open for reading and writing: `open` with O_RDWR, O_CREAT and O_EXCL."""
        return self.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path: Path, flags: int = os.O_RDONLY, mode: int = 0o644, *, umask: int = 0) -> File:
        """Open a file, with the flags of open(2). Links are never followed.

        One that is made here (O_CREAT) can be used by others once it was fsynced or closed; it is complete by then. Of
        `mode` it gets what the default ACL of its directory allows, or where there is none, all but `umask`. O_TRUNC
        takes the right to write.

        Raises:
            LockedError: the key is not here.
            ExistsError: O_EXCL, and the name is taken.
            BusyError: it is to be written and is in kernel mode.
            RefusedError: EPERM: it is of another policy; EISDIR, ENOTDIR, ELOOP, EINVAL: not what can be opened so,
                outside of every subtree, or a mode that marks what is half made; ENAMETOOLONG; EOPNOTSUPP: O_TMPFILE;
                EROFS: in a snapshot, other than to read.
            DamagedError: half made by others, or not what engine or kernel write.
        """
        place = self._encrypted_place(path, frozen=True)
        place.parent.require_key()
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise RefusedError(
                errno.EOPNOTSUPP, "CephFS makes no files without names", place.plain, remedy="Give it a name."
            )
        with named(place.plain):
            if place.snapshot is not None:
                return self._open_frozen(place, flags)
            if not flags & os.O_CREAT:
                return self._open_existing(place, flags)
            if flags & os.O_EXCL:
                return self._make(place, flags, mode, umask)
            try:
                return self._open_existing(place, flags)
            except NotFoundError:
                pass
            try:
                return self._make(place, flags, mode, umask)
            except ExistsError:
                # another client made it in between
                return self._open_existing(place, flags)

    def _make(self, place: Place, flags: int, mode: int, umask: int) -> File:
        context = self._require_inherited(place.parent)
        most = self._most_for_children(place, umask)
        mode = limited(mode, most)
        require_usable_mode(mode, place.plain)
        file_mode = self._subtrees.mode_of(place.chain)
        contents = contents_of(self._keyring, context, place.plain)
        fd = self._made(place, most)
        inode = OpenInode(
            self._mount,
            fd,
            place.existing,
            place.plain,
            contents,
            context,
            file_mode,
            self._sharing,
            writable=True,
            permissions=mode,
        )
        self._inodes.add(inode)
        return File(inode, self._inodes, self._publisher, flags, place.plain, made=True)

    def _made(self, place: Place, most: int) -> int:
        """A new file, half made as yet and open, under its own name."""
        with ExitStack() as failing:
            with self._new(place) as stored:
                fd = make_file(self._mount, stored, most)
                failing.callback(self._mount.close, fd)
            failing.pop_all()
        return fd

    def _open_existing(self, place: Place, flags: int) -> File:
        write = flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)
        stored, plain = place.existing, place.plain
        found = self._mount.stat(stored)
        _require_file(found.kind, flags, plain)
        inode = self._inodes.join(found.ino)
        if inode is None:
            opened = self._opened(place, stored, found, write=write)
            inode = self._inodes.add(opened)
            if inode is None:
                inode = opened
            else:
                opened.end()
        file = File(inode, self._inodes, self._publisher, flags, plain)
        try:
            _require_policy_of(place.parent, inode.context, plain)
            if write:
                inode.allow_writing(lambda: self._mount.open(stored, os.O_RDWR))
            if flags & os.O_TRUNC:
                inode.drop_rights()
                inode.truncate(0)
        except BaseException:
            file.close()
            raise
        return file

    def _open_frozen(self, place: Place, flags: int) -> File:
        stored, plain = place.existing, place.plain
        require_only_read(flags, plain)
        found = self._mount.stat(stored)
        _require_file(found.kind, flags, plain)
        facts = frozen_facts(self._mount, stored, plain)
        _require_policy_of(place.parent, facts.context, plain)
        inode = FrozenInode(
            self._mount, place, facts, contents_of(self._keyring, facts.context, plain), self._sharing
        )
        self._inodes.add(inode)
        return File(inode, self._inodes, self._publisher, flags, plain)

    def _opened(self, place: Place, stored: bytes, found: Stat, *, write: bool) -> OpenInode:
        plain = place.plain
        facts = read_facts(self._mount, stored, plain, thorough=write, seen=found)
        _require_policy_of(place.parent, facts.context, plain)
        if write and facts.mode is FileMode.KERNEL:
            raise kernel_owned(plain)
        contents = contents_of(self._keyring, facts.context, plain)
        fd = self._mount.open(stored, os.O_RDWR if write else os.O_RDONLY)
        inode = OpenInode(
            self._mount,
            fd,
            stored,
            plain,
            contents,
            facts.context,
            facts.mode,
            self._sharing,
            writable=write,
            source=None if write or self._cached is None else self._cached.source(stored, facts),
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

    def _new(self, place: Place, *, directory: bool = False) -> AbstractContextManager[bytes]:
        """The stored path under which to make, in a `with` block, what has the name of `place` after it.

        Raises as `Directory.new_name`, or as `LongNaming.making`.
        """
        if self._long_naming is None or not place.parent.needs_kernel(place.name):
            return nullcontext(place.new)
        return self._long_naming.making(place, directory=directory)

    def _place(self, path: Path) -> Place:
        """Of something that is to be changed."""
        place = self._directories.place(components(path))
        require_living(place)
        return place

    def _complete(self, path: Path, *, publish: bool = True) -> tuple[bytes, bytes]:
        """The stored and the plain path of what is complete: what is private here is published for it, or left alone.

        Raises:
            DamagedError: others left it half made.
        """
        names = components(path)
        if not names:
            root = self._directories.root()
            return root.stored, root.plain
        place = self._directories.place(names)
        with named(place.plain):
            stored = place.existing
            if publish:
                self._publish(stored)
            if publish or not self._is_private(stored):
                self._require_made(place)
        return stored, place.plain

    def _encrypted_place(self, path: Path, *, frozen: bool = False) -> Place:
        """`frozen`: it may lie in a snapshot."""
        place = self._directories.place(components(path)) if frozen else self._place(path)
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
            raise _not_a_top(chain[-1])
        return chain[-1]

    def _require_nothing_open(self, path: Path) -> None:
        self.sync()
        if self._inodes:
            raise BusyError(
                errno.EBUSY, "files of this mount are open", os.fsencode(path), remedy="Close them first."
            )

    def _inherited(self, parent: Directory) -> Context | None:
        """The context of a new child."""
        parent.require_key()
        return None if parent.policy is None else Context.fresh(parent.policy)

    def _most_for_children(self, place: Place, umask: int) -> int:
        return most_for_children(self._mount, place.parent.stored, place.parent.plain, umask)

    def _require_inherited(self, parent: Directory) -> Context:
        context = self._inherited(parent)
        if context is None:
            raise inconsistent(parent.plain)
        return context

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
        if place.snapshot is None:
            context = self._link_context(stored, place.plain)
        else:
            context = frozen_link_context(self._mount, stored, place.plain)
        key = self._keyring.find(context.policy.key)
        try:
            return locked_target(target) if key is None else plain_target(key, context, target)
        except FormatError as error:
            raise DamagedError(
                errno.EUCLEAN, str(error), place.plain, remedy="Remove the link, and make it again."
            ) from error

    def _attributes(
        self, stored: bytes, plain: bytes, *, inside: bool, snapshot: bytes | None = None
    ) -> Attributes:
        found = self._mount.stat(stored)
        with self._inodes.using(found.ino if snapshot is None else None) as inode:
            if inode is not None:
                permissions = inode.permissions
                if permissions is None and unfinished(found):
                    # it was completed since
                    found = self._mount.stat(stored)
                return Attributes.of(
                    found, size=inode.size, encrypted=True, permissions=permissions, file_mode=inode.mode
                )
        if inside and unfinished(found) and snapshot is None:
            found = self._finished(stored, found)
        size, file_mode, encrypted = found.size, None, False
        if found.kind is Kind.FILE:
            facts = None
            if inside and not unfinished(found):
                facts = self._visible_facts(stored, plain, frozen=snapshot is not None)
            encrypted = facts is not None
            if facts is not None:
                size, file_mode = facts.real_size, facts.mode
        elif found.kind is not Kind.SPECIAL:
            encrypted = inside or read_auth(self._mount, stored, plain) is not None
        if snapshot is not None:
            found = replace(found, ino=apart(found.ino, snapshot))
        return Attributes.of(found, size=size, encrypted=encrypted, file_mode=file_mode)

    def _finished(self, stored: bytes, found: Stat) -> Stat:
        """A child that another client has closed is complete in a moment; one of a client that died is waited for
        once."""
        if self._hopeless.get(found.ino):
            return found

        def look() -> Stat | None:
            again = self._mount.stat(stored)
            return None if unfinished(again) else again

        finished = until_made(look)
        if finished is None:
            self._hopeless.put(found.ino, True)
        return finished or found

    def _visible_facts(self, stored: bytes, plain: bytes, *, frozen: bool) -> FileFacts | None:
        """The facts of a file, or None where there are none or they may not be read."""
        subject = ByPath(self._mount, stored)
        try:
            facts = look(subject, plain)
            if frozen:
                return frozen_sizes(facts, plain)
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

    def _is_private(self, stored: bytes) -> bool:
        if not self._inodes:
            return False
        with self._inodes.using(self._mount.stat(stored).ino) as inode:
            return inode is not None and inode.permissions is not None

    def _publish(self, stored: bytes) -> None:
        """What is private to this file system is completed, durably."""
        if not self._inodes:
            return
        with self._inodes.using(self._mount.stat(stored).ino) as inode:
            if inode is not None and inode.permissions is not None:
                inode.flush()

    def _make_durable(self, stored: bytes) -> None:
        """What was made here gets no other names before it is complete, durably: it may take the place of something
        that was acknowledged."""
        self._publish(stored)
        if self._publisher.unsynced:
            self._mount.sync()

    @contextmanager
    def _taking_away(self, stored: bytes) -> Iterator[None]:
        """For what takes a name away: a private file that had no other one has nothing to publish any more."""
        try:
            found = self._mount.stat(stored) if self._inodes else None
        except NotFoundError:
            found = None
        if found is None:
            yield
            return
        with self._inodes.using(found.ino) as inode:
            yield
            if inode is not None and found.nlink == 1:
                inode.lose_name()

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


def _not_a_top(directory: Directory) -> RefusedError:
    return RefusedError(
        errno.EINVAL,
        "not the root of an encrypted subtree",
        directory.plain,
        remedy="Name the directory that was given the policy.",
    )


def _require_file(kind: Kind, flags: int, plain: bytes) -> None:
    if kind is Kind.FILE and flags & os.O_DIRECTORY:
        raise RefusedError(errno.ENOTDIR, "not a directory", plain, remedy="Name a directory.")
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
