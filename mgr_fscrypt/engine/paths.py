"""Plaintext paths, as callers say them."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..ceph.errors import CephError
from .errors import RefusedError

Path = bytes | str
"""A path in the mount, from its root: bytes, or text in the file system's encoding."""


def components(path: Path) -> tuple[bytes, ...]:
    """The names that lead from the mount's root to `path`; none for the root itself.

    Raises:
        RefusedError: EINVAL: relative, with `..` (it could leave the subtree), or with a NUL.
    """
    plain = os.fsencode(path)
    names = tuple(name for name in plain.split(b"/") if name not in (b"", b"."))
    if not plain.startswith(b"/") or b".." in names or b"\0" in plain:
        raise RefusedError(
            errno.EINVAL,
            "not a path that stays where it starts",
            plain,
            remedy="Give an absolute path without `..`.",
        )
    return names


@contextmanager
def named(plain: bytes) -> Iterator[None]:
    """Errors of the cluster tell the path as the caller said it, not as it is stored."""
    try:
        yield
    except CephError as error:
        error.filename = plain
        raise


def joined(parent: bytes, name: bytes) -> bytes:
    """`name` in the directory `parent`."""
    return (b"" if parent == b"/" else parent) + b"/" + name
