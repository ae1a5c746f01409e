"""Truncates and holes as a kernel made them: what was done to each file, and the objects that were left of it.

`shapes.json.xz` tells the names, contexts, contents and objects; what was done stands in the names (`tA-B-C`: A bytes
were written, then the file was truncated to B and to C) or in `RECIPES`.
"""

import hashlib
import json
import lzma
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mgr_fscrypt.format import Context, MasterKey

OBJECT_SIZE = 4 << 20


class Target(Protocol):
    """A file that shapes are made of."""

    def pwrite(self, data: bytes, offset: int) -> object:
        """All of `data`."""

    def truncate(self, size: int) -> None:
        """Up or down."""

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Punch a hole, or zero a range."""

    def fsync(self) -> None:
        """Everything is durable."""


@dataclass(frozen=True)
class Part:
    """Plain bytes that the vectors say are in the file: those of a seed, or zeros."""

    offset: int
    length: int
    seed: str | None

    def data(self, length: int | None = None) -> bytes:
        """Its bytes, or as many of the same seed."""
        wanted = self.length if length is None else length
        return bytes(wanted) if self.seed is None else hashlib.shake_256(self.seed.encode()).digest(wanted)


Recipe = Callable[[Target, Sequence[Part]], None]


@dataclass(frozen=True)
class KernelShape:
    """One file of the vectors.

    Attributes:
        objects: index -> SHA-256 of the object's bytes. Empty objects are left out: they are holes, as absent ones
            are (doc/facts.md R6).
    """

    name: str
    kernel: str
    key: MasterKey
    context: Context
    parts: tuple[Part, ...]
    real_size: int
    raw_size: int
    objects: Mapping[int, str]

    def __str__(self) -> str:
        return f"{self.kernel} {self.context.policy.contents_mode.title} {self.name}"

    def make(self, file: Target) -> None:
        """Do to an empty file what was done to this one."""
        RECIPES[self.name](file, self.parts)


def kernel_shapes() -> Iterator[KernelShape]:
    """All of them."""
    vectors = json.loads(lzma.decompress(Path(__file__).with_name("shapes.json.xz").read_bytes()))
    for run in vectors["runs"]:
        keys = {case["id"]: MasterKey(bytes.fromhex(case["master"])) for case in run["cases"]}
        for entry in run["entries"]:
            context = Context.decode_auth(bytes.fromhex(entry["auth"]))
            yield KernelShape(
                name=bytes.fromhex(entry["plain"]).decode(),
                kernel=f"{run['kernel'].partition('+')[0]} on {run['ceph']}",
                key=keys[context.policy.key.hex()],
                context=context,
                parts=tuple(_part(part) for part in entry["plain_parts"]),
                real_size=entry["real_size"],
                raw_size=entry["raw_size"],
                objects={
                    int(index): found["sha256"] for index, found in entry["objects"].items() if found["size"]
                },
            )


def digests(objects: Mapping[int, bytes]) -> dict[int, str]:
    """Objects as `KernelShape` has them."""
    return {index: hashlib.sha256(data).hexdigest() for index, data in objects.items() if data}


def _part(record: Mapping[str, Any]) -> Part:
    return Part(record["off"], record["len"], record.get("seed"))


def _truncated(written: int, *sizes: int) -> Recipe:
    def make(file: Target, parts: Sequence[Part]) -> None:
        # where nothing of it is left, nobody knows what was written
        file.pwrite(parts[0].data(written) if parts else b"?" * written, 0)
        file.fsync()
        for size in sizes:
            file.truncate(size)

    return make


def _as_told(file: Target, parts: Sequence[Part]) -> None:
    for part in parts:
        file.pwrite(part.data(), part.offset)


def _regrown(file: Target, parts: Sequence[Part]) -> None:
    first, second = parts
    file.pwrite(first.data(10000), 0)
    file.fsync()
    file.truncate(first.length)
    file.pwrite(second.data(), second.offset)


TRUNCATES: dict[str, Recipe] = {
    "t0-0-5000": _truncated(0, 0, 5000),
    "t0-0-8192": _truncated(0, 0, 8192),
    "t3000-2000-4096": _truncated(3000, 2000, 4096),
    "t5000-4999-5001": _truncated(5000, 4999, 5001),
    "t10000-0-x": _truncated(10000, 0),
    "t10000-1-x": _truncated(10000, 1),
    "t10000-4096-x": _truncated(10000, 4096),
    "t10000-5000-x": _truncated(10000, 5000),
    "t10000-5000-9000": _truncated(10000, 5000, 9000),
    "t10000-5000-24576": _truncated(10000, 5000, 24576),
    "t10000-8192-x": _truncated(10000, 8192),
    "t-far": _truncated(OBJECT_SIZE + 5000, 4097),
    "t-regrow-w": _regrown,
}
"""The thirteen shapes of a truncate."""

RECIPES = TRUNCATES | dict.fromkeys(("hole", "holeobj", "over", "zeros", "append"), _as_told)
