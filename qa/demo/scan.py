"""Look for plaintext in what the servers hold: every object of the pools, with its omap, in every namespace.

The search itself is grep's (fixed strings): a tool that everybody can check.
"""

import subprocess
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import rados

_BATCH = 256 << 20
_PIECE = 4 << 20


@dataclass(frozen=True)
class Scanned:
    """What a search came to."""

    objects: int
    size: int
    found: dict[str, frozenset[bytes]]
    """object name -> the patterns found in it"""


def scan_pool(
    cluster: rados.Rados, pool: str, patterns: Iterable[bytes], *, with_omap: bool = False
) -> Scanned:
    """Search every object of `pool` (all namespaces; data and, if wished, attributes and omap) for `patterns`.

    What lies in snapshots only is not searched, and not counted.
    """
    objects = size = 0
    found: dict[str, set[bytes]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        cluster.open_ioctx(pool) as listing,
        cluster.open_ioctx(pool) as reading,
    ):
        batch = _Batch(Path(folder), frozenset(patterns))
        listing.set_namespace(rados.LIBRADOS_ALL_NSPACES)
        for entry in listing.list_objects():
            try:
                for piece in _pieces(reading, entry, with_omap=with_omap):
                    size += len(piece)
                    batch.add(entry.key, piece)
                    if batch.size > _BATCH:
                        _merge(found, batch.search())
            except rados.ObjectNotFound:
                # it went meanwhile, or snapshots of it are all that is left
                continue
            objects += 1
        _merge(found, batch.search())
    return Scanned(objects, size, {name: frozenset(hits) for name, hits in found.items()})


class _Batch:
    """Pieces of objects in one file, and which object each byte came from."""

    def __init__(self, folder: Path, patterns: frozenset[bytes]) -> None:
        self._file = folder / "batch"
        self._pattern_file = folder / "patterns"
        self._patterns = patterns
        self._starts: list[int] = []
        self._names: list[str] = []
        self.size = 0
        self._file.write_bytes(b"")

    def add(self, name: str, piece: bytes) -> None:
        with self._file.open("ab") as file:
            file.write(piece + b"\n")
        self._starts.append(self.size)
        self._names.append(name)
        self.size += len(piece) + 1

    def search(self) -> list[tuple[str, bytes]]:
        """(object, pattern) of the hits, every pattern that is there at least once; the batch is empty afterwards."""
        hits: list[tuple[str, bytes]] = []
        left = self._patterns
        # grep tells one of two hits that overlap: look again for those that were not told
        while left and (found := self._grep(left)):
            hits += found
            left -= {pattern for _, pattern in found}
        self._file.write_bytes(b"")
        self._starts, self._names, self.size = [], [], 0
        return hits

    def _grep(self, patterns: frozenset[bytes]) -> list[tuple[str, bytes]]:
        self._pattern_file.write_bytes(b"\n".join(patterns) + b"\n")
        command = ["grep", "--text", "--only-matching", "--byte-offset", "--fixed-strings"]
        answer = subprocess.run(
            [*command, f"--file={self._pattern_file}", str(self._file)],
            capture_output=True,
            check=False,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        )
        if answer.returncode not in (0, 1):
            raise RuntimeError(f"grep could not search: {answer.stderr.decode(errors='replace')}")
        lines = (line.partition(b":") for line in answer.stdout.split(b"\n")[:-1])
        return [(self._names[bisect_right(self._starts, int(offset)) - 1], hit) for offset, _, hit in lines]


def _pieces(ioctx: rados.Ioctx, entry: rados.Object, *, with_omap: bool) -> Iterator[bytes]:
    """The bytes of one object; a pattern across two pieces would be missed, and objects of 4 MiB have one."""
    ioctx.set_namespace(entry.nspace)
    offset = 0
    while piece := ioctx.read(entry.key, _PIECE, offset):
        yield piece
        offset += len(piece)
    if with_omap:
        for name, value in ioctx.get_xattrs(entry.key):
            yield name.encode() + b"\n" + value
        with rados.ReadOpCtx() as operation:
            # names of plain files need not be UTF-8
            pairs, _ = ioctx.get_omap_vals(operation, "", "", 1 << 20, omap_key_type=bytes)
            ioctx.operate_read_op(operation, entry.key)
            for key, value in pairs:
                # an empty one is None
                yield key + b"\n" + (value or b"")


def _merge(found: dict[str, set[bytes]], hits: Iterable[tuple[str, bytes]]) -> None:
    for name, pattern in hits:
        found.setdefault(name, set()).add(pattern)
