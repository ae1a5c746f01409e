"""A look at what is to be migrated, before anything is written: how much it is, and what is in the way."""

import errno
import hashlib
import json
import sqlite3
import stat
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from ..ceph.errors import CephError, NoAttributeError
from ..ceph.interface import Kind, Mount, Session
from ..engine import Attributes, FileSystem, LockedError, NameKind, RefusedError
from ..engine.directories import Directory
from ..engine.fence import strangers
from ..engine.making import UNFINISHED
from ..engine.modes import snapshots_of
from ..engine.paths import components, joined
from ..format import NOHASH_MAX, TARGET_MAX, raw_size
from .belonging import Belonging, NestedError
from .excluding import numbers_of
from .layouts import own_layout
from .record import HIDDEN, Direction
from .sample import Estimate, Sample
from .traits import QUOTAS
from .trees import Met, PlainTree, Tree, not_of_one_file

PADDING = 32
"""What names of new trees are padded to."""
_LISTED = 20
_LONGEST_NAME = NOHASH_MAX - NOHASH_MAX % PADDING
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
    parts, now = asked.split("-"), found.hash.split("-")
    plain = found.way.path
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
            remedy=f"Look at the plan of now ({found.hash}), or say --even-changed.",
        )


def without_tree(plan: str) -> str:
    """What of a plan's hash may be stored on the cluster. The part of the tree is made of its names, sizes and modes:
    who knows most of them could find out the rest by trying."""
    return "-".join(plan.split("-")[:2])


def look_over(
    mount: Mount,
    files: FileSystem,
    source: Tree,
    way: Way,
    go_on: Callable[[], None] = lambda: None,
    exclude: Iterable[bytes] = (),
) -> Plan:
    """Walk the tree and note everything; nothing is written. `go_on` is called before each entry; what lies at the
    paths `exclude`, which begin at the top, is left out.

    Raises:
        NotFoundError: nothing is there to be left out.
        RefusedError: what is there is no tree that can go that way, by itself.
        LockedError: the source is encrypted, and its key is not here.
    """
    require_way(mount, files, way)
    plan = Plan(way, totals(mount, way.path))
    excluded = numbers_of(source, way.path, exclude)
    for below in exclude:
        plan.add(Obstacle.EXCLUDED, joined(way.path, below.strip(b"/")))
    begun = time.perf_counter()
    with closing(_Look(source, plan, excluded)) as look, closing(look.walk()) as all_below:
        for met in all_below:
            go_on()
            look.meet(met)
        walked = time.perf_counter() - begun
        look.finish(go_on)
        plan.estimate = look.sample.measured(
            source,
            go_on,
            met=walked / max(plan.entries, 1),
            enciphers=way.direction is not Direction.DECRYPT,
        )
    _look_around(mount, plan)
    plan.hash = "-".join(
        (
            _digest(mount.identity()),
            _digest([mount.absolute(way.path).decode("latin-1"), way.direction.value, way.key.hex()]),
            look.digest(),
        )
    )
    return plan


def require_way(mount: Mount, files: FileSystem, way: Way) -> None:
    """Is it a directory that can go that way? Raises as `look_over`."""
    names = components(way.path)
    if not names:
        raise RefusedError(
            errno.EBUSY,
            "the root of the mount has nothing beside it",
            b"/",
            remedy="Mount its parent with --root.",
        )
    if names[-1].startswith(HIDDEN):
        raise RefusedError(
            errno.EINVAL, "what a migration made", way.path, remedy="Name the directory itself."
        )
    above = files.subtree(b"/" + b"/".join(names[:-1]))
    if above.policy is not None:
        raise RefusedError(
            errno.EPERM,
            "it lies inside of an encrypted subtree",
            way.path,
            remedy="Migrate the whole subtree: its top is a directory further up.",
        )
    subtree = files.subtree(way.path)
    policy = subtree.policy
    if way.direction is Direction.ENCRYPT:
        wrong = "" if policy is None else f"it is encrypted already, by key {policy.key.hex()}"
    elif policy is None:
        wrong = "it is not encrypted"
    elif way.direction is Direction.REENCRYPT:
        wrong = "it is encrypted by this very key" if policy.key == way.key else ""
    else:
        wrong = "" if policy.key == way.key else f"it is encrypted by another key, {policy.key.hex()}"
    if wrong:
        raise RefusedError(
            errno.EINVAL, wrong, way.path, remedy="See `subtree status`, and `migrate --help`."
        )
    if policy is not None and not subtree.unlocked:
        # a tree of directories and links alone could be read without it, as its ciphertext
        raise LockedError(way.path, policy.key)


