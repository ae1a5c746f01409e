"""Subtrees that a kernel made are adopted, held, written by the engine, and handed back."""

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace

from mgr_fscrypt.ceph.interface import Kind as InodeKind
from qa.load.doors import EngineDoor
from qa.load.tree import Found, Path_, walk

from .place import Place
from .reading import GARBAGE, compare_guest, grown
from .tally import Tally

_ADDED = b"by the engine"


def take(place: Place, tally: Tally, made: Mapping[str, dict[Path_, Found]]) -> None:
    """The guest's mount goes before, and is there again afterwards."""
    tally.begin("the engine adopts and holds what the kernel made")
    place.unmount()
    for subtree, expected in made.items():
        registered = place.adopt(subtree)
        tally.compare(f"{subtree}: its key is registered", place.key.identifier.hex() in registered, True)
        place.change("hold", subtree)
        with place.engine() as files:
            door = EngineDoor(files, subtree.encode())
            tally.compare_trees(subtree, dict(walk(door)), expected)
            expected |= _lengthened(door, expected)
            tally.compare_trees(subtree, dict(walk(door)), expected)
        tally.compare(f"{subtree}: findings of fsck", place.fsck(subtree), {})
        place.change("release", subtree)
    tally.begin("the kernel reads what the engine had held")
    place.mount()
    tally.compare("exit code of `cephfs-fscrypt unlock`", place.unlock()[0], 0)
    for subtree, expected in made.items():
        compare_guest(place, tally, subtree, expected)
    tally.begin("the kernel grows what the engine had held")
    for subtree in (each for each in made if (GARBAGE,) in made[each]):
        compare_guest(place, tally, subtree, grown(place, subtree, made[subtree], (GARBAGE,)))


def _lengthened(door: EngineDoor, expected: Mapping[Path_, Found]) -> dict[Path_, Found]:
    """What the engine adds to files of the kernel's, at their ends; it does so to those in one directory, and to the
    one with garbage past its end."""
    found = {}
    for path, one in expected.items():
        if one.kind is InodeKind.FILE and path[0] in (b"shapes", GARBAGE):
            with closing(door.open(b"/".join(path), os.O_WRONLY | os.O_APPEND)) as handle:
                handle.pwrite(_ADDED, 0)
            found[path] = replace(one, content=one.content + _ADDED)
    return found
