"""What jobs have of a migration at a path: its keys, and how it stands.

Records of jobs hold no name of what lies in the tree: it is told of by its inode.
"""

import hmac
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ...ceph.access import SERVICE
from ...ceph.errors import CephError, NotFoundError
from ...ceph.interface import Mount
from ...engine import FileSystem, Keyring
from ...engine.directories import Directory
from ...engine.fence import strangers
from ...engine.modes import snapshots_of
from ...engine.paths import joined
from ...engine.snapshot_names import SNAPSHOTS
from ...format import MasterKey
from ...messages.migration_job import Standing
from ...migrate import Direction, Migration, Record, Way
from ...migrate.record import hidden_of
from ...migrate.trees import PlainTree, Sides, Tree
from ...subtree_facts import facts_of
from ..jobs import Controls, JobFailedError
from .subtree_place import decoded, opened

_INHERITED = b"_"
"""What names of snapshots of the directories above begin with; no other one may."""
_GONE = b"gone by now"
_BLIND = b"fscrypt migration plan"


def way_of(mount: Mount, path: bytes, key: str, *, decrypt: bool) -> tuple[Way, Record | None]:
    """What is to become of what, by what was asked for and what is there; and what is known of it.

    Args:
        mount: the file system.
        path: of the source.
        key: identifier of the key of the new tree; empty with `decrypt`.
        decrypt: from encrypted to plain.

    Raises:
        JobFailedError: it is not encrypted, so it cannot be decrypted.
    """
    with FileSystem(mount, Keyring()) as files:
        record = Migration(mount, files, path).record()
        policy = files.subtree(path).policy if record is None else None
    if decrypt:
        if record is not None:
            return Way(path, Direction.DECRYPT, bytes.fromhex(record.key)), record
        if policy is None:
            raise JobFailedError(
                "it is not encrypted; nothing was changed",
                remedy="look at the path: `ceph fscrypt subtree ls`",
                code=5,
            )
        return Way(path, Direction.DECRYPT, policy.key), None
    identifier = bytes.fromhex(key)
    if record is not None and record.direction is not Direction.DECRYPT:
        return Way(path, record.direction, identifier), record
    return Way(path, Direction.ENCRYPT if policy is None else Direction.REENCRYPT, identifier), record


@contextmanager
def unlocked(
    mount: Mount, path: bytes, controls: Controls, *more: bytes
) -> Iterator[tuple[FileSystem, list[MasterKey]]]:
    """The file system with the keys of both trees, wherever they lie, and those of `more` identifiers; and these keys.
    Raises as `Controls.key`."""
    with ExitStack() as used:
        wanted = dict.fromkeys((*more, *_identifiers(mount, path)))
        keys = [used.enter_context(controls.key(each)) for each in wanted]
        yield used.enter_context(opened(mount, *keys)), keys


def _identifiers(mount: Mount, path: bytes) -> list[bytes]:
    with FileSystem(mount, Keyring()) as files:
        migration = Migration(mount, files, path)
        record = migration.record()
        tops = [path]
        if record is not None:
            sides = migration.sides(record)
            tops = [sides.top, sides.new_top]
        found = [_key_at(files, top) for top in tops]
    return [each for each in found if each is not None]


def _key_at(files: FileSystem, top: bytes) -> bytes | None:
    try:
        policy = files.subtree(top).policy
    except NotFoundError:
        # the new tree is not begun, or an exchange was cut in two
        return None
    return None if policy is None else policy.key


def blinded(plan: str, key: MasterKey) -> str:
    """A plan's hash that may be kept: who knows most of a tree's names could find out the rest by trying, but for the
    key."""
    *parts, tree = plan.split("-")
    return "-".join((*parts, hmac.digest(key.expose(), _BLIND + tree.encode(), "sha256").hex()[:16]))


def end_predecessors(mount: Mount, path: bytes) -> None:
    """End the sessions of services whose turn is over: they are dead, or what they still do is not to be. That of ours
    is not among strangers."""
    for session in strangers(mount, path):
        if SERVICE in session.metadata:
            mount.evict(session)


def inode_text(sides: Sides, below: bytes) -> bytes:
    """What a record tells of something in the trees."""
    for tree, top in ((sides.source, sides.top), (sides.new, sides.new_top)):
        if number := number_at(tree, top + below):
            return f"inode {number}".encode()
    return _GONE


def stored_inode_text(mount: Mount, stored: bytes) -> bytes:
    """The same of what lies at a stored path."""
    number = number_at(PlainTree(mount), stored)
    return f"inode {number}".encode() if number else _GONE


def number_at(tree: Tree, path: bytes) -> int:
    """The inode of something in a tree; 0: it is not there any more, or cannot be looked at."""
    try:
        return tree.stat(path).ino
    except CephError:
        return 0


def standing(mount: Mount, path: bytes, record: Record, *, over: bool = False) -> Standing:
    """How a migration stands, by its record; `over`: that is gone by now."""
    with FileSystem(mount, Keyring()) as files:
        facts = facts_of(files, path)
    return Standing(
        direction=record.direction.value,
        key=record.key,
        state="" if over else record.state.value,
        source=record.source,
        passes=record.passes,
        copied=record.copied,
        bytes=record.size,
        verified=record.verified,
        gap=record.gap,
        facts=facts,
        snapshots=holding(mount, path, record.source),
        kept_until=0 if over else record.kept_until,
        left_out=len(record.excluded),
    )


def gone(mount: Mount, path: bytes, source: int) -> Standing:
    """The same where there is no record any more; `source` is the inode of the old tree's top."""
    try:
        with FileSystem(mount, Keyring()) as files:
            facts = facts_of(files, path)
    except NotFoundError:
        facts = None
    return Standing("", "", "", source, 0, 0, 0, 0, 0.0, facts, holding(mount, path, source), 0, 0)


def holding(mount: Mount, path: bytes, source: int) -> tuple[str, ...]:
    """The snapshots of the directories above that have the old tree in them, at the path or in the trash."""
    found = []
    places = (path, joined(hidden_of(path), b"old"))
    above = path
    while above != b"/":
        above = above.rpartition(b"/")[0] or b"/"
        for name in snapshots_of(mount, Directory(above, above, 0)):
            if name.startswith(_INHERITED):
                continue
            snapshot = joined(joined(above, SNAPSHOTS), name)
            belows = (place[len(above.rstrip(b"/")) :] for place in places)
            if any(_identity(mount, snapshot + below) == source for below in belows):
                found.append(decoded(snapshot))
    return tuple(found)


def _identity(mount: Mount, path: bytes) -> int:
    try:
        return mount.identify(path).ino
    except NotFoundError:
        return 0
