"""How what a door was asked for is done: on whose thread, and with which record."""

from collections.abc import Callable, Sequence
from logging import Logger

from .audit import Audit, unrecorded
from .results import Result, guarded


class Acting:
    """Gives the results of commands, for one who asks.

    Args:
        answer: does work on the database's thread, and waits for it no longer than is good.
        audit: where acts are recorded.
        wiped: has the service wipe the keys that a result shut.
        log: learns of our own mistakes.
        who: as the audit names them.
    """

    def __init__(
        self,
        *,
        answer: Callable[[Callable[[], Result]], Result],
        audit: Audit,
        wiped: Callable[[Result], Result],
        log: Logger,
        who: str = "cli",
    ) -> None:
        self._answer = answer
        self._audit = audit
        self._wiped = wiped
        self._log = log
        self._who = who

    def known_as(self, who: str) -> "Acting":
        """The same for somebody else."""
        return Acting(answer=self._answer, audit=self._audit, wiped=self._wiped, log=self._log, who=who)

    def asked(self, work: Callable[[], Result]) -> Result:
        """What work on the database gives."""
        return self.asked_at_once(lambda: self._answer(work))

    def asked_at_once(self, work: Callable[[], Result]) -> Result:
        """What work gives that waits for nothing but the service, and touches no database."""
        return guarded(work, self._log)

    def done(
        self, command: str, about: Sequence[str], work: Callable[[], Result], *, dry_run: bool = False
    ) -> Result:
        """What work gives that changes the database; recorded there in the same transaction, unless it is a dry run."""
        if dry_run:
            return self.asked(work)
        return self.asked_at_once(
            lambda: self._wiped(
                self._answer(lambda: self._audit.recorded(command, about, work, who=self._who))
            )
        )

    def done_at_once(
        self, command: str, about: Sequence[str], work: Callable[[], Result], *, dry_run: bool = False
    ) -> Result:
        """What work gives that changes something else; recorded when it is done, unless it is a dry run."""
        if dry_run:
            return self.asked_at_once(work)
        return self.asked_at_once(lambda: self._recorded(command, about, work()))

    def _recorded(self, command: str, about: Sequence[str], result: Result) -> Result:
        recorded = self._answer(lambda: self._audit.recorded(command, about, lambda: result, who=self._who))
        return result if recorded is result else unrecorded(result, recorded)
