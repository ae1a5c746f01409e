"""Jobs that walk a file system for encrypted subtrees, and change nothing.

A directory with a context whose parent has none is the top of a subtree. It needs no key: names are read as stored.
What is found is kept one by one (`ceph.findings`), so it may be any number; in memory there is the way down to one
entry.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...ceph.errors import NotAllowedError, NotFoundError
from ...ceph.interface import Entry, Kind, Mount
from ...engine import DamagedError, FileSystem, Keyring
from ...engine.inodes import ByPath, optional
from ...format import AUTH_XATTR, ENGINE_XATTR, Context, EngineRecord, FormatError
from ...format import Policy as StoredPolicy
from ...messages import MessageError, SubtreeFacts
from ...messages.job import JobWish
from ...messages.scan import FoundSubtree, Mixture
from ...subtree_facts import facts_of
from ..jobs import Controls, JobFailedError, Outcome, RefusedWishError
from .place import Reach

MOST_RATE = 1_000_000
_SAVED_EACH = 5.0
"""Seconds after which it keeps how far it is."""
_NOTHING_SAID = 0o7777
"""The bits of a mode: a file without any is being made, and gets its context next."""
_LONGEST = 200


class Findings(Protocol):
    """As `ceph.findings.FindingStore`."""

    def put(self, work: str, findings: Mapping[bytes, bytes]) -> None:
        """Keep these."""
        ...

    def drop(self, work: str) -> None:
        """Forget all of that work."""
        ...

    def drop_old(self) -> None:
        """Forget what is old."""
        ...


FindingsReach = Callable[[], AbstractContextManager[Findings]]
"""Connects for a ``with`` block."""


@dataclass
class _Top:
    """The subtree that the walk is in."""

    path: str
    facts: SubtreeFacts
    stored: StoredPolicy
    entries: int = 0
    mixed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def meet(self, what: str, path: bytes) -> None:
        self.mixed[what] += 1
        self.examples.setdefault(what, path.decode("ascii", "backslashreplace")[-_LONGEST:])

    def found(self) -> FoundSubtree:
        mixed = tuple(Mixture(what, n, self.examples[what]) for what, n in sorted(self.mixed.items()))
        facts = self.facts
        return FoundSubtree(self.path, facts.inode, facts.mode, facts.policy, self.entries, mixed)


@dataclass
class _Level:
    """A directory that the walk is in; `top` where it is in a subtree, `is_top` where it is that one's top."""

    path: bytes
    entries: Generator[Entry]
    top: _Top | None
    is_top: bool
    name: bytes = b""
    """Of the entry that was met last."""


