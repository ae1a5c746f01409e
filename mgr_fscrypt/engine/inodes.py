"""What a regular file is: its mode, its context and its real size, read from its own attributes.

Context and real size are one attribute (`trusted.fscrypt.engine`); two calls read it and the raw size. Readers believe
a real size for which there are blocks enough (doc/facts.md F6c): what is there beyond it was not told yet. One that is
too large is read again; after that its writer's lease is waited for; and what does not fit under the lease was left by
a writer that died: the smaller of the two sizes wins, and is stored.
"""

import errno
import os
import time
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ..ceph.errors import LeaseHeldError, NoAttributeError, UnsupportedReleaseError
from ..ceph.interface import Mount, Stat
from ..format import (
    AUTH_XATTR,
    BLOCK_SIZE,
    ENGINE_XATTR,
    FILE_XATTR,
    Context,
    EngineRecord,
    FormatError,
    believe_size,
    raw_size,
)
from .directories import inconsistent
from .errors import DamagedError
from .making import doubtful, half_made, unfinished
from .waiting import until_made

LEASE_TIMEOUT = 10.0
"""Seconds to wait for another client's lease; one that died is outlived by then."""
_LEASE_TRY = 0.2
_PAUSES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


class FileMode(Enum):
    """Who owns a file's data path (doc/architecture.md, Two modes)."""

    ENGINE = "engine"
    KERNEL = "kernel"


class Subject(Protocol):
    """An inode to look at, by path or by descriptor."""

    def stat(self) -> Stat:
        """As the MDS has it."""

    def get(self, name: str) -> bytes:
        """An attribute. Raises `NoAttributeError`."""


@dataclass(frozen=True)
class ByPath:
    """The inode that a stored path names."""

    mount: Mount
    stored: bytes

    def stat(self) -> Stat:
        """As the MDS has it."""
        return self.mount.stat(self.stored)

    def get(self, name: str) -> bytes:
        """An attribute."""
        return self.mount.getxattr(self.stored, name)


@dataclass(frozen=True)
class ByDescriptor:
    """The inode of an open file."""

    mount: Mount
    fd: int

    def stat(self) -> Stat:
        """As the MDS has it."""
        return self.mount.fstat(self.fd)

    def get(self, name: str) -> bytes:
        """An attribute."""
        return self.mount.fgetxattr(self.fd, name)


@dataclass(frozen=True)
class FileFacts:
    """An encrypted regular file: `real_size` in bytes.

    `settled` is false where the raw size is not the real one rounded up: a writer is at work, or has died.
    """

    mode: FileMode
    context: Context
    real_size: int
    raw: Stat
    settled: bool = True

    @property
    def believed(self) -> bool:
        """May a reader take the real size as it is? It is told last when a file grows, and first when it shrinks, so
        only a raw size that is too small says that it was not true any more when it was read."""
        return self.settled or raw_size(self.real_size) < self.raw.size


def optional(subject: Subject, name: str) -> bytes | None:
    """An attribute, or None where there is none."""
    try:
        return subject.get(name)
    except NoAttributeError:
        return None


def look(subject: Subject, plain: bytes, *, thorough: bool = False) -> FileFacts | None:
    """The facts of a regular file as they stand now, or None where it has no context.

    A file between the modes has both attributes, saying the same. Readers take ours, which the client has cached;
    `ceph.fscrypt.auth` costs a round trip to the MDS each time (0.2 ms, run on both releases). Whoever writes looks
    thoroughly: a file that has auth may kill clients that shrink it (doc/facts.md F4), whatever else is there.

    Raises:
        DamagedError: an attribute is not what either kernel or engine writes.
    """
    try:
        if thorough:
            return _kernel_facts(subject) or _engine_facts(subject)
        return _engine_facts(subject) or _kernel_facts(subject)
    except FormatError as error:
        raise DamagedError(
            errno.EUCLEAN, str(error), plain, remedy="Restore it from a backup, or remove it."
        ) from error


def _engine_facts(subject: Subject) -> FileFacts | None:
    pair = optional(subject, ENGINE_XATTR)
    if pair is None:
        return None
    record = EngineRecord.decode(pair)
    raw = subject.stat()
    settled = record.believed_with(raw.size)
    return FileFacts(FileMode.ENGINE, record.context, record.real_size, raw, settled)


