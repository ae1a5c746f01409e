"""A look at what is to be migrated, before anything is written: how much it is, and what is in the way."""

import errno
import sqlite3
import stat
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing

from ..ceph.errors import NotFoundError
from ..ceph.interface import Kind, Mount
from ..engine import Attributes, FileSystem, LockedError, NameKind, RefusedError
from ..engine.making import UNFINISHED
from ..engine.paths import components
from ..format import NOHASH_MAX, TARGET_MAX, raw_size
from .belonging import Belonging, NestedError
from .excluding import Named, named_in
from .layouts import own_layout
from .plan import PADDING, Obstacle, Plan, Way, digest, hash_of, totals
from .record import HIDDEN, Direction
from .sample import Sample
from .surroundings import CHARMAP, look_around
from .traits import QUOTAS
from .trees import Met, Tree, attribute, not_of_one_file

_LONGEST_NAME = NOHASH_MAX - NOHASH_MAX % PADDING
_SUBVOLUME = "ceph.dir.subvolume"


def look_over(
    mount: Mount,
    files: FileSystem,
    source: Tree,
    way: Way,
    go_on: Callable[[], None] = lambda: None,
    exclude: Iterable[Named] = (),
) -> Plan:
    """Walk the tree and note everything; nothing is written. `go_on` is called before each entry; what is
    named by `exclude` is left out.

    Raises:
        NotFoundError: nothing is there to be left out.
        RefusedError: what is there is no tree that can go that way, by itself.
        LockedError: the source is encrypted, and its key is not here.
    """
    require_way(mount, files, way)
    plan = Plan(way, totals(mount, way.path))
    excluded = named_in(source, way.path, exclude)
    for below in excluded.values():
        plan.add(Obstacle.EXCLUDED, way.path + below)
    begun = time.perf_counter()
    with closing(_Look(source, plan, frozenset(excluded))) as look, closing(look.walk()) as all_below:
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
    look_around(mount, plan)
    plan.hash = hash_of(mount, way, look.digest())
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
        except NotFoundError:
            # somebody removed it, or gave it another name, since it was listed: but for the top
            if met.entry is None:
                raise
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
        number = int(
            digest(
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
        self._sum += number
        if found.kind is Kind.FILE:
            self.sample.offer(path, found.size, number)
        if met.entry is not None:
            self._consider_name(met.entry.name, met.entry.name_kind, path)
        if found.kind in (Kind.FILE, Kind.DIRECTORY) and found.permissions & ~stat.S_ISGID == UNFINISHED:
            plan.add(Obstacle.HALF_MADE, path)
        else:
            self._belonging.require(path, found.kind, found.size)
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
        if attribute(self._source, path, CHARMAP) is not None:
            self._plan.add(Obstacle.CASE, path)
        if attribute(self._source, path, _SUBVOLUME) == b"1":
            self._plan.add(Obstacle.SUBVOLUME, path)
        layout = own_layout(self._source, path)
        if layout is not None:
            self._plan.pools.setdefault(layout.pool, path)
            if layout.striped and self._encrypts:
                self._plan.add(Obstacle.STRIPED, path)
            elif below:
                self._plan.add(Obstacle.LAYOUT, path)
        if any(attribute(self._source, path, name) not in (None, b"0") for name in QUOTAS):
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
