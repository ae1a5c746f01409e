"""Encrypted directories: their contexts, their names, and the walk from a plaintext path to the stored one."""

import errno
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from itertools import islice, pairwise

from ..ceph.errors import NoAttributeError, NotFoundError
from ..ceph.interface import Entry, Kind, Mount, Stat
from ..format import (
    AUTH_XATTR,
    NAME_MAX,
    NOHASH_MAX,
    Context,
    Dentry,
    FormatError,
    HashedNameError,
    MasterKey,
    NameFormatError,
    Names,
    NameTooLongError,
    Policy,
)
from .cache import Cache
from .errors import DamagedError, LockedError, RefusedError
from .keyring import Keyring
from .long_names import LongNames, looks_hashed
from .making import half_made, unfinished
from .paths import joined, named
from .snapshot_names import SNAPSHOTS, SnapshotNames, apart
from .waiting import until_made

_CONTEXTS = 65536
_NAMES = 4096
_KNOWN = 256
_BATCH = 256
"""Names that are decrypted at once, which costs little more than one."""


class NameKind(Enum):
    """What the name of an entry is to its reader."""

    PLAIN = "stored as it is: the directory is not encrypted"
    DECRYPTED = "decrypted"
    LOCKED = "shown as stored: the key is not here"
    HASHED = (
        "shown as stored: too long to be read back through libcephfs, and no MDS tells it (doc/facts.md F8)"
    )
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
    the key is. `snapshot` is the stored path of the snapshot that it lies in, or of `.snap` for that itself."""

    stored: bytes
    plain: bytes
    ino: int
    context: Context | None = None
    names: Names | SnapshotNames | None = None
    snapshot: bytes | None = None

    @property
    def policy(self) -> Policy | None:
        """What its children inherit; None where it is not encrypted."""
        return None if self.context is None else self.context.policy

    @property
    def locked(self) -> bool:
        """Encrypted, and the key is not here."""
        return self.context is not None and self.names is None

    @property
    def longest_name(self) -> int:
        """Bytes of the longest name that a new entry can have, in the form that `new_name` takes."""
        if self.context is None or self.names is None:
            return NAME_MAX
        return NOHASH_MAX - NOHASH_MAX % self.context.policy.padding

    @property
    def frozen(self) -> bool:
        """A snapshot or in one, or the `.snap` that lists them."""
        return self.snapshot is not None

    @property
    def lists_snapshots(self) -> bool:
        """Is this a `.snap`?"""
        return self.stored.endswith(b"/" + SNAPSHOTS)

    def require_key(self) -> None:
        """Raises `LockedError` where the key is missing."""
        if self.context is not None and self.names is None:
            raise LockedError(self.plain, self.context.policy.key)

    def lookup_name(self, plain: bytes) -> bytes:
        """How an existing entry's name is stored. A locked directory takes names as they are stored."""
        if self.names is None or (plain == SNAPSHOTS and not self.frozen):
            return plain
        try:
            return self.names.encode(plain).dname
        except NameTooLongError as error:
            raise _too_long(joined(self.plain, plain)) from error

    def may_be_stored(self, name: bytes) -> bool:
        """May an existing entry be shown by this name because it is stored so, though the key is here?"""
        return isinstance(self.names, SnapshotNames) or (self.names is not None and looks_hashed(name))

    @property
    def taints_names(self) -> bool:
        """Is there a long name on the way to it? libcephfs of 20.2 stores what is beside that one beside every name
        that it gives below, too, and kernels take them for others then (doc/facts.md F8a)."""
        return isinstance(self.names, Names) and any(map(looks_hashed, self.stored.split(b"/")))

    def needs_kernel(self, plain: bytes) -> bool:
        """Can libcephfs neither make nor rename an entry with this name (long_names.py)?"""
        try:
            return self.taints_names or (isinstance(self.names, Names) and self.names.encode(plain).is_hashed)
        except NameTooLongError:
            return False

    def new_name(self, plain: bytes) -> bytes:
        """How a new entry's name is stored.

        Raises:
            LockedError: the key is not here.
            RefusedError: ENAMETOOLONG: its ciphertext would have more than 148 bytes, and libcephfs cannot store
                what such a name needs (doc/facts.md F8; doc/format.md N4), or would store it where it does not belong,
                for it `taints_names`; EEXIST: `.snap`, which is always there.
        """
        self.require_key()
        if plain == SNAPSHOTS:
            raise RefusedError(
                errno.EEXIST,
                "the name by which a directory's snapshots are reached",
                joined(self.plain, plain),
                remedy="Use another name.",
            )
        if self.names is None:
            return plain
        try:
            dentry = self.names.encode(plain)
        except NameTooLongError as error:
            raise _too_long(joined(self.plain, plain)) from error
        if dentry.is_hashed:
            raise _too_long(joined(self.plain, plain))
        if self.taints_names:
            raise RefusedError(
                errno.ENAMETOOLONG,
                "a directory on the way has a name that only kernels give: libcephfs would spoil this one",
                joined(self.plain, plain),
                remedy="Give that directory a shorter name through a kernel's mount, or use `--kernel-mount`.",
            )
        return dentry.dname

    def shown(self, entries: Sequence[Entry]) -> Iterator[DirEntry]:
        """Entries as their reader sees them."""
        names = self._shown_names([entry.name for entry in entries])
        for entry, (name, kind) in zip(entries, names, strict=True):
            snapshot = joined(self.stored, entry.name) if self.lists_snapshots else self.snapshot
            yield DirEntry(name, entry.name, entry.kind, apart(entry.ino, snapshot), kind)

    def _shown_names(self, stored: Sequence[bytes]) -> Iterable[tuple[bytes, NameKind]]:
        if self.context is None:
            return ((name, NameKind.PLAIN) for name in stored)
        if self.names is None:
            return ((name, NameKind.LOCKED) for name in stored)
        return map(_shown_name, stored, self.names.decode_all(stored))


