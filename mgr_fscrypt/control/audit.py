"""The audit: what was done through the manager, by whom as far as it is told, and how it ended.

Each record has the SHA-256 of the one before it in it, so none can be changed, dropped or moved by itself. Whoever may
write the manager's pool can write all of it anew; the cluster's own log shows that: each record's digest is told there.
"""

import errno
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, Self

from ..store import FIRST, Act, Kept
from .filters import chosen
from .packed import Made, in_parts, packed
from .paging import page_size
from .refusal import RefusalError
from .results import Part, Result
from .text import moment, one_line, shell_word, shortened, table
from .values import Simplified

BROKEN = "FSCRYPT_AUDIT_BROKEN"
LOOKED_THROUGH = 5_000
"""Records that one page of a filtered list looks through."""
CHECKED = 50_000
"""Records that one `audit verify` checks: about a second."""
WATCHED = 2_000
"""Records that the watch checks at each look."""
_LONGEST = 10_000
"""Characters that a record keeps of what a command was about and of its result: room for two paths."""
_LONGEST_NAME = 200
_TOLD = 400
"""Characters of it that the cluster's log is told."""
_LARGEST = 1 << 62
_KNOWN = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")


class ActStore(Protocol):
    """Where the records are kept; `store.ActTable` tells what each call means."""

    def whole(self) -> AbstractContextManager[None]:
        """One transaction."""
        ...

    def append(
        self, *, at: int, who: str, manager: str, command: str, about: str, code: int, result: str
    ) -> Kept:
        """Add a record."""
        ...

    def newest(self, before: int | None, limit: int) -> Sequence[Kept]:
        """List, newest first."""
        ...

    def oldest(self, start: int, limit: int) -> Sequence[Kept]:
        """List, oldest first."""
        ...


@dataclass(frozen=True)
class ActLine:
    """One record as lists show it; fields as in `store.Act`, and its digest."""

    number: int
    at: int
    who: str
    manager: str
    command: str
    about: str
    code: int
    result: str
    previous: str
    digest: str


@dataclass(frozen=True)
class ActPage:
    """A page of the audit; `following` asks for the next one."""

    acts: Sequence[ActLine]
    following: int | None = None
    filtered: bool = field(default=False, compare=False)

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"acts": Made(self.acts, asdict), "following": self.following}

    @classmethod
    def restored(cls, value: dict[str, Any]) -> Self:
        """Give the value that `simplified` was made from. Raises KeyError, TypeError."""
        return cls(tuple(ActLine(**line) for line in value["acts"]), value["following"])

    def plain(self) -> str:
        """Show it to a person."""
        if not self.acts and self.following is not None:
            return f"None so far.\nThere are more to look through: add `--after {self.following}`."
        if not self.acts and self.filtered:
            return "No record fits."
        if not self.acts:
            return "Nothing was done through the manager yet."
        rows = (
            (
                str(line.number),
                moment(line.at),
                line.who,
                f"{line.command} {shortened(line.about, 100)}".rstrip(),
                shortened(line.result, 120) if line.code == 0 else f"refused: {shortened(line.result, 120)}",
            )
            for line in self.acts
        )
        shown = table(("NUMBER", "WHEN", "WHO", "WHAT", "RESULT"), rows, numbers={0})
        shown += "\ncli: whom `ceph log last 1000 info audit` names at that moment; the manager is not told."
        if self.following is not None:
            shown += f"\nThere are more: add `--after {self.following}`."
        return shown


@dataclass(frozen=True)
class ActFilter:
    """Which records a list has; None: all.

    Args:
        who: this text is in the name of who did it.
        command: its words begin with these.
        refused: what was refused, or what was done.
    """

    who: str | None = None
    command: str | None = None
    refused: bool | None = None

    def fits(self, act: Act) -> bool:
        """Is this one of them?"""
        return (
            (self.who is None or self.who in act.who)
            and (self.command is None or f"{act.command} ".startswith(f"{self.command.strip()} "))
            and self.refused in (None, act.code != 0)
        )


