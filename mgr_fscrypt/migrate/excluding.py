"""Entries that a migration leaves out because somebody named them: what cannot be moved need not hold up the rest.

They are known by the numbers of their inodes, as their names are nobody's to keep (`record`): all names of a file, and
a directory with all below it. What takes the place of an excluded entry under its name is another inode, and is copied.
The copier, the comparison and the fingerprint pass them over, so at the cut-over they go into the trash with the old
tree, and are nowhere else.
"""

import errno
from collections.abc import Callable, Iterable
from contextlib import closing

from ..ceph.errors import NotFoundError
from ..ceph.interface import Mount
from ..engine import RefusedError
from ..engine.paths import components
from .trees import PlainTree, Tree, walk

MOST_EXCLUDED = 1000
"""Of one migration: all their numbers are in its record, one attribute, and an MDS takes 64 KiB of those in all. One
that is full would be found out when the trees are just to be exchanged."""


Named = bytes | int
"""An entry by its path, which begins at the top, or by the number of its inode."""


def named_in(tree: Tree, top: bytes, named: Iterable[Named]) -> dict[int, bytes]:
    """The inodes that are meant, each with a path from `top`. They are found in listings: a file that cannot even be
    looked at has a number there. A name that cannot be decrypted counts as it is stored.

    Raises:
        RefusedError: EINVAL: it is the whole tree.
        NotFoundError: nothing is there.
    """
    wanted = tuple(named)
    found = _paths_of(tree, top, frozenset(each for each in wanted if isinstance(each, int)))
    for each in wanted:
        if isinstance(each, bytes):
            names = components(each)
            found[_number_of(tree, top, names)] = b"/" + b"/".join(names)
    return found


def _paths_of(tree: Tree, top: bytes, numbers: frozenset[int]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    if not numbers:
        return found
    if tree.stat(top).ino in numbers:
        raise _whole_tree(top)
    with closing(walk(tree, top)) as all_below:
        for met in all_below:
            if met.entry is not None and met.entry.ino in numbers:
                found.setdefault(met.entry.ino, met.below)
                if len(found) == len(numbers):
                    break
    for each in sorted(numbers - found.keys()):
        raise NotFoundError(errno.ENOENT, f"nothing with the inode {each} is there to be left out", top)
    return found


def _number_of(tree: Tree, top: bytes, names: tuple[bytes, ...]) -> int:
    if not names:
        raise _whole_tree(top)
    above = b"/".join((top, *names[:-1]))
    with closing(tree.scandir(above)) as entries:
        for entry in entries:
            if names[-1] in (entry.name, entry.stored):
                return entry.ino
    raise NotFoundError(
        errno.ENOENT, "nothing of that name is there to be left out", above + b"/" + names[-1]
    )


def _whole_tree(top: bytes) -> RefusedError:
    return RefusedError(
        errno.EINVAL,
        "that would leave out the whole tree",
        top,
        remedy="Name something in it, or end the migration with `migrate cancel`. Nothing was changed.",
    )


def left_in(mount: Mount, stored: bytes, excluded: frozenset[int], go_on: Callable[[], None]) -> list[bytes]:
    """Where excluded entries lie in the tree at `stored`, by their stored paths. `go_on` is called before each entry.

    Raises:
        CephError: a directory that may have one, and is none, cannot be listed.
    """
    found: list[bytes] = []
    if not excluded:
        return found
    with closing(walk(PlainTree(mount), stored)) as all_below:
        for met in all_below:
            go_on()
            path = stored + met.below
            if met.error is not None and not any((path + b"/").startswith(each + b"/") for each in found):
                raise met.error
            if met.entry is not None and not met.leaving and met.entry.ino in excluded:
                found.append(path)
    return found
