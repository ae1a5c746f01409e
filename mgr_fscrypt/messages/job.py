"""Long work that the engine service does for the manager: what is wished, and how it stands.

Nothing here has a place for a secret, and nothing may be said here that the servers must not read: states are kept in
RADOS. What lies inside of an encrypted subtree goes by its names as stored. Times are seconds since the epoch.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from .strict import MessageError, expect, parsed

STATES = (
    "queued",  # it waits for its place among the others
    "running",
    "pausing",  # it was told to pause, and stops at its next step
    "paused",  # until it is told to go on
    "waiting",  # for what `why` says: a key that is locked, or a cluster; goes on by itself
    "cancelling",  # it was told to end, and puts away what it left half done
    "done",
    "failed",
    "cancelled",
)
OVER = ("done", "failed", "cancelled")
"""States that no job leaves by itself; a failed one can be gone on with."""

MOST_OPTIONS = 32
LONGEST_PATH = 4096
"""Bytes of UTF-8: PATH_MAX of Linux."""
LONGEST_OPTIONS = 8192
"""Characters of all options together."""
LONGEST_WHY = 2048
LONGEST_RESULT = 32 << 10
"""Characters of the JSON text that is a result."""
MOST_ERRORS = 20
"""Classes of errors that a state tells apart."""
MOST_EXAMPLES = 3
LONGEST_EXAMPLE = 200
LONGEST_BRIEF = 200
"""Characters of JSON that a brief has of a text."""
MOST_IN_STATUS = 20
"""Jobs of each standing that the status of a service tells of."""
MOST_ON_PAGE = 100

_ID = re.compile(r"[0-9a-f]{32}")
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,63}")

Option = str | int | float | bool


@dataclass(frozen=True)
class JobWish:
    """A job as it is asked for.

    Args:
        id: 32 hexadecimal digits, chosen by who asks: the same wish twice is one job.
        kind: what is to be done; the service knows kinds by name.
        fscid: the number of the file system.
        path: of the directory that it is about, from the root of the file system.
        options: of this kind; it refuses those that it does not know.

    Raises:
        MessageError: a field is outside its range.
    """

    id: str
    kind: str
    fscid: int
    path: str
    options: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expect_job(self.id)
        expect(_WORD.fullmatch(self.kind) is not None, "kind", "a word in lower case")
        expect(0 <= self.fscid < 2**31, "fscid", "the number of a file system")
        expect(self.path.startswith("/"), "path", "absolute")
        expect(len(self.path.encode()) <= LONGEST_PATH, "path", f"at most {LONGEST_PATH} bytes")
        expect(len(self.options) <= MOST_OPTIONS, "options", f"at most {MOST_OPTIONS}")
        expect(all(map(_WORD.fullmatch, self.options)), "options", "named by words in lower case")
        expect(
            sum(len(str(value)) for value in self.options.values()) <= LONGEST_OPTIONS,
            "options",
            f"at most {LONGEST_OPTIONS} characters",
        )

    def same_as(self, other: "JobWish") -> bool:
        """Is the same asked for, be it under another id?"""
        return (self.kind, self.fscid, self.path, dict(self.options)) == (
            other.kind,
            other.fscid,
            other.path,
            dict(other.options),
        )


@dataclass(frozen=True)
class JobError:
    """What went wrong with single things while the job went on.

    Args:
        kind: a class of error.
        count: how often it was met.
        examples: some of the paths that it was met on, as stored.
    """

    kind: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class JobState:
    """How it stands with a job.

    Args:
        wish: what was asked for.
        state: one of `STATES`.
        why: what it waits for, or why it failed and what to do next; empty otherwise.
        since: when the state began.
        done: how much is done, in `unit`s.
        total: of how much, as far as that is known.
        unit: what is counted, such as "entries"; empty before anything is.
        rate: units a second since it was last begun or gone on with; 0 where it is not known.
        eta: when it may be done; None where nobody knows.
        errors: that it met and went on.
        result: what came of it: the JSON text of an object of the kind's own; empty before the end.
        code: its exit code (0 done, 1 differences or damage found, 3 refused as unsafe, 4 locked, 5 not found,
            6 unreachable, 7 internal error); None before the end.
        created: when it was asked for.
        started: when it first ran; None: not yet.
        ended: when it was done, failed or was cancelled; None: not yet.

    Raises:
        MessageError: a field is outside its range.
    """

    wish: JobWish
    state: str
    why: str
    since: float
    done: int
    total: int | None
    unit: str
    rate: float
    eta: float | None
    errors: tuple[JobError, ...]
    result: str
    code: int | None
    created: float
    started: float | None
    ended: float | None

    def __post_init__(self) -> None:
        expect(self.state in STATES, "state", " or ".join(STATES))
        expect(len(self.result) <= LONGEST_RESULT, "result", f"at most {LONGEST_RESULT} characters")
        expect(len(self.why) <= LONGEST_WHY, "why", f"at most {LONGEST_WHY} characters")
        expect(len(self.errors) <= MOST_ERRORS, "errors", f"at most {MOST_ERRORS} classes")

    @classmethod
    def queued(cls, wish: JobWish, at: float) -> Self:
        """One that was asked for, then, and waits for its turn."""
        return cls(wish, "queued", "", at, 0, None, "", 0.0, None, (), "", None, at, None, None)

    @property
    def id(self) -> str:
        """Of the wish."""
        return self.wish.id

    @property
    def over(self) -> bool:
        """Has it come to an end?"""
        return self.state in OVER

    def outcome(self) -> dict[str, Any]:
        """The result; empty before the end.

        Raises:
            MessageError: it is no JSON object.
        """
        if not self.result:
            return {}
        found = parsed(self.result, LONGEST_RESULT)
        if not isinstance(found, dict):
            raise MessageError("result must be a JSON object")
        return found


@dataclass(frozen=True)
class JobBrief:
    """What the status of a service tells of a job; the fields are those of `JobState`, texts are cut short.

    Args:
        about: the path.
    """

    id: str
    kind: str
    fscid: int
    about: str
    state: str
    why: str
    since: float
    done: int
    total: int | None
    unit: str
    eta: float | None


@dataclass(frozen=True)
class Jobs:
    """The jobs of a service at a glance.

    Args:
        active: how many are not over.
        waiting: how many of these wait for a key or a cluster.
        failed: how many failed, and were not forgotten nor gone on with.
        told: active ones, those that wait first and then in order of age; failed ones, and ones that came to another
            end in the last minute, newest first. Up to `MOST_IN_STATUS` of each.
    """

    active: int
    waiting: int
    failed: int
    told: tuple[JobBrief, ...]


@dataclass(frozen=True)
class JobPage:
    """Some of all jobs that the service knows, newest first.

    Args:
        jobs: one after the other; their results are left out.
        following: the id of the last one, where there are more.
    """

    jobs: tuple[JobState, ...]
    following: str | None


def expect_job(text: str) -> None:
    """Raise ``MessageError`` unless this is the id of a job."""
    expect(_ID.fullmatch(text) is not None, "id", "32 lower-case hexadecimal digits, as `job ls` has them")


def brief(job: JobState) -> JobBrief:
    """What a status tells of it."""
    wish = job.wish
    return JobBrief(
        wish.id,
        wish.kind,
        wish.fscid,
        _cut(wish.path),
        job.state,
        _cut(job.why),
        job.since,
        job.done,
        job.total,
        job.unit,
        job.eta,
    )


def result_text(result: Mapping[str, Any]) -> str:
    """A result as the text that a state has.

    Raises:
        MessageError: it is too long, or has what JSON has not.
    """
    try:
        text = json.dumps(dict(result), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise MessageError(f"result must be JSON: {error}") from error
    expect(len(text) <= LONGEST_RESULT, "result", f"at most {LONGEST_RESULT} characters")
    return text


def _cut(text: str) -> str:
    """So short that its JSON is: a character takes up to twelve there."""
    cut = text[:LONGEST_BRIEF]
    while len(json.dumps(cut)) > LONGEST_BRIEF:
        cut = cut[: len(cut) * 3 // 4]
    return cut if cut == text else f"{cut}..."
