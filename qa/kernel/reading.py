"""The first parts of the story: each side reads what the other one wrote."""

import errno
import itertools
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace

from mgr_fscrypt.ceph.interface import Kind as InodeKind
from qa.load.doors import Door, EngineDoor
from qa.load.tree import Found, Path_, walk

from .place import KINDS, MOUNTED, Place
from .tally import Tally, where_wrong, wrong_bytes
from .trees import Builder, build, data_of

LONGEST = 255
GARBAGE = b"uncached"
"""A file of which kernels leave garbage past its end (doc/format.md, D4)."""
_UNCACHED = 9999
_GROWTH = 6000


def kernel_reads(place: Place, tally: Tally) -> dict[str, dict[Path_, Found]]:
    """The engine writes and releases; the kernel sees nothing without the key, and with it all that was written."""
    made = {}
    for kind in KINDS:
        subtree = f"/engine-{kind.name}"
        place.create(subtree, kind)
        with place.engine() as files:
            whole = kind is KINDS[0]
            made[subtree] = build(EngineDoor(files, subtree.encode()), longest=kind.longest, whole=whole)
        place.change("release", subtree)
    place.mount()
    tally.begin("locked")
    for subtree, expected in made.items():
        _compare_locked(place, tally, subtree, expected)
    tally.begin("unlock")
    code, said = place.unlock()
    tally.compare("exit code of `cephfs-fscrypt unlock`", code, 0)
    tally.compare("it names the key", place.key.identifier.hex() in said, True)
    tally.begin("the kernel reads what the engine wrote")
    for subtree, expected in made.items():
        compare_guest(place, tally, subtree, expected)
    tally.begin("the kernel grows what the engine wrote")
    for subtree, expected in made.items():
        made[subtree] = grown(place, subtree, expected, (b"shapes",))
        place.guest.ask("drop_caches")
        compare_guest(place, tally, subtree, made[subtree])
    return made


def engine_reads(place: Place, tally: Tally, subtree: str, expected: Mapping[Path_, Found]) -> None:
    """All of it by a client that never saw it."""
    with place.engine(guarded=True) as files:
        tally.compare_trees(subtree, dict(walk(EngineDoor(files, subtree.encode()))), expected)