class Scan:
    """A `Kind`.

    The options: `rate`, how many entries a second it looks at, at most; `register`, that the manager registers what was
    found, which is nothing to this kind.

    Its result: `entries` that were looked at, `subtrees` that were found, and how many of them are `mixed`.
    """

    name = "scan"
    changes = False
    lasting = False

    def __init__(
        self, reach: Reach, findings: FindingsReach, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._reach = reach
        self._findings = findings
        self._now = now

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        if wish.options.keys() - {"rate", "register"}:
            raise RefusedWishError(
                "a scan has the options rate and register only", remedy="leave out the others"
            )
        rate = wish.options.get("rate", 1)
        if not (type(rate) is int and 0 < rate <= MOST_RATE):
            raise RefusedWishError(f"rate must be from 1 to {MOST_RATE} entries a second")

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        with (
            self._reach() as place,
            self._findings() as findings,
            FileSystem(place.mount, Keyring()) as files,
        ):
            if not controls.cursor:
                findings.drop(wish.id)
                findings.drop_old()
            walk = _Walk(place.mount, files, wish, controls, findings, self._now)
            try:
                walk.run()
            finally:
                walk.close()
            return Outcome(
                {"entries": walk.entries, "subtrees": walk.subtrees, "mixed": walk.mixed},
                code=1 if walk.mixed else 0,
            )


class _Walk:
    """One run. The cursor names the way down to the entry that was done last, and what was counted by then."""

    def __init__(
        self,
        mount: Mount,
        files: FileSystem,
        wish: JobWish,
        controls: Controls,
        findings: Findings,
        now: Callable[[], float],
    ) -> None:
        self._mount = mount
        self._files = files
        self._job = wish.id
        self._root = wish.path.encode()
        self._controls = controls
        self._findings = findings
        self._now = now
        self._saved = now()
        self._pause = 1 / float(wish.options.get("rate", math.inf))
        self._levels: list[_Level] = []
        self.entries = self.subtrees = self.mixed = 0

    def run(self) -> None:
        """Walk to the end, from the cursor on."""
        above = self._root.rpartition(b"/")[0] or b"/"
        if self._root != b"/" and self._policy(above) is not None:
            raise JobFailedError(
                "it lies inside of an encrypted subtree", remedy="name the top directory of that one, or /"
            )
        self._enter(self._root, None)
        if self._controls.cursor:
            self._go_on(json.loads(self._controls.cursor))
        while self._levels:
            self._step()

    def close(self) -> None:
        """Leave all directories."""
        for level in self._levels:
            level.entries.close()

    def _step(self) -> None:
        level = self._levels[-1]
        try:
            entry = next(level.entries, None)
        except NotFoundError:
            entry = None  # it was removed meanwhile
        except NotAllowedError:
            self._controls.note("not-allowed", level.path)
            entry = None
        if entry is None:
            self._leave()
            return
        level.name = entry.name
        path = _below(level.path, entry.name)
        self.entries += 1
        self._controls.progress(self.entries, None, "entries")
        self._controls.wait(self._pause)
        if entry.kind is Kind.DIRECTORY:
            self._enter(path, level.top)
        elif level.top is not None:
            level.top.entries += 1
            self._judge(level.top, entry, path)
        if self._now() - self._saved >= _SAVED_EACH:
            self._save()

    def _enter(self, path: bytes, top: _Top | None) -> None:
        """Go into a directory; what is gone or shut is passed over."""
        try:
            is_top = False
            if top is None:
                top = self._top(path)
                is_top = top is not None
            else:
                top.entries += 1
                self._compare(top, path, self._context(path))
            entries = self._mount.scandir(path)
        except NotFoundError:
            return
        except NotAllowedError:
            self._controls.note("not-allowed", path)
            return
        except (MessageError, UnicodeDecodeError):
            self._controls.note("not-for-the-register", path)
            return
        except (FormatError, DamagedError):
            if top is None:
                # what is below would seem to be subtrees of their own
                self._controls.note("damaged-context", path)
                return
            top.meet("damaged", path)
            entries = self._mount.scandir(path)
        self._levels.append(_Level(path, entries, top, is_top))

    def _leave(self) -> None:
        level = self._levels.pop()
        level.entries.close()
        if level.is_top and level.top is not None:
            self._findings.put(self._job, {level.path: level.top.found().encode()})
            self.subtrees += 1
            self.mixed += bool(level.top.mixed)

    def _top(self, path: bytes) -> _Top | None:
        """The subtree that begins here; None: none does.

        Raises:
            FormatError, DamagedError: its attributes are none.
            MessageError, UnicodeDecodeError: the register cannot hold it.
        """
        context = self._context(path)
        if context is None:
            return None
        facts = facts_of(self._files, path)
        return None if facts is None else _Top(path.decode(), facts, context.policy)

    def _judge(self, top: _Top, entry: Entry, path: bytes) -> None:
        """Does a file or link belong where it is?"""
        if entry.kind not in (Kind.FILE, Kind.SYMLINK):
            return  # sockets, pipes and devices have no context
        try:
            pair = optional(ByPath(self._mount, path), ENGINE_XATTR) if entry.kind is Kind.FILE else None
            context = EngineRecord.decode(pair).context if pair is not None else self._context(path)
            if context is None and not self._mount.stat(path).mode & _NOTHING_SAID:
                return  # it is being made
            self._compare(top, path, context)
            if (
                entry.kind is Kind.FILE
                and context is not None
                and (pair is not None) != (top.facts.mode == "engine")
            ):
                top.meet("other-mode", path)
        except FormatError:
            top.meet("damaged", path)
        except NotFoundError:
            return
        except NotAllowedError:
            self._controls.note("not-allowed", path)

    def _compare(self, top: _Top, path: bytes, context: Context | None) -> None:
        if context is None:
            top.meet("plain", path)
        elif context.policy != top.stored:
            top.meet("other-policy", path)

    def _context(self, path: bytes) -> Context | None:
        auth = optional(ByPath(self._mount, path), AUTH_XATTR)
        return None if not auth else Context.decode_auth(auth)

    def _policy(self, path: bytes) -> StoredPolicy | None:
        try:
            context = self._context(path)
        except FormatError:
            return None
        return None if context is None else context.policy

    def _save(self) -> None:
        top = next((level.top for level in reversed(self._levels) if level.top is not None), None)
        cursor: dict[str, Any] = {
            "names": [level.name.hex() for level in self._levels],
            "counted": [self.entries, self.subtrees, self.mixed],
            "top": None if top is None else [top.path, top.entries, dict(top.mixed), top.examples],
        }
        self._controls.save(json.dumps(cursor))
        self._saved = self._now()

    def _go_on(self, cursor: Mapping[str, Any]) -> None:
        """Go down to where it was. A directory in which the way is gone is begun again: what is found twice is one."""
        self.entries, self.subtrees, self.mixed = cursor["counted"]
        names = [bytes.fromhex(name) for name in cursor["names"]]
        for depth, name in enumerate(names):
            if depth == len(self._levels) or not name:
                break
            level = self._levels[-1]
            met = self._passed(level, name)
            if met is None:
                level.entries.close()
                level.entries = self._mount.scandir(level.path)
                break
            level.name = name
            # of the last name all is done
            if met.kind is Kind.DIRECTORY and depth + 1 < len(names):
                self._enter(_below(level.path, name), level.top)
        self._restore(cursor["top"])

    def _passed(self, level: _Level, name: bytes) -> Entry | None:
        self._controls.check()
        return next((entry for entry in level.entries if entry.name == name), None)

    def _restore(self, kept: Sequence[Any] | None) -> None:
        top = next((level.top for level in reversed(self._levels) if level.top is not None), None)
        if kept is not None and top is not None and top.path == kept[0]:
            top.entries, top.mixed, top.examples = kept[1], Counter(kept[2]), dict(kept[3])


def _below(path: bytes, name: bytes) -> bytes:
    return path.rstrip(b"/") + b"/" + name
