"""What is done to clients by each rung, and what they are asked to do then."""

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from mgr_fscrypt.engine import FileSystem
from qa.facts.client import RefusedError

from .place import TEXT, Place, works
from .strays import NEW, OLD, Stray

Connect = Callable[[str], Stray]
"""Mounts a directory as the stray."""
DONE, REFUSED = "done", "refused"
EITHER = f"{DONE} or {REFUSED}"
"""What a client is told that waits for its buffers after its session was ended: ceph-fuse 18.2 may be told that they
were written. Whether they were is another row."""


@dataclass(frozen=True)
class Row:
    """One act: what was promised, and what was seen, with Ceph's word for a refusal.

    Args:
        rung: what was set meanwhile.
        who: the client.
        act: what it tried.
        promised: "done", "refused", or what else there is to see.
        seen: the same.
        detail: Ceph's word for it.
    """

    rung: str
    who: str
    act: str
    promised: str
    seen: str
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Is it as promised?"""
        return self.seen in self.promised.split(" or ")


class Steady:
    """Our engine at work all the time, in a thread: a capable client that should notice nothing."""

    def __init__(self, friend: FileSystem, place: Place) -> None:
        self._friend = friend
        self._place = place
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._told = 0
        self.rounds = 0
        self.error = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(120)

    def told(self) -> tuple[str, str]:
        """What became of its work since it was asked the last time: it is waited for one more round."""
        rounds = self.rounds
        self._place.cluster.wait("our engine at work", lambda: self.rounds > rounds + 1 or bool(self.error))
        since, self._told = self.rounds - self._told, self.rounds
        return (self.error and REFUSED) or DONE, self.error or f"{since} rounds"

    def _run(self) -> None:
        while not (self._stopping.is_set() or self.error):
            try:
                works(self._friend, self._place)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                self.error = f"{type(error).__name__}: {error}"
            self.rounds += 1


@dataclass
class Story:
    """The rungs, one after the other. Each is undone by the end of its act.

    Args:
        place: the subtree.
        friend: our engine.
        connect: mounts a stray.
        who: the stray's name in the table.
        steady: our engine at work all the time, where that is looked at, too.
        rows: what was seen.
    """

    place: Place
    friend: FileSystem
    connect: Connect
    who: str
    steady: Steady | None = None
    rows: list[Row] = field(default_factory=list)
    _made: int = 0

    def isolated(self) -> None:
        """Isolate; evict who was there before; take it back."""
        place = self.place
        before = self.connect("/")
        self._tries(
            "observe", before, "writes in the subtree", DONE, lambda: before.write(f"{place.vault}/before")
        )
        self._tries("observe", before, "writes beside it", DONE, lambda: before.write(place.plain))
        inode = before.soil(f"{place.vault}/kept")
        before.pause()
        before.resume()
        self._tries("observe", before, "writes what it had in its buffers", DONE, before.flush)
        self._sees("observe", self.who, "has it landed?", "yes", self._landed(inode))
        place.set("isolate", *place.isolating)
        old = f"{self.who}, from before"
        self._tries(
            "isolate",
            before,
            "writes in the subtree",
            DONE,
            lambda: before.write(f"{place.vault}/before"),
            old,
        )
        anew = self.connect("/")
        self._tries("isolate", anew, "reads in the subtree", REFUSED, lambda: anew.read(place.stored))
        self._tries("isolate", anew, "writes in the subtree", REFUSED, lambda: anew.write(place.stored))
        self._tries("isolate", anew, "writes beside it", DONE, lambda: anew.write(place.plain))
        victim = self._file()
        self._tries("isolate", anew, "truncates in the subtree", DONE, lambda: anew.truncate(victim))
        self._tries("isolate", anew, "removes in the subtree", DONE, lambda: anew.unlink(victim))
        self._steadily("isolate")
        self._evicted(before, anew)
        place.observed()
        self._steadily("observe")
        for each in (before, anew):
            each.end()

    def _evicted(self, before: Stray, anew: Stray) -> None:
        place, old = self.place, f"{self.who}, from before"
        inode = before.soil(f"{place.vault}/soiled")
        before.pause()
        place.end_sessions("evict", "set")
        ended = {each["session"]: each["address"] for each in place.eviction()["ended"]}
        self._sees("evict", old, "is ended", "yes", "yes" if before.session in ended else "no")
        listed = "yes" if ended.get(before.session) in place.blocklisted() else "no"
        self._sees("evict", old, "is on the blocklist", "yes", listed)
        before.resume()
        self._tries("evict", before, "writes what it had in its buffers", EITHER, before.flush, old)
        self._sees("evict", old, "has it landed?", "no", self._landed(inode))
        self._tries("evict", before, "writes beside it", REFUSED, lambda: before.write(place.plain), old)
        self._tries("evict", anew, "writes beside it", DONE, lambda: anew.write(place.plain))
        self._steadily("evict")

    def fenced(self) -> None:
        """Fence what nobody is kept out of; take it back."""
        place = self.place
        inside = self.connect("/")
        aside = self.connect(f"{place.top}/plain")
        inode = inside.soil(f"{place.vault}/fenced")
        inside.pause()
        place.end_sessions("fence", "fenced")
        inside.resume()
        self._tries("fence", inside, "writes what it had in its buffers", EITHER, inside.flush)
        self._sees("fence", self.who, "has it landed?", "no", self._landed(inode))
        elsewhere = f"{self.who}, mounted beside"
        self._tries("fence", aside, "writes beside it", DONE, lambda: aside.write("/file"), elsewhere)
        self._steadily("fence")
        place.observed()
        anew = self.connect("/")
        self._tries("observe", anew, "writes in the subtree", DONE, lambda: anew.write(f"{place.vault}/anew"))
        for each in (inside, aside, anew):
            each.end()

    def excluded(self) -> None:
        """Exclude; take it back."""
        place, old = self.place, f"{self.who}, from before"
        before = self.connect("/")
        before.write(place.plain)
        place.set("exclude", *place.isolating, "--open", f"{place.top}/plain")
        victim = self._file()
        self._tries("exclude", before, "truncates in the subtree", DONE, lambda: before.truncate(victim), old)
        self._tries("exclude", before, "removes in the subtree", DONE, lambda: before.unlink(victim), old)
        place.end_sessions("evict", "set")
        victim = self._file()
        self._tries(
            "evict", before, "truncates in the subtree", REFUSED, lambda: before.truncate(victim), old
        )
        self._tries("evict", before, "removes in the subtree", REFUSED, lambda: before.unlink(victim), old)
        before.end()
        for act, root in (("truncates, mounted at /", "/"), ("removes, mounted at the subtree", place.vault)):
            self._tries("exclude", None, act, REFUSED, lambda root=root: self.connect(root))
        inside = self.connect(f"{place.top}/plain")
        self._tries("exclude", inside, "writes in a directory of --open", DONE, lambda: inside.write("/file"))
        self._steadily("exclude")
        place.observed()
        inside.end()

    def _file(self) -> str:
        """A new file of our engine's in the subtree, as those without the key see it."""
        self._made += 1
        name = f"{self.place.vault}/victim-{self._made}".encode()
        with self.friend.create(name) as file:
            file.pwrite(TEXT, 0)
        return self.place.stored_path(self.friend.stat(name).ino)

    def _landed(self, inode: int) -> str:
        return {OLD: "no", NEW: "yes"}.get(self.place.block_of(inode), "something else")

    def _tries(
        self,
        rung: str,
        client: Stray | None,
        act: str,
        promised: str,
        attempt: Callable[[], object],
        who: str = "",
    ) -> None:
        seen, detail = DONE, ""
        try:
            attempt()
        except (OSError, RefusedError) as error:
            seen, detail = REFUSED, errno.errorcode.get(error.errno or 0, str(error))
        except RuntimeError as error:
            # a mount that is refused
            seen, detail = REFUSED, "EPERM" if "Operation not permitted" in str(error) else str(error)
        self.rows.append(Row(rung, who or self.who, act, promised, seen, detail))

    def _sees(self, rung: str, who: str, what: str, promised: str, seen: str) -> None:
        self.rows.append(Row(rung, who, what, promised, seen))

    def _steadily(self, rung: str) -> None:
        if self.steady is not None:
            seen, detail = self.steady.told()
            self.rows.append(Row(rung, "engine", "makes, writes, reads, removes", DONE, seen, detail))
