"""A directory of checksummed chunks: bounded, shared by processes, kept across restarts, and never needed.

Whatever happens to the directory - damaged, full, read-only, deleted at any moment - costs time and one line of the
log, never an exception or a wrong byte.

    DIRECTORY/sets-COUNT/NUMBER/NAME    a header and one chunk; NAME is what it is known by

The chunks are spread over `COUNT` sets by their names. Each set has its part of the size for itself and forgets what
was used longest ago there, so the whole is bounded without anybody ever looking at the whole. One process at a time
puts into a set; who finds it taken does without. A chunk gets its name by rename, complete; nothing is ever synced,
because after a crash the checksum tells.
"""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from ..format import BLOCK_SIZE
from ..format.buffers import Buffer
from .errors import RefusedError

LARGEST_CHUNK = 128 << 10
"""Bytes: what FUSE asks for at once."""
SMALLEST_SIZE = 1 << 20

_SET = 4 << 20
_MAGIC = b"fscache1"
# magic, version, SHA-256 of name, version and chunk
_HEADER = struct.Struct("<8sQ32s")
_VERSION = struct.Struct("<Q")
_COMING = "coming"
# a FIFO in a chunk's place is no reason to wait
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_MAKING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_log = logging.getLogger(__name__)


class DiskCache:
    """Chunks by name and version. Calls may come from several threads, and from several processes.

    SHA-256, because it is the fastest digest of Python's own that leaves no doubt (1.7 GB/s where the processor helps;
    BLAKE2b 0.7). It is no protection against somebody who may write the directory.

    Args:
        directory: made if it is not there; for its owner alone.
        size: bytes that all chunks may take, in blocks of 4096; one directory has one size: whoever opens it with
            another one begins anew.
    """

    def __init__(self, directory: Path, size: int) -> None:
        """Raises `RefusedError`: EINVAL: too small; EACCES: not a directory that belongs to this user alone."""
        if size < SMALLEST_SIZE:
            raise RefusedError(
                errno.EINVAL,
                f"a cache of {size} bytes holds nothing",
                remedy=f"Give it at least {SMALLEST_SIZE} bytes.",
            )
        self._directory = directory.absolute()
        self._told: set[int | None] = set()
        _require_private(self._directory)
        self._sets = max(1, size // _SET)
        self._bytes_of_set = size // self._sets
        self._top = self._directory / f"sets-{self._sets}"
        with self._harmless():
            for other in self._directory.glob("sets-*"):
                if other != self._top:
                    shutil.rmtree(other, ignore_errors=True)
            self._top.mkdir(mode=0o700, exist_ok=True)

    def get(self, name: bytes, version: int) -> bytes | None:
        """The chunk, if it is there whole and of that version."""
        with self._harmless():
            try:
                fd = os.open(f"{self._set_of(name)}/{name.hex()}", _READING)
            except FileNotFoundError:
                return None
            try:
                found = _read(fd)
                with self._harmless():
                    os.utime(fd)
            finally:
                os.close(fd)
            if len(found) > _HEADER.size:
                magic, kept_for, digest = _HEADER.unpack_from(found)
                if magic == _MAGIC and kept_for != version:
                    return None
                chunk = found[_HEADER.size :]
                if magic == _MAGIC and digest == _digest(name, version, chunk):
                    return chunk
            self._tell(None, f"chunk {name.hex()} is damaged")
        return None

    def put(self, name: bytes, version: int, chunk: Buffer) -> None:
        """Keep it, in place of another version; perhaps not, where others are at it or the disk refuses."""
        stored = b"".join((_HEADER.pack(_MAGIC, version, _digest(name, version, chunk)), chunk))
        with self._harmless(), self._locked(self._set_of(name)) as folder:
            if folder is None:
                return
            # the other version goes first: a rename over it would make some file systems write the new one out at once
            for gone in (name.hex(), _COMING):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(gone, dir_fd=folder)
            if not self._has_room(folder, len(stored)):
                return
            try:
                fd = os.open(_COMING, _MAKING, 0o600, dir_fd=folder)
                try:
                    if os.write(fd, stored) < len(stored):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                finally:
                    os.close(fd)
                os.rename(_COMING, name.hex(), src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(_COMING, dir_fd=folder)
                raise

    def _set_of(self, name: bytes) -> str:
        return f"{self._top}/{int.from_bytes(name[:8]) % self._sets}"

    @contextlib.contextmanager
    def _locked(self, path: str) -> Iterator[int | None]:
        """A descriptor of the set, made if need be, for us alone; None where somebody else is at it."""
        how = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(path, how)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                Path(path).mkdir(mode=0o700)
            fd = os.open(path, how)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield fd
        finally:
            os.close(fd)

    def _has_room(self, folder: int, length: int) -> bool:
        """Is there room for so many bytes more, once the oldest chunks are gone?"""
        entries = []
        with os.scandir(folder) as listed:
            for entry in listed:
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    entries.append((found.st_mtime_ns, _on_disk(found.st_size), entry.name))
        free = self._bytes_of_set - _on_disk(length) - sum(size for _, size, _ in entries)
        for _, size, name in sorted(entries):
            if free >= 0:
                break
            with self._harmless():
                os.unlink(name, dir_fd=folder)
                free += size
        return free >= 0

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        """Nothing that the directory answers is an error."""
        try:
            yield
        except OSError as error:
            self._tell(error.errno, str(error))

    def _tell(self, kind: int | None, what: str) -> None:
        """Once for each kind of trouble."""
        if kind not in self._told:
            self._told.add(kind)
            _log.warning("cache %s: %s; reading from the cluster instead", self._directory, what)


def _require_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise RefusedError(
            errno.EACCES,
            f"no directory for a cache: {error.strerror}",
            os.fsencode(directory),
            remedy="Name a directory on a local disk.",
        ) from error
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise RefusedError(
            errno.EACCES,
            "others may use the directory of the cache",
            os.fsencode(directory),
            remedy="Give it to yourself alone: chmod 700, or name a directory that is not there yet.",
        )


def _read(fd: int) -> bytes:
    """All of a chunk's file; nothing where it is no file, and one byte more than any has where it is too long."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return b""
    return os.read(fd, _HEADER.size + LARGEST_CHUNK + 1)


def _digest(name: bytes, version: int, chunk: Buffer) -> bytes:
    digest = hashlib.sha256(name + _VERSION.pack(version))
    digest.update(chunk)
    return digest.digest()


def _on_disk(size: int) -> int:
    return -(-size // BLOCK_SIZE) * BLOCK_SIZE
