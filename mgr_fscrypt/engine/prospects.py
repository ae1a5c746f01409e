"""Before a directory becomes a subtree: what is in the way, and what its administrator should know. Nothing is changed.

What was asked for is then done in one order (`FileSystem.make_subtree`): the directory, its RADOS namespace, its
policy, after which a layout is refused (doc/facts.md F13).
"""

import errno
from contextlib import closing
from dataclasses import dataclass
from enum import Enum

from ..ceph.errors import NoAttributeError, NotFoundError
from ..ceph.interface import Mount
from ..format import Policy
from .directories import Directories, Directory
from .errors import RefusedError
from .inodes import FileMode
from .paths import Path, components, joined, named
from .snapshot_names import SNAPSHOTS
from .subtrees import ERASURE_CODED, Subtrees

NAMESPACE_XATTR = "ceph.dir.layout.pool_namespace"
_QUOTAS = {"ceph.quota.max_bytes": "bytes", "ceph.quota.max_files": "files and directories"}
_NAMED = 5


@dataclass(frozen=True)
class Wish:
    """What a directory is to become.

    Attributes:
        policy: of what is made in it.
        mode: whose new files are.
        namespace: the RADOS namespace of its files; None: as the directory has it.
        make: make the directory if it is not there.
    """

    policy: Policy
    mode: FileMode = FileMode.ENGINE
    namespace: str | None = None
    make: bool = False


class State(Enum):
    """What lies at a path that is to become a subtree."""

    MISSING = "not there"
    EMPTY = "an empty directory"
    DONE = "such a subtree already"


@dataclass(frozen=True)
class Prospect:
    """What would become of a directory.

    Attributes:
        path: the path that was asked for.
        state: what is there.
        namespace: the RADOS namespace that its files would have.
        warnings: what its administrator should know, as sentences.
    """

    path: bytes
    state: State
    namespace: str
    warnings: tuple[str, ...]


def prospect(mount: Mount, directories: Directories, subtrees: Subtrees, path: Path, wish: Wish) -> Prospect:
    """Look at a directory that is to become a subtree. No key is needed.

    Raises:
        NotFoundError: it is not there, and is not to be made; or what it would lie in is not there.
        RefusedError: ENOTDIR, ENOTEMPTY; EEXIST: it lies in a subtree, or has another policy, mode or namespace;
            EINVAL: a striped layout.
    """
    names = components(path)
    try:
        chain = directories.walk(names)
    except NotFoundError:
        if not wish.make:
            raise
        chain = directories.walk(names[:-1])
        _require_outside(chain, joined(chain[-1].plain, names[-1]))
        state, plain = State.MISSING, joined(chain[-1].plain, names[-1])
    else:
        plain = chain[-1].plain
        _require_outside(chain[:-1], plain)
        state = State.EMPTY if chain[-1].policy is None else State.DONE
    nearest = chain[-1]
    with named(plain):
        layout = mount.layout(nearest.stored)
        if state is State.DONE:
            subtrees.require_same(chain, wish.policy, wish.mode)
            _require_namespace(layout.namespace, wish, plain)
        elif state is State.EMPTY:
            subtrees.require_fit(nearest)
        else:
            subtrees.require_unstriped(nearest)
        kept = () if state is State.MISSING else _snapshots_with_contents(mount, nearest)
    warnings = [
        *([ERASURE_CODED] if mount.erasure_coded(layout.pool) else []),
        *([_kept_by(kept)] if kept else []),
        *_quotas(mount, chain),
    ]
    namespace = layout.namespace if wish.namespace is None else wish.namespace
    return Prospect(plain, state, namespace, tuple(warnings))


def _require_outside(above: tuple[Directory, ...], plain: bytes) -> None:
    for directory in above:
        if directory.context is not None:
            raise RefusedError(
                errno.EEXIST,
                f"it would lie in the subtree of {directory.plain.decode(errors='replace')}, whose policy holds for "
                "all that is in it",
                plain,
                remedy="Use that subtree, or a directory outside of it. Nothing was changed.",
            )


def _require_namespace(namespace: str, wish: Wish, plain: bytes) -> None:
    if wish.namespace not in (None, namespace):
        raise RefusedError(
            errno.EEXIST,
            f'it is encrypted already, and its files lie in the namespace "{namespace}", which cannot be changed',
            plain,
            remedy="Use it with that namespace, or make another directory.",
        )


def _snapshots_with_contents(mount: Mount, directory: Directory) -> tuple[bytes, ...]:
    """Snapshots, of this directory or of one above it, in which something lies in it: it was not encrypted."""
    listed = joined(directory.stored, SNAPSHOTS)
    found = []
    with closing(mount.scandir(listed)) as snapshots:
        for snapshot in snapshots:
            try:
                with closing(mount.scandir(joined(listed, snapshot.name))) as entries:
                    filled = next(entries, None) is not None
            except NotFoundError:
                continue  # it was removed meanwhile
            if filled:
                found.append(snapshot.name)
    return tuple(found)


def _kept_by(names: tuple[bytes, ...]) -> str:
    shown = ", ".join(name.decode(errors="replace") for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"Snapshots keep what lay here before, in the clear: {shown}{more}. Remove those that nobody needs."
    )


def _quotas(mount: Mount, chain: tuple[Directory, ...]) -> list[str]:
    """The nearest quotas that it counts for: of those above it all hold, but the nearest one is met first."""
    found = []
    for name, what in _QUOTAS.items():
        for directory in reversed(chain):
            most = _number(mount, directory.stored, name)
            if most:
                where = directory.plain.decode(errors="replace")
                found.append(
                    f"It counts for the quota of {where}: {most} {what}; files count in whole blocks of 4096 bytes."
                )
                break
    return found


def _number(mount: Mount, stored: bytes, name: str) -> int:
    try:
        return int(mount.getxattr(stored, name) or 0)
    except NoAttributeError:
        return 0
