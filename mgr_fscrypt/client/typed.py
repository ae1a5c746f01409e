"""A name that is typed before something is done that cannot be taken back."""

import sys

from .outcome import Exit, Failure


def require_typed(what: str, name: str, given: str | None) -> None:
    """Ask for the name of a thing on the terminal, unless it was given as an option.

    Raises:
        Failure: it is another one.
    """
    if given is None:
        sys.stderr.write(f"To go on, type the name of the {what} ({name}): ")
        sys.stderr.flush()
        given = sys.stdin.readline().rstrip("\n")
    if given != name:
        raise Failure(
            Exit.REFUSED, f"that is not the name of {what} {name}", remedy=f"type it as `{what} ls` shows it"
        )