def _shown_name(stored: bytes, decoded: bytes | NameFormatError) -> tuple[bytes, NameKind]:
    if isinstance(decoded, bytes):
        return decoded, NameKind.DECRYPTED
    return stored, NameKind.HASHED if isinstance(decoded, HashedNameError) else NameKind.FOREIGN


@dataclass(frozen=True)
class Place:
    """Where a path leads: the directories from the root to its parent, and the last name in both forms.

    `as_stored`: the name was said as it is stored, though the key is here.
    """

    chain: tuple[Directory, ...]
    name: bytes
    as_stored: bool = False

    @property
    def parent(self) -> Directory:
        """The directory that holds the name."""
        return self.chain[-1]

    @cached_property
    def plain(self) -> bytes:
        """The path as its caller said it."""
        return joined(self.parent.plain, self.name)

    @cached_property
    def existing(self) -> bytes:
        """The stored path, for something that is there."""
        name = self.name if self.as_stored else self.parent.lookup_name(self.name)
        return joined(self.parent.stored, name)

    @cached_property
    def new(self) -> bytes:
        """The stored path, for something that will be there. Raises as `Directory.new_name`."""
        return joined(self.parent.stored, self.parent.new_name(self.name))

    @property
    def snapshot(self) -> bytes | None:
        """The stored path of the snapshot that this is or lies in, or of `.snap` for that itself; None if it lives."""
        above = self.parent
        if above.lists_snapshots or (self.name == SNAPSHOTS and not above.frozen):
            return self.existing
        return above.snapshot


