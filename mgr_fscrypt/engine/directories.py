"""Encrypted directories: their contexts, their names, and the walk from a plaintext path to the stored one."""

import errno
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from enum import Enum

from ..ceph.errors import NoAttributeError, NotFoundError
from ..ceph.interface import Entry, Kind, Mount, Stat
from ..format import (
    AUTH_XATTR,
    Context,
    FormatError,
    HashedNameError,
    NameFormatError,
    Names,
    NameTooLongError,
    Policy,
)
from .cache import Cache
from .errors import DamagedError, LockedError, RefusedError
from .keyring import Keyring
from .making import half_made, unfinished
from .paths import joined, named
from .waiting import until_made

_CONTEXTS = 65536
_NAMES = 4096


class NameKind(Enum):
    """What the name of an entry is to its reader."""

    PLAIN = "stored as it is: the directory is not encrypted"
    DECRYPTED = "decrypted"
    LOCKED = "shown as stored: the key is not here"
    HASHED = "shown as stored: too long to be read back through libcephfs (doc/facts.md F8)"
    FOREIGN = "shown as stored: it is not encrypted under this directory's key"


@dataclass(frozen=True)
class DirEntry:
    """An entry of a directory as its reader sees it."""

    name: bytes
    stored: bytes
    kind: Kind
    ino: int
    name_kind: NameKind


@dataclass(frozen=True)
class Directory:
    """A directory on the way: stored and plain path, and its context where it is encrypted. `names` is there when
    the key is."""

    stored: bytes
    plain: bytes
    ino: int
    context: Context | None = None
    names: Names | None = None

    @property
    def policy(self) -> Policy | None:
        """What its children inherit; None where it is not encrypted."""
        return None if self.context is None else self.context.policy

    @property
    def locked(self) -> bool:
        """Encrypted, and the key is not here."""
        return self.context is not None and self.names is None

    def require_key(self) -> None:
        """Raises `LockedError` where the key is missing."""
        if self.context is not None and self.names is None:
            raise LockedError(self.plain, self.context.policy.key)

    def lookup_name(self, plain: bytes) -> bytes:
        """How an existing entry's name is stored. A locked directory takes names as they are stored."""
        if self.names is None:
            return plain
        try:
            return self.names.encode(plain).dname
        except NameTooLongError as error:
            raise _too_long(joined(self.plain, plain)) from error

    def new_name(self, plain: bytes) -> bytes:
        """How a new entry's name is stored.

        Raises:
            LockedError: the key is not here.
            RefusedError: ENAMETOOLONG: its ciphertext would have more than 148 bytes, and libcephfs cannot store
                what such a name needs (doc/facts.md F8; doc/format.md N4).
        """
        self.require_key()
        if self.names is None:
            return plain
        try:
            dentry = self.names.encode(plain)
        except NameTooLongError as error:
            raise _too_long(joined(self.plain, plain)) from error
        if dentry.is_hashed:
            raise _too_long(joined(self.plain, plain))
        return dentry.dname

    def shown(self, entry: Entry) -> DirEntry:
        """An entry as its reader sees it."""
        if self.context is None:
            return DirEntry(entry.name, entry.name, entry.kind, entry.ino, NameKind.PLAIN)
        if self.names is None:
            return DirEntry(entry.name, entry.name, entry.kind, entry.ino, NameKind.LOCKED)
        try:
            plain = self.names.decode(entry.name)
        except HashedNameError:
            return DirEntry(entry.name, entry.name, entry.kind, entry.ino, NameKind.HASHED)
        except NameFormatError:
            return DirEntry(entry.name, entry.name, entry.kind, entry.ino, NameKind.FOREIGN)
        return DirEntry(plain, entry.name, entry.kind, entry.ino, NameKind.DECRYPTED)


@dataclass(frozen=True)
class Place:
    """Where a path leads: the directories from the root to its parent, and the last name in both forms."""

    chain: tuple[Directory, ...]
    name: bytes

    @property
    def parent(self) -> Directory:
        """The directory that holds the name."""
        return self.chain[-1]

    @property
    def plain(self) -> bytes:
        """The path as its caller said it."""
        return joined(self.parent.plain, self.name)

    @property
    def existing(self) -> bytes:
        """The stored path, for something that is there."""
        return joined(self.parent.stored, self.parent.lookup_name(self.name))

    @property
    def new(self) -> bytes:
        """The stored path, for something that will be there. Raises as `Directory.new_name`."""
        return joined(self.parent.stored, self.parent.new_name(self.name))


