"""One child after the other, so that there is always one that lives."""

import errno
import logging
import signal
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CephError, ClientDiedError
from . import values
from .process import Child, DiedError

DEATHS = 20
"""So many children may die within `WITHIN`: then something kills each of them, and calls fail instead of waiting."""
WITHIN = 60.0
"""Seconds."""
_PAUSE = 1.0
"""Seconds between two attempts while the cluster does not let a successor in."""
_END = 30.0
"""Seconds that a child has for unmounting in good order."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """How children are made, and what is done about them.

    Attributes:
        command: the program, which takes the number of its control socket as one argument more.
        settings: for one child, from the uuid of its session and those of the dead whose sessions it ends.
        started: called with each new child's greeting, and the dead.
        died: called with each child that died.
    """

    command: Sequence[str]
    settings: Callable[[str, Sequence[str]], object]
    started: Callable[[Any, Sequence[str]], None]
    died: Callable[[Child], None]


class Succession:
    """Keeps one child, in a thread of its own: that thread starts all of them, waits for their deaths, and outlives
    them. Calls may come from several threads."""

    def __init__(self, terms: Terms) -> None:
        """Start the first child.

        Raises:
            CephError: the cluster did not let it in.
            ClientDiedError: it died.
        """
        self._terms = terms
        self._changed = threading.Condition()
        self._child: Child | None = None
        self._newest: Child | None = None
        self._failure: CephError | None = None
        self._begun = False
        self._over = threading.Event()
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._dead: list[str] = []
        self._thread = threading.Thread(target=self._run, name="fscrypt-guard", daemon=True)
        self._thread.start()
        try:
            self.living()
        except BaseException:
            self.end()
            raise

    def living(self) -> Child:
        """The child that lives, waiting for it where the last one died.

        Raises:
            CephError: there is none, and why.
        """
        child = self._child
        if child is not None:
            return child
        with self._changed:
            self._changed.wait_for(lambda: self._child or self._failure)
            if self._child is not None:
                return self._child
            # a copy: threads that raise one object write each other's traceback into it
            raise values.error_of(values.of_error(self._failure or _unmounted()))

    def lost(self, child: Child) -> None:
        """It was found dead, or left a call without an answer."""
        self._depose(child)
        # nobody waits for the end of one that lives on
        child.kill()

    def renew(self) -> None:
        """Have the child end in good order, and the next one start."""
        child = self.living()
        self._depose(child)
        child.end()
        self.living()

    def end(self) -> None:
        """Have the child end in good order, for good."""
        with self._changed:
            self._over.set()
            self._child, self._failure = None, _unmounted()
            self._changed.notify_all()
            if self._newest is not None:
                self._newest.end()
        self._thread.join(_END)
        if self._thread.is_alive() and self._newest is not None:
            _log.warning("libcephfs, process %d, did not unmount within %g s", self._newest.pid, _END)
            self._newest.kill()
            self._thread.join()

    # the thread

    def _run(self) -> None:
        try:
            self._reign()
        finally:
            # whatever happened, nobody waits for a child that will not come
            self._publish(None, self._failure or _unmounted())

    def _reign(self) -> None:
        """Child after child, if the first one is let in."""
        while not self._over.is_set():
            if self._too_many():
                self._over.wait(_PAUSE)
                continue
            child = self._start()
            failure = self._welcome(child)
            code = child.wait()
            self._depose(child)
            if failure is not None:
                self._publish(None, failure)
                if not self._begun:
                    return
                self._over.wait(_PAUSE)
            elif not child.ended_well:
                self._mourn(child, code)

    def _welcome(self, child: Child) -> CephError | None:
        """Have it known once it is ready; why it will never be."""
        try:
            greeting = child.greeting()
        except CephError as refusal:
            return refusal
        except DiedError:
            return None if self._begun else _stillborn()
        self._begun = True
        dead, self._dead = self._dead, []
        self._terms.started(greeting, dead)
        self._publish(child, None)
        return None

    def _depose(self, child: Child) -> None:
        with self._changed:
            if self._child is child:
                self._child = None

    def _start(self) -> Child:
        session = str(uuid.uuid4())
        child = Child(self._terms.command, session, self._terms.settings(session, tuple(self._dead)))
        with self._changed:
            self._newest = child
            if self._over.is_set():
                child.end()
        return child

    def _publish(self, child: Child | None, failure: CephError | None) -> None:
        with self._changed:
            self._child = None if self._over.is_set() else child
            self._failure = failure
            self._changed.notify_all()

    def _mourn(self, child: Child, code: int) -> None:
        self._deaths.append(time.monotonic())
        self._dead.append(child.session)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        _log.warning("libcephfs, process %d, died by %s; a successor goes on", child.pid, how)
        self._terms.died(child)

    def _too_many(self) -> bool:
        if len(self._deaths) < DEATHS or time.monotonic() - self._deaths[0] > WITHIN:
            return False
        self._publish(
            None,
            ClientDiedError(
                errno.EIO,
                f"libcephfs died {DEATHS} times within {WITHIN:g} s. It is started again when that time "
                f"is over. The log says of what it dies; other clients that truncate files in kernel mode are a "
                f"known cause",
            ),
        )
        return True


def _stillborn() -> CephError:
    return ClientDiedError(
        errno.EIO, "the process for libcephfs ended before it had mounted. The log says why"
    )


def _unmounted() -> CephError:
    return CephError(errno.ENOTCONN, "unmounted")
