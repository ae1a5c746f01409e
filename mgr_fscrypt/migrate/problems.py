"""What keeps single entries from being copied, in few classes: one look tells whether it is one trouble or many."""

import errno
from enum import Enum

from ..engine import DamagedError
from .belonging import NestedError, UnknownNameError


class Problem(Enum):
    """Programs may lean on the words."""

    UNREADABLE = "unreadable"
    """Permission, or an error of the disk."""
    NESTED = "nested"
    """Encrypted otherwise than the tree."""
    NAME = "name"
    """Too long to be encrypted, or none of its directory's."""
    REPLACED = "replaced"
    """Something else each time that it was looked at."""
    DAMAGED = "damaged"
    """Its encryption is not what it has to be."""
    OTHER = "other"


_BY_NUMBER = {
    errno.EACCES: Problem.UNREADABLE,
    errno.EPERM: Problem.UNREADABLE,
    errno.EIO: Problem.UNREADABLE,
    errno.ENAMETOOLONG: Problem.NAME,
    errno.ESTALE: Problem.REPLACED,
    errno.ENOTDIR: Problem.REPLACED,
    errno.EISDIR: Problem.REPLACED,
    errno.ELOOP: Problem.REPLACED,
}


def problem_of(error: OSError) -> Problem:
    """The class of what kept an entry from being copied."""
    if isinstance(error, NestedError):
        return Problem.NESTED
    if isinstance(error, UnknownNameError):
        return Problem.NAME
    if isinstance(error, DamagedError):
        return Problem.DAMAGED
    return _BY_NUMBER.get(error.errno or 0, Problem.OTHER)
