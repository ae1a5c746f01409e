"""How a command ends: its exit code, and what is told when it did not do what was asked."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; scripts may lean on them, so they never change their meaning."""

    DONE = 0
    DIFFERS = 1
    """Differences or damage were found, or a part of the work could not be done."""
    USAGE = 2
    REFUSED = 3
    """Refused because it would be unsafe or because the format cannot hold it."""
    LOCKED = 4
    """The key that was given does not open this, or none was given."""
    NOT_FOUND = 5
    UNREACHABLE = 6
    INTERNAL = 7
    """A mistake of this program, or an answer of the cluster that it does not know."""


class Failure(Exception):  # noqa: N818 - the end of a command, told to a person
    """A command ends here without having done what was asked.

    Args:
        code: the exit code.
        happened: what went wrong, one sentence without a full stop.
        left: what was left as it was.
        remedy: what to do next, if there is something; a command where possible.
    """

    def __init__(
        self, code: Exit, happened: str, *, left: str = "nothing was changed", remedy: str = ""
    ) -> None:
        super().__init__(happened)
        self.code = code
        self.happened = happened
        self.left = left
        self.remedy = remedy