class _Look:
    """One walk, and another one where files have names outside. The inodes with several names are counted in a database
    on the local disk: there may be any number. Only numbers are in it: the names may be those of an encrypted tree."""

    def __init__(self, source: Tree, plan: Plan, excluded: frozenset[int]) -> None:
        self._source = source
        self._plan = plan
        self._encrypts = plan.way.direction is not Direction.DECRYPT
        self._sum = 0
        self.sample = Sample()
        self._belonging = Belonging(source, plan.way.path, excluded)
        self._seen = sqlite3.connect("")
        self._seen.execute("CREATE TABLE seen (ino TEXT PRIMARY KEY, left INTEGER)")

    def walk(self) -> Generator[Met]:
        """All that is to be met."""
        return self._belonging.walk()

    def meet(self, met: Met) -> None:
        """Note one."""
        path = self._plan.way.path + met.below
        try:
            if met.error is not None:
                raise met.error
            if not met.leaving:
                self._consider(met, path, self._source.stat(path))
        except NestedError:
            self._plan.add(Obstacle.NESTED, path)
        except OSError as error:
            if not_of_one_file(error):
                raise
            self._plan.add(Obstacle.UNREADABLE, path, error.strerror or str(error))

    def finish(self, go_on: Callable[[], None]) -> None:
        """What can be told at the end only."""
        self._seen.execute("DELETE FROM seen WHERE left <= 0")
        (outside,) = self._seen.execute("SELECT count(*) FROM seen").fetchone()
        if not outside:
            return
        with closing(self._belonging.walk()) as all_below:
            for met in all_below:
                go_on()
                if met.entry is None or met.leaving:
                    continue
                if self._seen.execute("DELETE FROM seen WHERE ino = ?", (f"{met.entry.ino:x}",)).rowcount:
                    self._plan.add(Obstacle.LINKED_OUTSIDE, self._plan.way.path + met.below)

    def close(self) -> None:
        """Forget what was counted."""
        self._seen.close()

    def digest(self) -> str:
        """Of all entries, in whatever order they were met."""
        return f"{self._sum % (1 << 64):016x}"

    def _consider(self, met: Met, path: bytes, found: Attributes) -> None:
        plan = self._plan
        change = found.version if found.kind is Kind.FILE else 0
        digest = int(
            _digest(
                [
                    met.below.decode("latin-1"),
                    found.kind_bits,
                    found.ino,
                    found.size,
                    change,
                    found.permissions,
                ]
            ),
            16,
        )
        self._sum += digest
        if found.kind is Kind.FILE:
            self.sample.offer(path, found.size, digest)
        if met.entry is not None:
            self._consider_name(met.entry.name, met.entry.name_kind, path)
        if found.kind in (Kind.FILE, Kind.DIRECTORY) and found.permissions & ~stat.S_ISGID == UNFINISHED:
            plan.add(Obstacle.HALF_MADE, path)
        else:
            self._belonging.require(path, found.kind)
        match found.kind:
            case Kind.DIRECTORY:
                plan.directories += 1
                self._consider_directory(path, below=bool(met.below))
            case Kind.FILE:
                self._consider_file(path, found)
            case Kind.SYMLINK:
                plan.links += 1
                if self._encrypts and not 0 < len(self._source.readlink(path)) <= TARGET_MAX:
                    plan.add(Obstacle.TARGET, path)
            case Kind.SPECIAL:
                plan.special += 1
                plan.add(Obstacle.SPECIAL, path)

    def _consider_name(self, name: bytes, kind: NameKind, path: bytes) -> None:
        if kind in (NameKind.FOREIGN, NameKind.HASHED):
            self._plan.add(Obstacle.UNKNOWN_NAME, path)
        elif self._encrypts and len(name) > _LONGEST_NAME:
            self._plan.add(Obstacle.NAME, path)

    def _consider_directory(self, path: bytes, *, below: bool) -> None:
        layout = own_layout(self._source, path)
        if layout is not None:
            self._plan.pools.setdefault(layout.pool, path)
            if layout.striped and self._encrypts:
                self._plan.add(Obstacle.STRIPED, path)
            elif below:
                self._plan.add(Obstacle.LAYOUT, path)
        if any(_optional(self._source, path, name) not in (None, b"0") for name in QUOTAS):
            self._plan.add(Obstacle.OWN_QUOTA, path)

    def _consider_file(self, path: bytes, found: Attributes) -> None:
        plan = self._plan
        if found.nlink > 1:
            key = f"{found.ino:x}"
            added = self._seen.execute(
                "INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, found.nlink - 1)
            ).rowcount
            if not added:
                self._seen.execute("UPDATE seen SET left = left - 1 WHERE ino = ?", (key,))
                plan.names += 1
                return
        plan.files += 1
        plan.size += found.size
        plan.room += raw_size(found.size)


