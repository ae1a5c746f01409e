"""Unlocked master keys, in this process's memory only while a job needs them, or for a bounded time.

A key whose manager cannot be reached is asked for again and again, with growing pauses, by whoever needs it. Keys that
are unlocked go on meanwhile.
"""

import hmac
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..backoff import Backoff
from ..format import MasterKey
from ..messages.service import KeyState, TenantKeyState
from .clock import Clock
from .memory import SecretMemory, SecretMemoryError
from .tenant_keys import TenantKeys
from .unlocking import Backends, Unlocked, Unlocker, UnlockError

MOST = 1024
"""Keys at a time: each locks a page of memory, and a user may lock 8 MiB by default."""
_log = logging.getLogger(__name__)


class KeyGoneError(Exception):
    """The key was locked by hand, or this service lost its turn: whoever used it stops."""


class KeptTooLongError(Exception):
    """A key was to be kept for longer than this service was told to keep any."""


@dataclass(eq=False)
class _Entry:
    """One key, from when somebody wants it until nobody does.

    Attributes:
        over: it is wiped, or will never be unlocked: nobody waits for it any more.
    """

    identifier: bytes
    memory: SecretMemory | None = None
    uses: int = 0
    until: float | None = None
    busy: bool = False
    error: str = ""
    failed: bool = False
    over: threading.Event = field(default_factory=threading.Event)


class Use:
    """A key that is kept because somebody needs it."""

    def __init__(self, turn: threading.Condition, entry: _Entry) -> None:
        self._turn = turn
        self._entry = entry

    @property
    def here(self) -> bool:
        """Is it still in memory?"""
        return self._entry.memory is not None

    def key(self) -> MasterKey:
        """The key, for one piece of work; not to be held for longer.

        Raises:
            KeyGoneError: it was wiped meanwhile.
        """
        with self._turn:
            if self._entry.memory is None:
                raise _gone(self._entry.identifier)
            return MasterKey(self._entry.memory.expose())


