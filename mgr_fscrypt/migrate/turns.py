"""Whose turn it is: a migration is the work of one process at a time, and of those that copy for it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """The turn of a process, as those know it that copy for it.

    Attributes:
        path: of what is migrated.
        ino: the number of the hidden directory, whose lease it is.
        token: of the lease's holder.
    """

    path: bytes
    ino: int
    token: str