def kernel_writes(place: Place, tally: Tally) -> dict[str, dict[Path_, Found]]:
    """The kernel makes subtrees and writes; the engine reads all of it, names of every length too."""
    made = {}
    for kind in KINDS:
        subtree = f"/kernel-{kind.name}"
        place.guest.ask("encrypt", MOUNTED + subtree, kind.policy(place.key).encode())
        made[subtree] = build(place.door(subtree), longest=LONGEST, whole=kind is KINDS[0])
    first = f"/kernel-{KINDS[0].name}"
    _snapshots(place, first, made[first])
    data = data_of("uncached", _UNCACHED)
    # the second write begins in a block that is there, and ends in one that is not
    for begin, end in itertools.pairwise((0, _UNCACHED // 2, _UNCACHED)):
        place.guest.ask("write_uncached", f"{MOUNTED}{first}/{GARBAGE.decode()}", data[begin:end], begin)
    made[first][(GARBAGE,)] = Found(InodeKind.FILE, data, permissions=0o644)
    place.guest.ask("drop_caches")
    tally.begin("the engine reads what the kernel wrote")
    for subtree, expected in made.items():
        engine_reads(place, tally, subtree, expected)
        garbage = {GARBAGE.decode(): {"tail"}} if (GARBAGE,) in expected else {}
        tally.compare(f"{subtree}: findings of fsck", place.fsck(subtree), garbage)
    _compare_snapshots(place, tally, first)
    return made


def compare_guest(place: Place, tally: Tally, subtree: str, expected: Mapping[Path_, Found]) -> None:
    """What the guest sees. A file whose end it misreads (misreading.py) it reads once more, from the cluster, and that
    is told."""
    found = place.guest.ask("walk", MOUNTED + subtree)
    doubtful = [
        path
        for path in wrong_bytes(found, expected)
        if found[path].content == place.misread(b"/".join((subtree.encode(), *path)), expected[path].content)
    ]
    if doubtful:
        place.guest.ask("drop_caches")
        again = place.guest.ask("walk", MOUNTED + subtree)
        for path in doubtful:
            if path in again and again[path].content == expected[path].content:
                where = where_wrong(found[path].content, expected[path].content)
                if tally.forgive(f"{subtree}/{b'/'.join(path).decode(errors='backslashreplace')}: {where}"):
                    found[path] = again[path]
    tally.compare_trees(subtree, found, expected)


def _compare_locked(place: Place, tally: Tally, subtree: str, expected: Mapping[Path_, Found]) -> None:
    """Names as they are stored, real sizes, and nothing that can be opened or made."""
    door = place.door(subtree)
    with place.stored() as mount, closing(mount.scandir(subtree.encode())) as entries:
        stored = sorted(entry.name for entry in entries)
    seen = sorted(door.names(b""))
    tally.compare(f"{subtree}: names", seen, stored)
    sizes: dict[bytes, list[int]] = {}
    for path, one in expected.items():
        if len(path) == 2 and one.kind is InodeKind.FILE:
            sizes.setdefault(path[0], []).append(len(one.content))
    seen_sizes = []
    for name in seen:
        below = [name + b"/" + each for each in door.names(name)]
        files = [(path, found.size) for path in below if (found := door.stat(path)).kind is InodeKind.FILE]
        if files:
            seen_sizes.append(sorted(size for _, size in files))
        for path, _ in files:
            tally.compare("open", errno_of(lambda path=path: door.open(path, os.O_RDONLY)), errno.ENOKEY)
            tally.compare("truncate", errno_of(lambda path=path: door.truncate(path, 1)), errno.ENOKEY)
    tally.compare(f"{subtree}: sizes", sorted(seen_sizes), sorted(map(sorted, sizes.values())))
    tally.compare("mkdir", errno_of(lambda: door.mkdir(b"new")), errno.ENOKEY)


def errno_of(action: Callable[[], object]) -> int | None:
    try:
        action()
    except OSError as error:
        return error.errno
    return 0


def grown(place: Place, subtree: str, expected: Mapping[Path_, Found], below: Path_) -> dict[Path_, Found]:
    """The kernel makes each file at or below a path longer: what comes up is zeros."""
    door, after = place.door(subtree), dict(expected)
    for path, one in expected.items():
        if path[: len(below)] == below and one.kind is InodeKind.FILE:
            size = len(one.content) + _GROWTH
            door.truncate(b"/".join(path), size)
            after[path] = replace(one, content=one.content.ljust(size, b"\0"))
    return after


def _snapshots(place: Place, subtree: str, made: dict[Path_, Found]) -> None:
    """A file as it was, by the kernel; then it is another."""
    door = place.door(subtree)
    builder = Builder(door)
    builder.directory(b"frozen")
    builder.file((b"frozen", b"file"), lambda file: file.pwrite(data_of("before", 9000), 0))
    place.guest.ask("snapshot", f"{MOUNTED}{subtree}/frozen", "snapshot of the kernel's")
    with closing(door.open(b"frozen/file", os.O_WRONLY)) as handle:
        handle.pwrite(data_of("after", 9000), 0)
    made |= builder.made
    made[(b"frozen", b"file")] = replace(builder.made[(b"frozen", b"file")], content=data_of("after", 9000))


def _compare_snapshots(place: Place, tally: Tally, subtree: str) -> None:
    """Each side sees the snapshots of both, and what was in them."""
    frozen = f"{subtree}/frozen"
    with place.engine(guarded=True) as files:
        files.mkdir(f"{frozen}/.snap/snapshot of the engine's")
        door = EngineDoor(files, frozen.encode())
        _compare_frozen(tally, "the engine", door)
    _compare_frozen(tally, "the kernel", place.door(frozen))


def _compare_frozen(tally: Tally, who: str, door: Door) -> None:
    names = [b"snapshot of the engine's", b"snapshot of the kernel's"]
    tally.compare(f"snapshots that {who} lists", sorted(door.names(b".snap")), names)
    for name, data in zip(names, ("after", "before"), strict=True):
        with closing(door.open(b".snap/" + name + b"/file", os.O_RDONLY)) as handle:
            tally.compare(f"{name.decode()}, by {who}", handle.pread(10_000, 0), data_of(data, 9000))
