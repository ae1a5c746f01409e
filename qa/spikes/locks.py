"""An exclusive lease of one name: a lock of the OSD's `lock` class that ends by itself (doc/facts.md R1, R7).

The class is called with our own encoding: `Ioctx.lock_exclusive` leaves the microseconds of its duration
uninitialised, so that a lock lives up to 4.3 s longer than asked for (`leases` measures it).
"""

import contextlib
import errno
import struct
import time
import uuid
from collections.abc import Callable
from typing import Any, Self

import rados

from qa.spikes.libcephfs import LibcephfsError, RawMount

NAME = "spike"
_HOLDER = "holder"
SECONDS = 3
_EXCLUSIVE = 1
_NEW, _MUST_RENEW = 0, 2


class Lock:
    """One holder's view. `locks` is an `Ioctx` in the locks' namespace.

    The object lives while the lock is held and names its holder. So whoever gets the lock and finds the object there
    knows that the one named in it never gave it back, and passes the name to `fence` before anything else.
    """

    def __init__(
        self,
        locks: Any,
        name: str,
        seconds: float = SECONDS,
        holder: str = "",
        fence: Callable[[str], None] | None = None,
    ) -> None:
        self._locks = locks
        self._name = name
        self._seconds = seconds
        self._holder = holder
        self._fence = fence
        self._cookie = uuid.uuid4().hex
        self.polls = 0
        """How often it was refused while waiting."""
        self.waited = 0.0
        """The seconds that `acquire` took, fencing included."""

    def acquire(self, patience: float = 60.0) -> float:
        """Wait for it; the seconds that took, fencing included."""
        begin = time.monotonic()
        pause = 0.002
        while not (self._make() or self._inherit()):
            self.polls += 1
            if time.monotonic() - begin > patience:
                raise TimeoutError(f"{self._name} is held for {patience} s")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        self.waited = time.monotonic() - begin
        return self.waited

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def renew(self) -> bool:
        """True if it was ours still and is for its full time again."""
        return self._lock(_MUST_RENEW)

    def release(self) -> bool:
        """Give it back and remove its object in one step; False if it was lost before."""
        with contextlib.suppress(rados.ObjectBusy, rados.ObjectNotFound), rados.WriteOpCtx() as step:
            step.execute("lock", "assert_locked", _versioned(self._ours()))
            step.remove()
            self._locks.operate_write_op(step, self._name)
            return True
        return False

    def _make(self) -> bool:
        with contextlib.suppress(rados.ObjectExists), rados.WriteOpCtx() as step:
            step.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
            step.execute("lock", "lock", self._request(_NEW))
            step.set_xattr(_HOLDER, self._holder.encode())
            self._locks.operate_write_op(step, self._name)
            return True
        return False

    def _inherit(self) -> bool:
        if not self._lock(_NEW):
            return False
        with contextlib.suppress(rados.NoData):
            dead = self._locks.get_xattr(self._name, _HOLDER).decode()
            if self._fence is not None:
                self._fence(dead)
        self._locks.set_xattr(self._name, _HOLDER, self._holder.encode())
        return self.renew()

    def _lock(self, flags: int) -> bool:
        with contextlib.suppress(rados.ObjectBusy, rados.ObjectNotFound):
            self._locks.execute(self._name, "lock", "lock", self._request(flags))
            return True
        return False

    def _request(self, flags: int) -> bytes:
        length = struct.pack("<II", int(self._seconds), int(self._seconds % 1 * 1e9))
        return _versioned(self._ours() + _string(self._holder) + length + bytes([flags]))

    def _ours(self) -> bytes:
        return _string(NAME) + bytes([_EXCLUSIVE]) + _string(self._cookie) + _string("")


def reset_session(session_uuid: str) -> None:
    """A fence: end the session of a holder that died; nothing to do if it is gone already."""
    mount = RawMount()
    try:
        mount.reset(session_uuid)
    except LibcephfsError as error:
        if error.errno != errno.ENOENT:
            raise
    finally:
        mount.unmount()


def ends(locks: Any, name: str) -> float:
    """The time (the OSD's, in seconds since 1970) at which the lock of this name ends."""
    _, answer = locks.execute(name, "lock", "get_info", _versioned(_string(NAME)))
    locker = _HEAD.size + _COUNT.size  # one holder: its id, then what it told
    (length,) = _COUNT.unpack_from(answer, locker + 2)
    seconds, nanoseconds = struct.unpack_from("<II", answer, locker + _HEAD.size + length + _HEAD.size)
    return float(seconds + nanoseconds / 1e9)


_COUNT = struct.Struct("<I")
_HEAD = struct.Struct("<BBI")


def _string(text: str) -> bytes:
    return _COUNT.pack(len(text)) + text.encode()


def _versioned(body: bytes) -> bytes:
    return _HEAD.pack(1, 1, len(body)) + body