class Directories:
    """Directories of one mount. A directory's context never changes once it is there, and inode numbers are not
    used twice, so contexts are kept; derived keys are dropped when a key is removed.

    A directory without a policy can only be given one while it is empty. So one that was walked through stays known
    to be without, for walks that go on through it: each finds something in it again.
    """

    def __init__(self, mount: Mount, keyring: Keyring) -> None:
        self._mount = mount
        self._keyring = keyring
        self._contexts: Cache[int, Context] = Cache(_CONTEXTS)
        self._names: Cache[int, Names] = Cache(_NAMES)
        self._passages: Cache[int, bool] = Cache(_NAMES)
        self._generation = keyring.generation

    def root(self) -> Directory:
        """The mount's root."""
        return self._read(b"/", b"/", None)

    def walk(self, names: tuple[bytes, ...]) -> tuple[Directory, ...]:
        """The directories that `names` lead through, from the root.

        Raises:
            NotFoundError: one is not there.
            RefusedError: ENOTDIR: one is not a directory; EPERM: its policy is not its parent's.
            DamagedError: one is in an encrypted directory and has no context.
        """
        chain = [self._read(b"/", b"/", None, passage=bool(names))]
        for depth, name in enumerate(names, start=1):
            parent = chain[-1]
            stored, plain = joined(parent.stored, parent.lookup_name(name)), joined(parent.plain, name)
            chain.append(self._read(stored, plain, parent, passage=depth < len(names)))
        for directory in chain[:-1]:
            if directory.context is None:
                self._passages.put(directory.ino, True)
        return tuple(chain)

    def place(self, names: tuple[bytes, ...]) -> Place:
        """Where the path with these names leads. Raises as `walk`, and RefusedError EBUSY for the root."""
        if not names:
            raise RefusedError(errno.EBUSY, "the root of the mount", b"/", remedy="Name something in it.")
        return Place(self.walk(names[:-1]), names[-1])

    def enter(self, parent: Directory, entry: DirEntry) -> Directory:
        """A directory that was met among the entries of `parent`. Raises as `walk`."""
        return self._read(joined(parent.stored, entry.stored), joined(parent.plain, entry.name), parent)

    def entries(self, directory: Directory) -> Generator[DirEntry]:
        """What lies in a directory, as a stream, which whoever does not run it to its end closes."""
        with named(directory.plain), closing(self._mount.scandir(directory.stored)) as entries:
            for entry in entries:
                yield directory.shown(entry)

    def remember(self, ino: int, context: Context) -> None:
        """A directory or symlink that was just made has this context."""
        self._contexts.put(ino, context)

    def remembered(self, ino: int) -> Context | None:
        """The context of an inode, if it was met lately."""
        return self._contexts.get(ino)

    def _read(
        self, stored: bytes, plain: bytes, parent: Directory | None, *, passage: bool = False
    ) -> Directory:
        with named(plain):
            return self._directory(stored, plain, parent, passage=passage)

    def _directory(
        self, stored: bytes, plain: bytes, parent: Directory | None, *, passage: bool
    ) -> Directory:
        found = self._mount.stat(stored)
        if found.kind is not Kind.DIRECTORY:
            raise RefusedError(errno.ENOTDIR, "not a directory", plain, remedy="Name a directory.")
        inherits = parent is not None and parent.context is not None
        if inherits and unfinished(found):
            found = self._finished(stored, plain)
        if passage and self._passages.get(found.ino):
            return Directory(stored, plain, found.ino)
        context = self._contexts.get(found.ino)
        if context is None:
            context = read_auth(self._mount, stored, plain)
            if context is None and inherits:
                raise half_made(plain)
            if context is None:
                return Directory(stored, plain, found.ino)
            self._contexts.put(found.ino, context)
        if parent is not None and parent.policy is not None and parent.policy != context.policy:
            raise inconsistent(plain)
        return Directory(stored, plain, found.ino, context, self._names_of(found.ino, context, plain))

    def _finished(self, stored: bytes, plain: bytes) -> Stat:
        def look() -> Stat | None:
            found = self._mount.stat(stored)
            return None if unfinished(found) else found

        finished = until_made(look)
        if finished is None:
            raise half_made(plain)
        return finished

    def _names_of(self, ino: int, context: Context, plain: bytes) -> Names | None:
        if self._generation != self._keyring.generation:
            self._names.clear()
            self._generation = self._keyring.generation
        key = self._keyring.find(context.policy.key)
        if key is None:
            return None
        names = self._names.get(ino)
        if names is None:
            try:
                context.policy.check_for_cephfs()
                names = Names(key, context)
            except FormatError as error:
                raise RefusedError(
                    errno.EOPNOTSUPP, str(error), plain, remedy="Read it with a kernel client."
                ) from error
            self._names.put(ino, names)
        return names


def read_auth(mount: Mount, stored: bytes, plain: bytes) -> Context | None:
    """The context in `ceph.fscrypt.auth`, or None where there is none.

    Raises:
        DamagedError: what is there is no context.
    """
    try:
        return Context.decode_auth(mount.getxattr(stored, AUTH_XATTR))
    except NoAttributeError:
        return None
    except FormatError as error:
        raise DamagedError(
            errno.EUCLEAN, str(error), plain, remedy="Restore it from a backup, or remove it."
        ) from error


def inconsistent(plain: bytes) -> RefusedError:
    """An inode whose policy is not its directory's: the kernel's "Inconsistent encryption context"."""
    return RefusedError(
        errno.EPERM,
        "its encryption context is not of its directory's policy",
        plain,
        remedy="It was put there by something that does not know encryption: move it out and copy it in.",
    )


def exists(mount: Mount, stored: bytes) -> bool:
    """Is there an inode by this stored path?"""
    try:
        mount.stat(stored)
    except NotFoundError:
        return False
    return True


def _too_long(plain: bytes) -> RefusedError:
    return RefusedError(
        errno.ENAMETOOLONG,
        "the name is too long to be stored encrypted",
        plain,
        remedy="Use a shorter name: up to 128 bytes with the default padding.",
    )
