"""The OSD's own `lock` class: exclusive locks that the OSD's clock ends, in Ceph's encoding.

Not `Ioctx.lock_exclusive`: the binding leaves the microseconds of the duration unset, so a lease of 2 s lasted anything
from 1.2 to 5.5 s (doc/spikes.md, 3).
"""

import struct
from dataclasses import dataclass

import rados

from .cluster import translated

NEW_OR_OURS, ONLY_OURS = 1, 2
"""cls_lock's LOCK_FLAG_MAY_RENEW and LOCK_FLAG_MUST_RENEW."""
EVEN_WHEN_FULL = 128
"""librados's LIBRADOS_OPERATION_FULL_FORCE, which the binding does not name. Without it an operation waits in a full
pool until there is space again (doc/facts.md F16): leases and signs of life would run out meanwhile, and the living be
taken for dead."""
_EXCLUSIVE = 1
_HOLDERS = 6
"""Where a map of the holders begins in what the class tells of a lock: after the head."""


@dataclass(frozen=True)
class Lock:
    """One holder's claim on a lock, as steps of an operation on the object that has it.

    Attributes:
        name: of the lock; an object may have several.
        cookie: tells holders apart.
    """

    name: str
    cookie: str

    def take(self, step: "rados.WriteOp", description: str, duration: float, flag: int) -> None:
        """Take or renew it, for so many seconds from when the OSD does it.

        The operation is EBUSY where another holder has it; with `ONLY_OURS` ENOENT where it ran out.
        """
        times = struct.pack("<IIB", int(duration), int(duration % 1 * 10**9), flag)
        step.execute("lock", "lock", _framed(self._claim() + _string(description) + times))

    def require(self, step: "rados.WriteOp") -> None:
        """Let the operation be EBUSY unless it is ours at that moment."""
        step.execute("lock", "assert_locked", _framed(self._claim()))

    def give_back(self, step: "rados.WriteOp") -> None:
        """End it; the operation is ENOENT where it is not ours."""
        step.execute("lock", "unlock", _framed(_string(self.name) + _string(self.cookie)))

    def _claim(self) -> bytes:
        """What `lock` and `assert_locked` begin with: name, type, cookie, and a tag, which is empty here."""
        return _string(self.name) + bytes([_EXCLUSIVE]) + _string(self.cookie) + _string("")


def holders(ioctx: "rados.Ioctx", subject: str, name: str) -> int:
    """How many hold the lock `name` on the object `subject`: those whose time is over do not count.

    Raises:
        NotFoundError: there is no such object.
    """
    (count,) = struct.unpack_from("<I", _described(ioctx, subject, name), _HOLDERS)
    return int(count)


def holder(ioctx: "rados.Ioctx", subject: str, name: str) -> str:
    """The cookie of who holds the lock `name` on the object `subject`; empty where nobody does.

    Raises:
        NotFoundError: there is no such object.
    """
    answer = _described(ioctx, subject, name)
    (count,) = struct.unpack_from("<I", answer, _HOLDERS)
    if not count:
        return ""
    # the first key of the map: a head of 6 bytes, the entity of 9, the cookie
    at = _HOLDERS + 4 + 6 + 9
    (length,) = struct.unpack_from("<I", answer, at)
    return bytes(answer[at + 4 : at + 4 + length]).decode()


def _described(ioctx: "rados.Ioctx", subject: str, name: str) -> bytes:
    with translated("look at a lock", subject):
        _, answer = ioctx.execute(subject, "lock", "get_info", _framed(_string(name)))
    return bytes(answer)


def _framed(body: bytes) -> bytes:
    """With the head of an encoding of version 1."""
    return struct.pack("<BBI", 1, 1, len(body)) + body


def _string(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()
