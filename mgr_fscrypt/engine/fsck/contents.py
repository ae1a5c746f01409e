"""The contents of a file from outside: its sizes, its objects, and the end of its last block."""

from collections.abc import Iterator
from typing import Protocol

from ...ceph.interface import Layout, Mount
from ...format import BLOCK_SIZE, FormatError, MasterKey, SizeRule, believe_size, raw_size
from ..inodes import FileFacts, FileMode
from ..tails import sealed
from .entries import Inspected
from .findings import Code, Finding, Repair


class ObjectExtents(Protocol):
    """How long the objects of files are: `ceph.objects.Extents`."""

    def extent(self, layout: Layout, ino: int, index: int) -> int | None:
        """Bytes of a file's `index`-th object; None where there is none. Raises `NotAllowedError`."""


def check_engine_sizes(at: Inspected, real: int, *, once_kernels: bool) -> Iterator[Finding]:
    """A real size in the engine's attribute beside the raw one.

    A file that was the kernels' a moment ago is not cut: clients that knew it so would be aborted (F4, F5).
    """
    raw = at.raw.size
    repair = None if once_kernels else Repair.SETTLE
    if raw % BLOCK_SIZE:
        yield _odd_size(at)
    elif raw_size(real) > raw:
        detail = f"its real size is {real}, and only {raw} bytes are there"
        yield at.finding(Code.SIZE_TOO_LARGE, detail, repair)
    elif raw_size(real) < raw:
        detail = (
            f"its real size is {real}, and {raw} bytes are there: growth that was not told, or a cut not made"
        )
        yield at.finding(Code.UNSETTLED_SIZE, detail, repair)


def check_kernel_sizes(at: Inspected, stored: bytes) -> Iterator[Finding]:
    """A `ceph.fscrypt.file` beside the raw size, as a kernel judges it."""
    raw = at.raw.size
    if raw % BLOCK_SIZE:
        yield _odd_size(at)
        return
    rule = believe_size(raw, stored).rule
    if rule in (SizeRule.ABSENT, SizeRule.DISCARDED):
        what = stored.hex() or "not there"
        detail = f"its real size is {what}, which does not belong to {raw} stored bytes: kernels discard it"
        yield at.finding(Code.DISCARDED_SIZE, detail)


def check_objects(
    at: Inspected, layout: Layout, objects: ObjectExtents, *, repair: Repair | None
) -> Iterator[Finding]:
    """Objects are whole blocks (doc/format.md, holes), and none reaches beyond the raw size."""
    if layout.striped or at.raw.size % BLOCK_SIZE:
        return
    odd: list[int] = []
    reach = 0
    for index, extent in extents(at, layout, objects):
        reach = index * layout.object_size + extent
        if extent % BLOCK_SIZE:
            odd.append(index)
    if odd:
        detail = f"{len(odd)} of its objects are not whole blocks, the first is number {odd[0]}"
        yield at.finding(Code.SHORT_OBJECT, detail)
    if reach > at.raw.size:
        detail = f"its objects reach to byte {reach}, and its raw size is {at.raw.size}"
        yield at.finding(Code.STRAY_BYTES, detail, repair)


def extents(at: Inspected, layout: Layout, objects: ObjectExtents) -> Iterator[tuple[int, int]]:
    """Number and length of each object that is there, up to the first that should not be."""
    for index in range(at.raw.size // layout.object_size + 2):
        extent = objects.extent(layout, at.raw.ino, index)
        if extent:
            yield index, extent


def check_tail(mount: Mount, key: MasterKey, at: Inspected, facts: FileFacts) -> Iterator[Finding]:
    """What lies past the end of the file in its last block is zeros, once it is decrypted."""
    try:
        fine = sealed(mount, key, at.visited.stored, facts)
    except FormatError:
        return  # modes that no CephFS client reads: `unreadable` says so of its directory
    if not fine:
        repair = Repair.ZERO_TAIL if facts.mode is FileMode.ENGINE else None
        yield at.finding(
            Code.TAIL, f"its last block does not end in zeros after {facts.real_size} bytes", repair
        )


def _odd_size(at: Inspected) -> Finding:
    return at.finding(Code.ODD_SIZE, f"its raw size is {at.raw.size}: not whole blocks of {BLOCK_SIZE}")
