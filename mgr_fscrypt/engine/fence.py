"""Making sure that no session but ours can meet a subtree."""

from ..ceph.interface import Mount, Session
from .errors import NotFencedError


def strangers(mount: Mount, stored: bytes) -> list[Session]:
    """Clients that can reach the subtree at a stored path, by their mount's root.

    Not ours, and not ceph-mgr's own: nobody may evict those, and its modules do not open users' files by themselves.
    """
    path = mount.absolute(stored)
    return [session for session in mount.sessions() if session.reaches(path) and not session.manager]


def fence(mount: Mount, stored: bytes, plain: bytes, *, evict: bool) -> tuple[Session, ...]:
    """Return only when no stranger can reach the subtree; the answer is who was evicted for it.

    Raises:
        NotFencedError: there are some and `evict` is false, or others came while those were evicted.
    """
    found = strangers(mount, stored)
    if found and not evict:
        raise NotFencedError(plain, found)
    for session in found:
        mount.evict(session)
    if found:
        left = strangers(mount, stored)
        if left:
            raise NotFencedError(plain, left)
    return tuple(found)
