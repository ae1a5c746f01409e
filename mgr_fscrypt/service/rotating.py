"""Rotates the keys of tenants that are due, by their key managers, while it is this service's turn."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ..backoff import Backoff
from ..custody import Custody
from ..keys.errors import KeyStoreError
from ..keys.managed import forget
from ..keys.schedule import Standing
from ..messages.service import RotationState
from ..messages.tenant import TenantFacts
from ..reported import tenant_facts
from .clock import Clock

LOOK = 60.0
"""Seconds between two looks at what is due."""
TURN = 1.0
"""Seconds between two looks whether it is our turn."""
SETTLED = 600
"""Seconds after which a rotation that left old versions behind is taken to have ended early: a person may be at it."""
FIRST, LONGEST = 60.0, 3600.0
"""Seconds between two attempts for one tenant: each leaves a record in the audit."""
TOLD = 200
"""States that a status has: it is one message."""
_log = logging.getLogger(__name__)


class TurnOverError(KeyStoreError):
    """This service lost its turn: another one goes on."""


class OnlyPeopleError(KeyStoreError):
    """The key of the tenant has protectors that no key manager opens: a rotation by the service would lose them."""


@dataclass
class _Tenant:
    """What this service knows of one.

    Attributes:
        fscid: the number of its file system.
        facts: as it was seen last.
        pauses: between two attempts.
        again: not before that time.
        error: the class of the last error, empty where there was none.
        since: when that was first met.
        news: was it attempted?
    """

    fscid: int
    facts: TenantFacts
    pauses: Backoff
    again: float = 0.0
    error: str = ""
    since: float = 0.0
    news: bool = False


class Rotations:
    """Looks again and again. `run` in a thread of its own; `states` answers at once, to any."""

    def __init__(
        self,
        reach: Callable[[], AbstractContextManager[Custody]],
        epoch: Callable[[], int | None],
        clock: Clock,
        pauses: Callable[[], Backoff] = lambda: Backoff(first=FIRST, longest=LONGEST),
    ) -> None:
        """Begin with nothing known.

        Args:
            reach: the keys of the file system, for a ``with`` block.
            epoch: the number of our turn, None while it is not.
            clock: the time.
            pauses: for each tenant, after a failure.
        """
        self._reach = reach
        self._epoch = epoch
        self._clock = clock
        self._pauses = pauses
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._known: dict[str, _Tenant] = {}

    def run(self) -> None:
        """Until `end`."""
        again = 0.0
        while not self._over.is_set():
            if self._epoch() is not None and again <= self._clock.now():
                self.look()
                again = self._clock.now() + LOOK
            elif self._epoch() is None:
                # the next turn begins with a look
                again = 0.0
            self._clock.wait(self._over, TURN)

    def end(self) -> None:
        """Begin nothing any more; what is under way ends before its next step."""
        self._over.set()

    def states(self) -> tuple[RotationState, ...]:
        """What there is news of: what could not be rotated first, then what was."""
        with self._turn:
            news = sorted(
                (each for each in self._known.values() if each.news), key=lambda each: not each.error
            )
            return tuple(
                RotationState(each.fscid, each.facts, each.error, each.since) for each in news[:TOLD]
            )

    def look(self) -> None:
        """Once, at all tenants; what goes wrong is told by `states`, and stands in no other tenant's way."""
        epoch = self._epoch()
        if epoch is None:
            return
        try:
            with self._reach() as custody:
                tenants = custody.schedule.tenants()
                self._forget_others(tenants)
                for tenant in tenants:
                    self._see_to(custody, tenant, epoch)
        except TurnOverError as error:
            _log.info("%s", error)
        except (KeyStoreError, OSError) as error:
            _log.warning("what is to be rotated cannot be seen: %s", error)
        except Exception as error:  # noqa: BLE001 - words of a stranger may have a secret in them
            _log.error("what is to be rotated was not seen by a mistake (%s)", type(error).__name__)

    # one tenant

    def _see_to(self, custody: Custody, tenant: str, epoch: int) -> None:
        try:
            standing = custody.schedule.standing(tenant)
        except KeyStoreError as error:
            # it tells by itself which one it is
            _log.warning("%s", error)
            return
        except OSError:
            # it would be the same with the next one
            raise
        except Exception as error:  # noqa: BLE001 - as in `look`
            _log.error(
                "how it stands with tenant %s was not seen by a mistake (%s)", tenant, type(error).__name__
            )
            return
        known = self._noted(custody, standing)
        overdue = 0 < standing.due <= self._clock.date()
        behind = standing.versions > 1 and self._clock.date() >= standing.rotated + SETTLED
        if not (overdue or behind) or self._clock.now() < known.again:
            return
        after = self._attempt(custody, standing, epoch, anew=overdue)
        with self._turn:
            known.news = True
            kind = ""
            if isinstance(after, Standing):
                known.facts = tenant_facts(after)
            else:
                kind = type(after).__name__
            if kind != known.error:
                known.error, known.since = kind, self._clock.date()
            if isinstance(after, Standing) and after.versions == 1:
                known.pauses.reset()
                known.again = 0.0
            else:
                # versions that are left are needed by a key that cannot be read: not to be tried again at once
                known.again = self._clock.now() + known.pauses.delay()

    def _attempt(
        self, custody: Custody, standing: Standing, epoch: int, *, anew: bool
    ) -> Standing | Exception:
        """How it stands after it; or what kept it from being rotated. Raises `TurnOverError`."""

        def proceed() -> None:
            if self._epoch() != epoch or self._over.is_set():
                raise TurnOverError("this service's turn is over; what was done stands, and is gone on with")

        try:
            _require_managers_alone(standing)
            managed = {name: custody.managed(name) for name in standing.managers}
            done = custody.tenants.rotate(standing.tenant, managed, custody.acts, anew=anew, proceed=proceed)
            after = custody.schedule.standing(standing.tenant)
            for trouble in forget((entry.container for entry in done.unneeded), custody.managed):
                _log.warning("%s", trouble)
        except TurnOverError:
            raise
        except (KeyStoreError, OSError) as error:
            _log.warning("the key of tenant %s was not rotated: %s", standing.tenant, error)
            return error
        except Exception as error:  # noqa: BLE001 - words of a stranger may have a secret in them
            _log.error(
                "the key of tenant %s was not rotated by a mistake of this program (%s)",
                standing.tenant,
                type(error).__name__,
            )
            return error
        _log.info(
            "tenant %s has version %d of its key, %d master keys were wrapped anew",
            standing.tenant,
            done.version,
            done.rewrapped,
        )
        return after

    def _noted(self, custody: Custody, standing: Standing) -> _Tenant:
        with self._turn:
            known = self._known.get(standing.tenant)
            if known is None:
                known = _Tenant(custody.safe.home[1], tenant_facts(standing), self._pauses())
                self._known[standing.tenant] = known
            known.facts = tenant_facts(standing)
            return known

    def _forget_others(self, tenants: list[str]) -> None:
        with self._turn:
            self._known = {name: each for name, each in self._known.items() if name in tenants}


def _require_managers_alone(standing: Standing) -> None:
    if standing.others or not standing.managers:
        raise OnlyPeopleError(f"the key of tenant {standing.tenant} is not opened by key managers alone")
