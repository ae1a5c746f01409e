"""Stored bytes of files that are read here, by way of the disk cache: ciphertext, exactly as the OSDs have it.

A chunk is believed for one value of the file's change attribute (`Stat.version`). Each change of the contents by a
living client raises it before the MDS tells it to anybody who asks (doc/facts.md, F16), and what was fsynced or
closed has raised it whatever becomes of its writer. So the cache may answer for a version that was asked *during* the
call; and what was read from the cluster may be kept if the version was the same before and after.

Asking costs nothing as long as this client may cache the file (`Fc` in its capabilities): then it has the version
itself. While anybody has the file open for writing elsewhere it may not (doc/spikes.md, 6), and asking would cost the
writer its capabilities each time: all is read from the cluster then.
"""

import hashlib
from collections.abc import Iterable, Iterator

from ..ceph.errors import CephError
from ..ceph.interface import Mount, Stat
from .blocks import Source
from .disk_cache import LARGEST_CHUNK, DiskCache
from .inodes import FileFacts, FileMode
from .sharing import undisturbed

_NAME_BYTES = 16


class CachedFiles:
    """The files of one mount, read by way of one cache."""

    def __init__(self, mount: Mount, cache: DiskCache) -> None:
        self._mount = mount
        self._cache = cache
        self._where = mount.identity()

    def source(self, stored: bytes, facts: FileFacts) -> Source | None:
        """Where the blocks of a file that is only read here come from; None: from the mount itself.

        Not cached: files in kernel mode (that kernels raise the change attribute with each change was not proven), and
        those in snapshots, which have the inode numbers of the files that they are of.
        """
        if facts.mode is FileMode.KERNEL or b"/.snap/" in stored:
            return None
        # the nonce: should an inode number ever come back, it is of another file
        name = f"{self._where} {facts.raw.ino:x} {facts.context.nonce.hex()}"
        return CachedReads(self._mount, self._cache, stored, facts.raw.ino, name)


class CachedReads:
    """Reads of one file. Calls come one at a time.

    Args:
        stored: a path of the file: only by path the change attribute is told. When it leads elsewhere, the cache is
            out of use for this file until it is opened again.
        name: what no other file has.
    """

    def __init__(self, mount: Mount, cache: DiskCache, stored: bytes, ino: int, name: str) -> None:
        self._mount = mount
        self._cache = cache
        self._stored: bytes | None = stored
        self._ino = ino
        self._name = name

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """As `Mount.pread`. Misses are read in as few calls as without a cache, rounded to whole chunks."""
        before = self._current(fd)
        if before is None or before.version is None:
            return self._mount.pread(fd, length, offset)
        stop = min(offset + length, before.size)
        if offset >= stop:
            return b""
        spans = {
            index: range(index * LARGEST_CHUNK, min((index + 1) * LARGEST_CHUNK, before.size))
            for index in range(offset // LARGEST_CHUNK, -(-stop // LARGEST_CHUNK))
        }
        chunks: dict[int, memoryview | bytes] = {}
        for index, span in spans.items():
            found = self._cache.get(self._chunk_name(index), before.version)
            if found is not None and len(found) == len(span):
                chunks[index] = found
        missing = [index for index in spans if index not in chunks]
        for run in _runs(missing):
            first, last = spans[run[0]].start, spans[run[-1]].stop
            read = memoryview(self._mount.pread(fd, last - first, first))
            for index in run:
                chunks[index] = read[spans[index].start - first : spans[index].stop - first]
        if missing:
            if not self._unchanged_since(fd, before) or any(
                len(chunks[at]) != len(spans[at]) for at in missing
            ):
                return self._mount.pread(fd, length, offset)
            for index in missing:
                self._cache.put(self._chunk_name(index), before.version, chunks[index])
        start = next(iter(spans.values())).start
        return bytes(memoryview(b"".join(chunks[index] for index in spans))[offset - start : stop - start])

    def _current(self, fd: int) -> Stat | None:
        """The inode as it is now, if that is known here without disturbing others."""
        if self._stored is None or not undisturbed(self._mount.capabilities(fd)):
            return None
        try:
            found = self._mount.stat(self._stored)
        except CephError:
            found = None
        if found is None or found.ino != self._ino:
            self._stored = None
            return None
        return found

    def _unchanged_since(self, fd: int, before: Stat) -> bool:
        after = self._current(fd)
        return after is not None and after.version == before.version

    def _chunk_name(self, index: int) -> bytes:
        return hashlib.sha256(f"{self._name} {index:x}".encode()).digest()[:_NAME_BYTES]


def _runs(numbers: Iterable[int]) -> Iterator[list[int]]:
    """Ascending numbers, cut where one is left out."""
    run: list[int] = []
    for number in numbers:
        if run and number != run[-1] + 1:
            yield run
            run = []
        run.append(number)
    if run:
        yield run