def _look_around(mount: Mount, plan: Plan) -> None:
    """What does not lie in the tree."""
    path = plan.way.path
    layout = mount.layout(path)
    plan.pools.setdefault(layout.pool, path)
    if plan.way.direction is not Direction.DECRYPT:
        for pool, first in plan.pools.items():
            if mount.erasure_coded(pool):
                plan.add(Obstacle.CODED, first, pool)
    room = mount.statfs(path)
    if room.available * room.block_size < plan.room:
        plan.add(
            Obstacle.SPACE, path, f"{plan.room} bytes are needed, {room.available * room.block_size} are free"
        )
    _look_at_quotas(mount, plan)
    for name in snapshots_of(mount, Directory(path, path, 0)):
        plan.add(Obstacle.SNAPSHOTS, path, name.decode(errors="replace"))
    if plan.totals.get("snapshots"):
        plan.add(Obstacle.SNAPSHOTS, path, f"{plan.totals['snapshots']} of directories in it")
    try:
        plan.sessions = strangers(mount, path)
    except CephError as error:
        plan.add(Obstacle.SESSION, path, f"not known: {error.strerror}")
    for session in plan.sessions:
        plan.add(Obstacle.SESSION, path, str(session))


def _look_at_quotas(mount: Mount, plan: Plan) -> None:
    """Every quota above the tree counts both trees for a time."""
    needed = {
        "ceph.quota.max_bytes": ("ceph.dir.rbytes", plan.room),
        "ceph.quota.max_files": (
            "ceph.dir.rentries",
            plan.entries,
        ),
    }
    tree, path = PlainTree(mount), plan.way.path
    while path != b"/":
        path = path.rpartition(b"/")[0] or b"/"
        for quota, (used, more) in needed.items():
            most = int(_optional(tree, path, quota) or 0)
            there = int(_optional(tree, path, used) or 0)
            if most and there + more > most:
                plan.add(
                    Obstacle.QUOTA, path, f"{quota} is {most}: {there} are there already, {more} are to come"
                )


def totals(mount: Mount, path: bytes) -> dict[str, int]:
    """What CephFS keeps count of by itself below a directory, some seconds late: `files` (all that are no directories),
    `directories`, `bytes`, `snapshots`."""
    tree = PlainTree(mount)
    return {word: int(_optional(tree, path, name) or 0) for word, name in _TOTALS.items()}


def _optional(tree: Tree, path: bytes, name: str) -> bytes | None:
    try:
        return tree.getxattr(path, name)
    except NoAttributeError:
        return None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
