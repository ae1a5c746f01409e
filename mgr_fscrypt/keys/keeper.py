"""Who acts on the keys of a file system, where they are, and where acts are told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .audit import Audit
from .errors import KeyStoreError
from .safe import Safe


@dataclass(frozen=True)
class Keeper:
    """One actor.

    Attributes:
        safe: the keys.
        audit: what was done to them.
        who: user, host and entity of the actor, for what is made and told.
        clock: seconds since the epoch.
    """

    safe: Safe
    audit: Audit
    who: str
    clock: Callable[[], float]

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self.clock())

    @contextmanager
    def told(self, act: str, what: str) -> Iterator[None]:
        """An act that is written down when it ended: done, or refused. Where that fails, the error says so."""
        try:
            yield
        except KeyStoreError as error:
            self.audit.record(act, what, f"refused: {error}")
            raise
        try:
            self.audit.record(act, what)
        except KeyStoreError as error:
            raise type(error)(
                f"{act} of {what} was done, and is missing in the audit: {error}", remedy=error.remedy
            ) from error