class Residents:
    """The keys of this process. For several threads."""

    def __init__(
        self,
        unlocker: Unlocker,
        backends: Backends,
        tenant_keys: TenantKeys,
        clock: Clock,
        *,
        longest: float = 0.0,
        backoff: Callable[[], Backoff] = Backoff,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Begin without a key, and closed.

        Args:
            unlocker: where keys come from.
            backends: is told of each attempt.
            tenant_keys: what is here of tenants' keys goes with the last key that needs it.
            clock: the time.
            longest: seconds for which a key may be kept beyond its uses.
            backoff: pauses between two attempts.
            start: runs something beside; by default in a thread.
        """
        self.longest = longest
        self._unlocker = unlocker
        self._backends = backends
        self._tenant_keys = tenant_keys
        self._clock = clock
        self._backoff = backoff
        self._start = start or _in_a_thread
        self._turn = threading.Condition()
        self._entries: dict[bytes, _Entry] = {}
        self._locked: set[bytes] = set()
        self._open = False

    @contextmanager
    def use(self, identifier: bytes, *, patient: bool = True) -> Iterator[Use]:
        """Have a key for a ``with`` block.

        Args:
            identifier: which one.
            patient: wait for its key manager as long as it takes; otherwise one that does not answer is an error.

        Raises:
            KeyGoneError: it was locked by hand, or this service has no turn; before or while it was waited for.
            UnlockError: it cannot be unlocked, or not now.
        """
        with self._turn:
            if identifier in self._locked:
                raise _gone(identifier)
            entry = self._wanted(identifier)
            entry.uses += 1
        try:
            self._unlock(entry, patient=patient)
            yield Use(self._turn, entry)
        finally:
            with self._turn:
                entry.uses -= 1
                self._drop_if_idle(entry)

    def keep(self, identifier: bytes, seconds: float) -> KeyState:
        """Unlock a key, if it is not, and keep it for so long from now on. Answers at once.

        Raises:
            KeptTooLongError: that is longer than `longest`. A lock by hand is ended all the same.
            KeyGoneError: this service has no turn.
        """
        with self._turn:
            locked = identifier in self._locked
            # also where it cannot be kept: there is no other way to end a lock
            self._locked.discard(identifier)
            if seconds > self.longest:
                limit = (
                    f"keys are kept for up to {self.longest:g} s here, not for {seconds:g} s"
                    if self.longest
                    else "keys are kept here only while a job needs them"
                )
                raise KeptTooLongError(
                    f"{limit}; "
                    + ("its lock is ended, and jobs may have it" if locked else "nothing was changed")
                )
            entry = self._wanted(identifier)
            entry.until = self._clock.now() + seconds
            entry.failed = False
            missing = entry.memory is None and not entry.busy
            state = self._state(entry)
        if missing:
            self._start(lambda: self._unlock_alone(entry))
        return state

    def lock(self, identifier: bytes) -> None:
        """Wipe a key, also for those who use it, and give it to nobody until it is told to be kept again. The key of
        its tenant goes, too."""
        with self._turn:
            self._locked.add(identifier)
            self._wipe(identifier)

    def wipe(self, identifier: bytes) -> None:
        """Wipe a key that was shut where it is kept, also for those who use it: who wants it next asks there."""
        with self._turn:
            self._wipe(identifier)

    def open(self) -> None:
        """Keys may be had from now on."""
        with self._turn:
            self._open = True

    def close(self) -> None:
        """Wipe all keys, and give none until `open`."""
        with self._turn:
            self._open = False
            for entry in tuple(self._entries.values()):
                self._end(entry)

    def sweep(self) -> None:
        """Wipe what nobody needs and whose time is over."""
        with self._turn:
            now = self._clock.now()
            for entry in tuple(self._entries.values()):
                if entry.until is not None and entry.until <= now:
                    entry.until = None
                self._drop_if_idle(entry)

    def tenant_states(self) -> tuple[TenantKeyState, ...]:
        """What is here of tenants' keys."""
        return self._tenant_keys.states()

    def states(self) -> tuple[KeyState, ...]:
        """All keys that are here or wanted, by identifier."""
        with self._turn:
            return tuple(self._state(self._entries[each]) for each in sorted(self._entries))

    # under the turn

    def _wipe(self, identifier: bytes) -> None:
        self._tenant_keys.wipe_for(identifier)
        entry = self._entries.get(identifier)
        if entry is not None:
            self._end(entry)

    def _wanted(self, identifier: bytes) -> _Entry:
        if not self._open:
            raise _gone(identifier)
        entry = self._entries.get(identifier)
        if entry is None:
            if len(self._entries) >= MOST:
                raise UnlockError(
                    f"{MOST} keys are in use here already",
                    kind="TooManyKeysError",
                    remedy="lock some, or wait for jobs to end",
                )
            entry = self._entries[identifier] = _Entry(identifier)
        return entry

    def _drop_if_idle(self, entry: _Entry) -> None:
        if entry.uses == 0 and entry.until is None and self._entries.get(entry.identifier) is entry:
            self._end(entry)

    def _end(self, entry: _Entry) -> None:
        entry.over.set()
        if entry.memory is not None:
            entry.memory.wipe()
            entry.memory = None
        del self._entries[entry.identifier]
        self._tenant_keys.retain(self._entries)
        self._turn.notify_all()

    def _state(self, entry: _Entry) -> KeyState:
        state = "unlocked" if entry.memory is not None else "failed" if entry.failed else "unlocking"
        until = None if entry.until is None else self._clock.date() + entry.until - self._clock.now()
        return KeyState(entry.identifier.hex(), state, entry.uses, until, entry.error)

    # not under the turn: a key manager may take its time

    def _unlock_alone(self, entry: _Entry) -> None:
        """For nobody who could be told: `states` tells."""
        try:
            self._unlock(entry, patient=True)
        except (UnlockError, KeyGoneError) as error:
            _log.warning("key %s: %s", entry.identifier.hex(), error)

    def _unlock(self, entry: _Entry, *, patient: bool) -> None:
        """Have the key in memory; one thread asks for it, the others wait."""

        def settled() -> bool:
            known = entry.memory is not None or entry.over.is_set() or not entry.busy
            return known or (not patient and bool(entry.error))

        with self._turn:
            self._turn.wait_for(settled)
            if entry.memory is not None:
                return
            if entry.over.is_set():
                raise _gone(entry.identifier)
            if entry.busy:
                raise UnlockError(
                    f"key {entry.identifier.hex()} is not unlocked yet: {entry.error}",
                    kind=entry.error,
                    remedy="`ceph fscrypt service status` shows how its key manager was met",
                    again=True,
                )
            entry.busy = True
        try:
            self._take_in(entry, self._unlocked(entry, patient=patient))
        except UnlockError as error:
            with self._turn:
                entry.failed, entry.error = True, error.kind
            raise
        finally:
            with self._turn:
                entry.busy = False
                # what came when nobody needed it any more
                self._tenant_keys.retain(self._entries)
                self._turn.notify_all()

    def _unlocked(self, entry: _Entry, *, patient: bool) -> MasterKey:
        pauses = self._backoff()
        while True:
            try:
                found = self._asked(entry.identifier)
            except UnlockError as error:
                self._backends.failed(error)
                if not (error.again and patient):
                    raise
                with self._turn:
                    entry.error = error.kind
                    self._turn.notify_all()
            else:
                self._backends.answered(found.backend)
                return found.key
            if self._clock.wait(entry.over, pauses.delay()):
                raise _gone(entry.identifier)

    def _take_in(self, entry: _Entry, key: MasterKey) -> None:
        with self._turn:
            if entry.over.is_set():
                raise _gone(entry.identifier)
            try:
                entry.memory = SecretMemory(key.expose())
            except SecretMemoryError as error:
                raise UnlockError(
                    str(error), kind="SecretMemoryError", remedy="raise the service's LimitMEMLOCK"
                ) from error
            entry.failed, entry.error = False, ""

    def _asked(self, identifier: bytes) -> Unlocked:
        try:
            found = self._unlocker.unlock(identifier)
        except UnlockError:
            raise
        except Exception as error:  # noqa: BLE001 - words of a stranger may have a secret in them
            kind = type(error).__name__
            raise UnlockError(
                f"unlocking key {identifier.hex()} failed by a mistake ({kind})",
                kind=kind,
                remedy="report it with this minute of the service's log",
            ) from None
        if not hmac.compare_digest(found.key.identifier, identifier):
            raise UnlockError(
                f"what was unlocked for key {identifier.hex()} is another key",
                kind="WrongKeyError",
                remedy="look at the key's protectors",
                backend=found.backend,
            )
        return found


def _gone(identifier: bytes) -> KeyGoneError:
    return KeyGoneError(f"key {identifier.hex()} is locked here")


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="fscrypt-unlock", daemon=True).start()
