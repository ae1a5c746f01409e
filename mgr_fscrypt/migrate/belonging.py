"""Whether all that lies in a tree is encrypted as its top is: by the same policy, or not at all.

What is encrypted otherwise would be copied as the ciphertext that it is on this side, without the context that makes it
readable. It can appear at any time, so it is looked for whenever something is copied or compared, not in the plan only.
"""

import errno
from collections.abc import Generator
from contextlib import closing

from ..ceph.interface import Kind
from ..engine import DamagedError, DirEntry, LockedError, NameKind, RefusedError
from ..format import AUTH_XATTR, BLOCK_SIZE, ENGINE_XATTR, Context, EngineRecord, FormatError, Policy
from .trees import Met, PlainTree, Tree, attribute, walk


class NestedError(RefusedError):
    """EXDEV: it lies in the tree, and is not encrypted as that is."""


class UnknownNameError(RefusedError):
    """EINVAL: its name is not what its users know it by."""


class Belonging:
    """What belongs to the tree at `top`, but for the inodes that are `excluded` (`excluding`).

    Raises:
        RefusedError: EINVAL: it is no encrypted tree, where one was to be.
    """

    def __init__(self, tree: Tree, top: bytes, excluded: frozenset[int] = frozenset()) -> None:
        self._excluded = excluded
        self._tree = tree
        self._top = top
        self._policy = None if isinstance(tree, PlainTree) else _policy_of(tree, top, Kind.DIRECTORY)
        if self._policy is None and not isinstance(tree, PlainTree):
            raise RefusedError(
                errno.EINVAL,
                "it is not encrypted any more",
                top,
                remedy="See `subtree status` and `migrate status`.",
            )

    def walk(self) -> Generator[Met]:
        """As `trees.walk`.

        Raises:
            LockedError: the key went: what could be read are no names.
        """
        with closing(walk(self._tree, self._top, self._excluded)) as all_below:
            for met in all_below:
                if (
                    met.entry is not None
                    and met.entry.name_kind is NameKind.LOCKED
                    and self._policy is not None
                ):
                    raise LockedError(self._top, self._policy.key)
                yield met

    def require_name(self, path: bytes, entry: DirEntry | None) -> None:
        """Raises `UnknownNameError`."""
        if entry is not None and entry.name_kind in (NameKind.FOREIGN, NameKind.HASHED):
            raise UnknownNameError(
                errno.EINVAL,
                f"its name cannot be carried over: {entry.name_kind.value}",
                path,
                remedy="Give it another name, by a client that can read this one.",
            )

    def require(self, path: bytes, kind: Kind, size: int | None = None) -> None:
        """Raises `NestedError`, and `DamagedError` for a context that is none.

        Whoever says the `size` that a file has lets that decide where it can: what is encrypted is stored in whole
        blocks (doc/format.md, Z1), and to ask for a context is a request to the MDS. What somebody has cut since who
        knows no encryption is not found so: a proof says none.
        """
        if kind is Kind.FILE and self._policy is None and size is not None and size % BLOCK_SIZE:
            return
        if kind is not Kind.SPECIAL and _policy_of(self._tree, path, kind) != self._policy:
            raise NestedError(
                errno.EXDEV,
                "it is not encrypted as the top of the tree is",
                path,
                remedy="Migrate it by itself, or move it out.",
            )


def _policy_of(tree: Tree, path: bytes, kind: Kind) -> Policy | None:
    """None for what is stored as it is. A file in engine mode says it in another attribute, which an encrypted tree
    does not show: there the first one tells of both."""
    try:
        auth = attribute(tree, path, AUTH_XATTR)
        if auth is not None:
            return Context.decode_auth(auth).policy
        record = attribute(tree, path, ENGINE_XATTR) if kind is Kind.FILE else None
        return None if record is None else EngineRecord.decode(record).context.policy
    except FormatError as error:
        raise DamagedError(
            errno.EUCLEAN, str(error), path, remedy="Restore it from a backup, or remove it."
        ) from error