class Directories:
    """Directories of one mount. A directory's context never changes once it is there, and inode numbers are not
    used twice, so contexts are kept; derived keys are dropped when a key is removed.

    Walks are kept too. One is still right if its stored path leads to the same encrypted directory: that path is made
    of ciphertext under the contexts of the directories on the way, so no others lead to it by these names.

    A directory without a policy can only be given one while it is empty. So one that was walked through stays known
    to be without, for walks that go on through it: each finds something in it again.

    Nothing of this is kept of snapshots: what lies in them has the inode numbers of what lives, and may be of a time
    when it had no context.
    """

    def __init__(self, mount: Mount, keyring: Keyring) -> None:
        self._mount = mount
        self._keyring = keyring
        self._contexts: Cache[int, Context] = Cache(_CONTEXTS)
        self._names: Cache[int, Names] = Cache(_NAMES)
        self._passages: Cache[int, bool] = Cache(_NAMES)
        self._walks: Cache[tuple[bytes, ...], tuple[Directory, ...]] = Cache(_NAMES)
        self._long_names = LongNames(mount)
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
        known = self._walks.get(names)
        if known is not None and self._still_leads(known):
            return known
        chain = [self._read(b"/", b"/", None, passage=bool(names))]
        for depth, name in enumerate(names, start=1):
            parent = chain[-1]
            if name == SNAPSHOTS and not parent.frozen:
                chain.append(_list_of_snapshots(chain))
                continue
            stored = Place((parent,), name, self._said_as_stored(parent, name)).existing
            chain.append(self._read(stored, joined(parent.plain, name), parent, passage=depth < len(names)))
        for directory, entered in pairwise(chain):
            # `.snap` is found in an empty directory, too
            if directory.context is None and not entered.frozen:
                self._passages.put(directory.ino, True)
        if chain[-1].names is not None and not chain[-1].frozen:
            # its key is here, so it is not shown as locked; when it goes, all walks go
            self._walks.put(names, tuple(chain))
        return tuple(chain)

    def place(self, names: tuple[bytes, ...]) -> Place:
        """Where the path with these names leads. Raises as `walk`, and RefusedError EBUSY for the root."""
        if not names:
            raise RefusedError(errno.EBUSY, "the root of the mount", b"/", remedy="Name something in it.")
        chain = self.walk(names[:-1])
        return Place(chain, names[-1], self._said_as_stored(chain[-1], names[-1]))

    def enter(self, parent: Directory, entry: DirEntry) -> Directory:
        """A directory that was met among the entries of `parent`. Raises as `walk`."""
        return self._read(joined(parent.stored, entry.stored), joined(parent.plain, entry.name), parent)

    def entries(self, directory: Directory) -> Generator[DirEntry]:
        """What lies in a directory, as a stream, which whoever does not run it to its end closes."""
        long: Mapping[bytes, bytes] | None = None
        with named(directory.plain), closing(self._mount.scandir(directory.stored)) as entries:
            while batch := list(islice(entries, _BATCH)):
                for shown in directory.shown(batch):
                    if shown.name_kind is not NameKind.HASHED or not isinstance(directory.names, Names):
                        yield shown
                        continue
                    if long is None:
                        long = self._long_names.in_directory(directory.stored, directory.names)
                    yield (
                        replace(shown, name=long[shown.stored], name_kind=NameKind.DECRYPTED)
                        if shown.stored in long
                        else shown
                    )

    def remember(self, ino: int, context: Context) -> None:
        """A directory or symlink that was just made has this context."""
        self._contexts.put(ino, context)

    def remembered(self, ino: int) -> Context | None:
        """The context of an inode, if it was met lately."""
        return self._contexts.get(ino)

    def _still_leads(self, chain: tuple[Directory, ...]) -> bool:
        if self._generation != self._keyring.generation:
            return False
        last = chain[-1]
        try:
            found = self._mount.identify(last.stored)
        except NotFoundError:
            return False
        return found.ino == last.ino and not unfinished(found)

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
        if parent is not None and parent.frozen:
            return self._frozen(stored, plain, parent, found)
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

    def _frozen(self, stored: bytes, plain: bytes, parent: Directory, found: Stat) -> Directory:
        """A directory of a snapshot. Nobody will finish what is half made there. The snapshot itself inherits nothing:
        it may be older than the policy."""
        snapshot = stored if parent.lists_snapshots else parent.snapshot
        inherits = parent.context is not None and not parent.lists_snapshots
        context = read_auth(self._mount, stored, plain)
        if inherits and (context is None or unfinished(found)):
            raise half_made(plain)
        if context is None:
            return Directory(stored, plain, found.ino, snapshot=snapshot)
        if inherits and parent.policy != context.policy:
            raise inconsistent(plain)
        return Directory(stored, plain, found.ino, context, self._names_of(None, context, plain), snapshot)

    def _said_as_stored(self, parent: Directory, name: bytes) -> bool:
        """Did the caller say the name of an existing entry as listings show it that cannot decrypt it?"""
        if parent.frozen and not parent.lists_snapshots:
            self._bring_back(Place((parent,), name).existing)
        if not parent.may_be_stored(name):
            return False
        with named(joined(parent.plain, name)):
            encrypted = exists(self._mount, Place((parent,), name).existing)
            return not encrypted and exists(self._mount, joined(parent.stored, name))

    def _bring_back(self, stored: bytes) -> None:
        """libcephfs loses sight of a directory of a snapshot when it meets it by another way, as `D/.snap/S/E` and as
        `D/E/.snap/_S_INODE`, until the one above it is listed again (doc/facts.md F16)."""
        if not exists(self._mount, stored):
            with closing(self._mount.scandir(stored.rpartition(b"/")[0])) as entries:
                for _ in entries:
                    pass

    def _finished(self, stored: bytes, plain: bytes) -> Stat:
        def look() -> Stat | None:
            found = self._mount.stat(stored)
            return None if unfinished(found) else found

        finished = until_made(look)
        if finished is None:
            raise half_made(plain)
        return finished

    def _names_of(self, ino: int | None, context: Context, plain: bytes) -> Names | None:
        """None for the number: they are not kept."""
        if self._generation != self._keyring.generation:
            self._names.clear()
            self._walks.clear()
            self._generation = self._keyring.generation
        key = self._keyring.find(context.policy.key)
        if key is None:
            return None
        names = None if ino is None else self._names.get(ino)
        if names is None:
            try:
                context.policy.check_for_cephfs()
                names = _KnownNames(key, context)
            except FormatError as error:
                raise RefusedError(
                    errno.EOPNOTSUPP, str(error), plain, remedy="Read it with a kernel client."
                ) from error
            if ino is not None:
                self._names.put(ino, names)
        return names


def _list_of_snapshots(chain: list[Directory]) -> Directory:
    """The `.snap` of the last of these directories."""
    above = chain[-1]
    stored = joined(above.stored, SNAPSHOTS)
    names: SnapshotNames | None = None
    if isinstance(above.names, Names):
        names = SnapshotNames(
            above.names, {each.ino: each.names for each in chain if isinstance(each.names, Names)}
        )
    return Directory(stored, joined(above.plain, SNAPSHOTS), above.ino, above.context, names, stored)


class _KnownNames(Names):
    """The names of a directory, the last of them kept with how they are stored: paths are walked again and again."""

    def __init__(self, key: MasterKey, context: Context) -> None:
        super().__init__(key, context)
        self._known: Cache[bytes, Dentry] = Cache(_KNOWN)

    def encode(self, plain: bytes) -> Dentry:
        """As `Names.encode`."""
        found = self._known.get(plain)
        if found is None:
            found = super().encode(plain)
            self._known.put(plain, found)
        return found


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
        remedy="Use a shorter name: up to 128 bytes with the default padding. Longer ones, up to 255 bytes, are made "
        "through a kernel's mount (`--kernel-mount`).",
    )