def _kernel_facts(subject: Subject) -> FileFacts | None:
    auth = optional(subject, AUTH_XATTR)
    if auth is None:
        return None
    context = Context.decode_auth(auth)
    raw = subject.stat()
    size = believe_size(raw.size, optional(subject, FILE_XATTR) or b"")
    return FileFacts(FileMode.KERNEL, context, size.real, raw)


def read_facts(
    mount: Mount, stored: bytes, plain: bytes, *, thorough: bool = False, seen: Stat | None = None
) -> FileFacts:
    """The settled facts of the regular file at a stored path; `thorough` as `look`, `seen` as `finished_facts`.

    Raises:
        DamagedError: half made, or attributes that nobody writes.
        RefusedError: EPERM: an unencrypted file in an encrypted directory.
        LeaseHeldError: a writer kept its size in motion for `LEASE_TIMEOUT` seconds.
    """
    subject = ByPath(mount, stored)
    return settle(mount, stored, subject, plain, finished_facts(subject, plain, thorough=thorough, seen=seen))


def finished_facts(
    subject: Subject, plain: bytes, *, thorough: bool = False, seen: Stat | None = None
) -> FileFacts:
    """The facts of a file that is not, or within about a second not any more, half made; `thorough` as `look`. `seen`
    is what its caller has just found at the path, and needs not be asked for again.

    Raises:
        DamagedError: half made, or attributes that nobody writes.
        RefusedError: EPERM: an unencrypted file in an encrypted directory.
    """

    def made() -> FileFacts | None:
        nonlocal seen
        # its maker sets the mode after the context: look in that order
        raw, seen = seen or subject.stat(), None
        if unfinished(raw):
            return None
        found = look(subject, plain, thorough=thorough)
        if found is None and not doubtful(raw):
            raise inconsistent(plain)
        return found

    found = until_made(made)
    if found is None:
        raise half_made(plain)
    return found


def settle(mount: Mount, stored: bytes, subject: Subject, plain: bytes, found: FileFacts) -> FileFacts:
    """Facts that a reader believes: read again, then wait for the lease, then the smaller size wins."""
    for pause in _PAUSES:
        if found.believed:
            return found
        time.sleep(pause)
        found = look(subject, plain) or found
    try:
        lease = mount.lease(found.raw.ino)
    except UnsupportedReleaseError:
        return found if found.believed else smaller(found, plain)
    give_up = time.monotonic() + LEASE_TIMEOUT
    with lease:
        while not found.believed:
            try:
                lease.acquire(_LEASE_TRY)
            except LeaseHeldError:
                found = look(subject, plain) or found
                if not found.believed and time.monotonic() > give_up:
                    raise
                continue
            found = look(subject, plain) or found
            if not found.believed:
                fd = mount.open(stored, os.O_RDWR)
                try:
                    return recover(mount, fd, plain, found)
                finally:
                    mount.close(fd)
    return found


def leased_facts(mount: Mount, fd: int, stored: bytes, plain: bytes) -> FileFacts:
    """What the holder of the lease finds, looking thoroughly, after what a dead writer left was cut away."""
    subject = ByDescriptor(mount, fd)
    found = look(subject, plain, thorough=True)
    if found is None:
        return read_facts(mount, stored, plain, thorough=True)
    return found if found.settled else recover(mount, fd, plain, found)


def recover(mount: Mount, fd: int, plain: bytes, found: FileFacts) -> FileFacts:
    """Finish what a dead writer left: the smaller size wins. For a holder of the inode's lease.

    The tail of the last block is not looked at: readers clip it, and writers zero it before they grow a file.
    """
    left = smaller(found, plain)
    mount.fsetxattr(fd, ENGINE_XATTR, EngineRecord(found.context, left.real_size).encode())
    if raw_size(left.real_size) < found.raw.size:
        mount.ftruncate(fd, raw_size(left.real_size))
    mount.fsync(fd)
    return left


def smaller(found: FileFacts, plain: bytes) -> FileFacts:
    """What is left of a file whose two sizes do not fit, and whose writer will not come any more."""
    if found.raw.size % BLOCK_SIZE:
        raise DamagedError(
            errno.EUCLEAN,
            f"its raw size {found.raw.size} is not whole blocks: something that does not know encryption wrote it",
            plain,
            remedy="Copy out what can be read, and restore the rest.",
        )
    return FileFacts(found.mode, found.context, min(found.real_size, found.raw.size), found.raw)
