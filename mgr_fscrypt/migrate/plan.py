"""What a look at a tree that is to be migrated has found (`looking`), and whether it still holds."""

import errno
import json
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import NamedTuple

from ..ceph.interface import Mount, Session
from ..engine import RefusedError
from .record import Direction
from .sample import Estimate
from .trees import attribute

PADDING = 32
"""What names of new trees are padded to."""
_LISTED = 20
_TOTALS = {
    "files": "ceph.dir.rfiles",
    "directories": "ceph.dir.rsubdirs",
    "bytes": "ceph.dir.rbytes",
    "snapshots": "ceph.dir.rsnaps",
}


class _Weight(NamedTuple):
    word: str
    blocks: bool
    meaning: str


class Obstacle(Enum):
    """What a plan may find. Some of it only is to be known, the rest has to go first (`blocks`)."""

    NAME = _Weight("name", True, "the name is too long to be encrypted: 128 bytes are the most")
    TARGET = _Weight("target", True, "the link's target is too long to be encrypted, or empty")
    LINKED_OUTSIDE = _Weight("linked-outside", True, "it has names outside of the tree, or made meanwhile")
    NESTED = _Weight(
        "nested", True, "encrypted otherwise than the tree: migrate it by itself, or move it out"
    )
    HALF_MADE = _Weight("half-made", True, "half made (mode 0200): give it another mode, or see `fsck`")
    UNREADABLE = _Weight("unreadable", True, "it cannot be read: the message says why")
    UNKNOWN_NAME = _Weight("unknown-name", True, "its name is not encrypted under its directory's key")
    CASE = _Weight(
        "case-insensitive",
        True,
        "names there are one whatever their case, or are normalised: those of an encrypted tree are not",
    )
    SUBVOLUME = _Weight(
        "subvolume", True, "the root of a subvolume, which its copy would not be: migrate what lies in it"
    )
    SPACE = _Weight("space", True, "there is not room enough for both trees at once")
    QUOTA = _Weight("quota", True, "a quota above it does not allow both trees at once")
    EXCLUDED = _Weight(
        "excluded", False, "left out: at the cut-over it goes into the trash, and is nowhere else"
    )
    SPECIAL = _Weight(
        "special", False, "a FIFO, socket or device: made anew; what has it open keeps the old one"
    )
    LAYOUT = _Weight("layout", False, "a layout of its own, which new files of its copy get as well")
    STRIPED = _Weight(
        "striped", False, "striped, which encryption cannot have: its copy has the pool, and no stripes"
    )
    CODED = _Weight("erasure-coded", False, "the data pool is erasure coded: kernels read noise in holes")
    OWN_QUOTA = _Weight("own-quota", False, "a quota of its own, which is carried over")
    SNAPSHOTS = _Weight("snapshots", False, "snapshots keep what was there before, as it was")
    SESSION = _Weight("session", False, "a client that can reach the tree: it has to go for the cut-over")
    UNSAFE = _Weight(
        "unsafe-client",
        False,
        "it is no client of this program: it cannot use the new tree, and may damage it (see `gate`)",
    )

    @property
    def word(self) -> str:
        """What programs know it by."""
        return self.value.word

    @property
    def blocks(self) -> bool:
        """Does it have to go before `start`?"""
        return self.value.blocks

    @property
    def meaning(self) -> str:
        """For people."""
        return self.value.meaning


@dataclass(frozen=True)
class Way:
    """What is to become of what: `key` is the identifier of the key of the new tree, or of the source where it is
    decrypted."""

    path: bytes
    direction: Direction
    key: bytes