EVERY_ACT = ActFilter()


@dataclass(frozen=True)
class Verdict:
    """What `audit verify` found.

    Args:
        first: number of the first record that was looked at.
        last: number of the last one that fits; what is before `first` where none does.
        digest: of that one: keep it, and a later `verify --after` shows that nothing before it was written anew.
        following: where to go on; None: the end was reached, or what comes does not fit.
        trouble: what does not fit; empty: all of it fits.
    """

    first: int
    last: int
    digest: str
    following: str | None
    trouble: str = ""

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return asdict(self)

    def plain(self) -> str:
        """Show it to a person."""
        if self.trouble:
            return one_line(self.trouble)
        if self.last < self.first:
            return "There is no record to verify."
        shown = f"Records {self.first} to {self.last} are whole. The last one is {self.last}:{self.digest}"
        return f"{shown}\nThere are more: add `--after {self.following}`." if self.following else shown


class Audit:
    """Records what is done, and answers what was.

    Args:
        store: where the records are kept.
        clock: seconds since the epoch.
        manager: name of the daemon that does it.
        tell: tells the cluster's audit log.
    """

    def __init__(
        self, *, store: ActStore, clock: Callable[[], float], manager: str, tell: Callable[[str], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._manager = manager
        self._tell = tell

    def recorded(
        self, command: str, about: Sequence[str], work: Callable[[], Result], *, who: str = "cli"
    ) -> Result:
        """Do work on the database and record its result, or those of its parts: all of it in one transaction."""
        with self._store.whole():
            result = work()
            parts = result.parts or (Part(tuple(about), result),)
            kept = [self._append(who, command, part) for part in parts]
        # when it is certain, and not before; the digest of the last one stands for those before it
        self._tell_of(kept[-1], len(kept))
        return result

    def listing(
        self,
        after: int | None = None,
        limit: int | None = None,
        *,
        wanted: ActFilter = EVERY_ACT,
        reverse: bool = False,
    ) -> Result:
        """List records, newest first: those before the number `after`.

        Args:
            after: a record's number, which is a place in either direction.
            limit: at most so many.
            wanted: only these: a page looks through `LOOKED_THROUGH` records, and may have fewer then.
            reverse: oldest first: those after the number `after`.
        """
        try:
            limit = page_size(limit)
            chosen({"who": wanted.who, "command": wanted.command}, {})
        except RefusalError as refusal:
            return refusal.result
        if after is not None and not 0 < after < _LARGEST:
            return Result.failed(errno.EINVAL, f"{after} is no number of a record; they begin with 1")
        last = after

        def page(_: Kept | None, most: int) -> Sequence[Kept]:
            if reverse:
                return self._store.oldest((last or 0) + 1, most)
            return self._store.newest(last, most)

        def found() -> Iterator[ActLine]:
            nonlocal last
            left = limit
            for each in in_parts(limit if wanted == EVERY_ACT else LOOKED_THROUGH, page):
                last = each.act.number
                if wanted.fits(each.act):
                    yield ActLine(**vars(each.act), digest=each.digest)
                    left -= 1
                if not left:
                    return

        lines = packed(found(), vars, lambda line: ActLine(**line))
        # it may have ended in a full page, or with the records
        more = bool(page(None, 1)) if last is not None else False
        return Result(answer=ActPage(lines, last if more else None, filtered=wanted != EVERY_ACT))

    def verify(self, after: str | None = None, most: int = CHECKED) -> Result:
        """Check that the records fit one to the other.

        Args:
            after: NUMBER:DIGEST of a record that is known: it must be there, and all after it must fit.
            most: check so many.
        """
        try:
            known = _known(after)
        except RefusalError as refusal:
            return refusal.result
        verdict = self.checked(known, most)
        if not verdict.trouble:
            return Result(answer=verdict)
        return Result(
            errno.EBADMSG,
            f"{verdict.trouble}; compare `ceph fscrypt audit ls` with the cluster's log "
            "(`ceph log last 10000 info audit`), and find out who may write the pool .mgr",
            verdict,
        )

    def checked(self, known: tuple[int, str], most: int) -> Verdict:
        """Check up to `most` records after one that is known by number and digest; (0, `FIRST`) for all."""
        number, digest = known
        found = self._store.oldest(max(number, 1), most + 1)
        first = number + 1
        if number:
            if not found or (found[0].act.number, found[0].digest) != known or found[0].act.digest != digest:
                said = f"the audit is broken: record {number} is not the one that is known, or gone"
                return Verdict(first, number, digest, None, said)
            found = found[1:]
        for each in found[:most]:
            fits = (each.act.number, each.act.previous) == (
                number + 1,
                digest,
            ) and each.act.digest == each.digest
            if not fits:
                said = (
                    f"the audit is broken before or in record {number + 1}: something was changed or dropped"
                )
                return Verdict(first, number, digest, None, said)
            number, digest = each.act.number, each.digest
        more = len(found) >= most and bool(self._store.oldest(number + 1, 1))
        return Verdict(first, number, digest, f"{number}:{digest}" if more else None)

    def _append(self, who: str, command: str, part: Part) -> Kept:
        return self._store.append(
            at=int(self._clock()),
            who=shortened(one_line(who), _LONGEST_NAME),
            manager=self._manager,
            command=command,
            about=shortened(" ".join(shell_word(one_line(word)) for word in part.about), _LONGEST),
            code=part.result.code,
            result=shortened(one_line(part.result.status), _LONGEST),
        )

    def _tell_of(self, kept: Kept, records: int) -> None:
        act = kept.act
        words = one_line(shortened(f"{act.command} {act.about}: {act.result or 'done'}", _TOLD))
        others = f" (the last of {records} records)" if records > 1 else ""
        self._tell(f"fscrypt audit {act.number}:{kept.digest} {words}{others}")


class AuditWatch:
    """Checks the audit bit by bit, round after round, for health."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._head = self._place = (0, FIRST)
        self._cut = self._damage = ""

    def look(self) -> Result:
        """Check the newest record that was seen, what came after it, and some more of all; on the database's thread."""
        end = self._audit.checked(self._head, WATCHED)
        self._cut = end.trouble
        if not end.trouble:
            self._head = (end.last, end.digest)
        part = self._audit.checked(self._place, WATCHED)
        self._place = (part.last, part.digest)
        if part.trouble or part.following is None:
            # the end of a round, or as far as one comes
            self._damage = part.trouble
            self._place = (0, FIRST)
        return Result()

    def checks(self) -> Simplified:
        """Give the health check, as ceph-mgr takes it."""
        trouble = self._cut or self._damage
        if not trouble:
            return {}
        return {
            BROKEN: {
                "severity": "error",
                "summary": "the fscrypt module's audit was tampered with, or is damaged",
                "count": 1,
                "detail": [
                    one_line(trouble),
                    "see `ceph fscrypt audit verify`, compare with the cluster's log (`ceph log last 10000 info "
                    "audit`), and find out who may write the pool .mgr",
                ],
            }
        }


def unrecorded(result: Result, refusal: Result) -> Result:
    """The answer of an act that was done and could not be recorded."""
    return Result(
        result.code, f"{result.status}; the audit has no record of it: {refusal.status}", result.answer
    )


def _known(after: str | None) -> tuple[int, str]:
    """The number and digest of NUMBER:DIGEST. Raises `RefusalError`."""
    if after is None:
        return 0, FIRST
    found = _KNOWN.fullmatch(after)
    if found is None:
        raise RefusalError(
            errno.EINVAL, f'"{after}" is not NUMBER:DIGEST, as `audit verify` and the cluster\'s log have it'
        )
    return int(found[1]), found[2]
