"""Making sure that no session but ours can meet a subtree."""

from ..ceph.errors import NotFoundError
from ..ceph.interface import Mount, Session, lies_at_or_below, normal
from .errors import NotFencedError


def strangers(mount: Mount, stored: bytes) -> list[Session]:
    """Clients that can reach the subtree at a stored path, by their mount's root, or whose root is not there any more:
    it was moved or removed, and nobody knows whether it lies in the subtree or holds it by now.

    Not ours, and not ceph-mgr's own: nobody may evict those, and its modules do not open users' files by themselves.
    """
    path = mount.absolute(stored)
    return [
        session
        for session in mount.sessions()
        if not session.manager and (session.reaches(path) or _lost(mount, session.root))
    ]


def _lost(mount: Mount, root: bytes) -> bool:
    """Is nothing at the root of a session any more? What lies outside of what this mount shows cannot be looked at, and
    counts as there."""
    ours, root = normal(mount.absolute(b"/")), normal(root)
    if not lies_at_or_below(root, ours):
        return False
    try:
        mount.stat(b"/" + root[len(ours.rstrip(b"/")) :].lstrip(b"/"))
    except NotFoundError:
        return True
    return False


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