@dataclass
class Plan:
    """What was found.

    Attributes:
        way: what was asked for.
        totals: what CephFS keeps count of by itself, which may be some seconds late.
        files, directories, links, special, names: counted; `names` are further names of files.
        size: bytes of contents; `room` what the new tree needs beside the old one at most, in whole blocks.
        obstacles: how many of each; `listed` has the first twenty of each with their paths.
        pools: where its files lie, each with the first directory that says so.
        sessions: the clients that can reach the tree.
        estimate: what a sample of the tree has shown; None where there was nothing to be read.
        hash: of all that was decided upon, see `require_same`.
    """

    way: Way
    totals: dict[str, int]
    files: int = 0
    directories: int = 0
    links: int = 0
    special: int = 0
    names: int = 0
    size: int = 0
    room: int = 0
    obstacles: Counter[Obstacle] = field(default_factory=Counter)
    listed: list[tuple[Obstacle, bytes, str]] = field(default_factory=list)
    pools: dict[str, bytes] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    estimate: Estimate | None = None
    hash: str = ""

    @property
    def clear(self) -> bool:
        """Can it be started?"""
        return not any(obstacle.blocks for obstacle in self.obstacles)

    @property
    def expected(self) -> float | None:
        """Seconds that copying and comparing may take one process (`sample`)."""
        return None if self.estimate is None else self.estimate.seconds(self.entries, self.size)

    @property
    def entries(self) -> int:
        """All that is to be made, but for further names."""
        return self.files + self.directories + self.links + self.special

    def add(self, obstacle: Obstacle, path: bytes, how: str = "") -> None:
        """Note something in the way."""
        self.obstacles[obstacle] += 1
        if self.obstacles[obstacle] <= _LISTED:
            self.listed.append((obstacle, path, how))


def require_same(asked: str, found: Plan, *, even_changed: bool) -> None:
    """Is the plan that was asked for the one that is found now?

    Raises:
        RefusedError: ESTALE: it is of another cluster, of another path or key, or the tree has changed.
    """
    require_same_hash(asked, found.hash, found.way.path, even_changed=even_changed)


def require_same_hash(asked: str, found: str, plain: bytes, *, even_changed: bool) -> None:
    """The same by the hash of what is found now at the path `plain`: raises as `require_same`."""
    parts, now = asked.split("-"), found.split("-")
    if len(parts) != len(now):
        raise RefusedError(errno.EINVAL, "that is no plan", plain, remedy="Run `migrate plan`.")
    if parts[0] != now[0]:
        raise RefusedError(
            errno.ESTALE,
            "the plan is of another cluster or file system",
            plain,
            remedy="Run `migrate plan` here.",
        )
    if parts[1] != now[1]:
        raise RefusedError(
            errno.ESTALE,
            "the plan is of another directory, direction or key",
            plain,
            remedy="Run `migrate plan` with the same words as `migrate start`.",
        )
    if parts[2] != now[2] and not even_changed:
        raise RefusedError(
            errno.ESTALE,
            "the tree has changed since it was planned",
            plain,
            remedy=f"Look at the plan of now ({found}), or say --even-changed.",
        )


def hash_of(mount: Mount, way: Way, tree: str) -> str:
    """A plan's hash: of the cluster, of what was asked for, and of what there is, which has this digest."""
    asked = [mount.absolute(way.path).decode("latin-1"), way.direction.value, way.key.hex()]
    return "-".join((digest(mount.identity()), digest(asked), tree))


def digest(value: object) -> str:
    """16 hexadecimal digits of a JSON value."""
    return sha256(json.dumps(value).encode()).hexdigest()[:16]


def without_tree(plan: str) -> str:
    """What of a plan's hash may be stored on the cluster. The part of the tree is made of its names, sizes and modes:
    who knows most of them could find out the rest by trying."""
    return "-".join(plan.split("-")[:2])


def totals(mount: Mount, path: bytes) -> dict[str, int]:
    """What CephFS keeps count of by itself below a directory, some seconds late: `files` (all that are no directories),
    `directories`, `bytes`, `snapshots`."""
    return {word: int(attribute(mount, path, name) or 0) for word, name in _TOTALS.items()}
