"""Keys that open for nobody any more go from the memory of processes that nobody tells: each looks by itself.

A key that was disabled, or whose end has begun or come, is wiped within a minute by services and mounts that were
opened by what is kept in the cluster. While the cluster does not answer, keys stay: an outage locks nobody out.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from .custody import Custody
from .keys.errors import ContainerError, DestroyedError, KeyStoreError, NoSuchKeyError
from .keys.lockbox import State

EVERY = 60.0
"""Seconds between two looks."""
_log = logging.getLogger(__name__)


class Withdrawal:
    """Looks after the keys of one process. `run` in a thread of its own."""

    def __init__(
        self,
        held: Callable[[], Iterable[bytes]],
        reach: Callable[[], AbstractContextManager[Custody]],
        wipe: Callable[[bytes], object],
        every: float = EVERY,
    ) -> None:
        """Begin without a look.

        Args:
            held: identifiers of the keys that are here.
            reach: where keys are kept, for a ``with`` block.
            wipe: called for each key that opens for nobody any more.
            every: seconds between two looks.
        """
        self._held = held
        self._reach = reach
        self._wipe = wipe
        self._every = every
        self._over = threading.Event()

    def run(self) -> None:
        """Until `end`."""
        while not self._over.wait(self._every):
            self.look()

    def end(self) -> None:
        """Look no more."""
        self._over.set()

    def look(self) -> None:
        """Once; nobody is asked where no key is held."""
        held = tuple(self._held())
        if not held:
            return
        try:
            with self._reach() as custody:
                gone = [identifier for identifier in held if _is_withdrawn(custody, identifier)]
        except (KeyStoreError, OSError) as error:
            _log.warning("whether keys were withdrawn is not known: %s", error)
            return
        for identifier in gone:
            self._wipe(identifier)
            _log.warning("key %s opens for nobody any more, and was wiped here", identifier.hex())


def _is_withdrawn(custody: Custody, identifier: bytes) -> bool:
    try:
        return custody.safe.find(identifier.hex()).state is not State.ACTIVE
    except DestroyedError:
        return True
    except (NoSuchKeyError, ContainerError):
        # of a file, or damaged: nobody has withdrawn it
        return False
