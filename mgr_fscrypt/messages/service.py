"""What the manager asks the engine service, and what it answers.

To ask for more, a class goes into `ASKS`; to answer more, into `ANSWERS`.
Nothing here has a place for a secret: keys go by their identifiers. Times are seconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .job import MOST_ON_PAGE, JobPage, Jobs, JobState, JobWish, expect_job
from .key import KeyFacts
from .kms import KmsFacts
from .scan import ScanPage, ScanQuestion
from .strict import KEY_IDENTIFIER, KEY_IDENTIFIER_IS, expect
from .tenant import TenantFacts

STATES = ("serving", "standby", "unreachable")
"""Of a service: it has its turn; another one has it; it cannot ask for one, since the cluster does not answer."""
KEY_STATES = ("unlocked", "unlocking", "failed")
KEPT_STATES = ("none", "reading", "read", "failed")
"""Of what is kept: nobody asked for it, it is being read, it was read, it could not be read."""
MOST_SIZED = 1000
"""Directories whose sizes are asked for at once."""
BUNDLE_STATES = ("reading", "read", "refused", "failed")
"""Of what a node needs: it is being read, it was read, it is not given out, it could not be read."""
LONGEST_BUNDLE = 150_000
"""Characters: with its escapes a message has room for it."""
CODES = (
    "unknown",  # the request is none that this release knows
    "refused",  # it would be unsafe, or is not allowed here
    "bad-wish",  # no job can be begun with these options
    "no-such-job",  # no job has this id
    "not-serving",  # another service has its turn, or none can
    "failed",  # the key cannot be unlocked: it, its container or its key manager refuses
    "internal",  # a mistake of the service
)


@dataclass(frozen=True)
class Hello:
    """Who is there? Stays as it is in all versions.

    Args:
        release: of who asks.
    """

    release: str


@dataclass(frozen=True)
class StatusQuestion:
    """How is it?"""


@dataclass(frozen=True)
class Unlock:
    """Unlock a key by its key manager, and keep it for a time; said again, the time begins anew.

    Answered at once by its `KeyState`; the service goes on trying while the key manager cannot be reached.

    Args:
        key_identifier: the key's public name.
        seconds: how long it is kept from now on beyond the jobs that need it.
    """

    key_identifier: str
    seconds: float

    def __post_init__(self) -> None:
        _expect_identifier(self.key_identifier)
        expect(0 < self.seconds <= 366 * 86400, "seconds", "more than 0 and at most a year")


@dataclass(frozen=True)
class Lock:
    """Wipe a key, for those who use it too, until it is told to be unlocked."""

    key_identifier: str

    def __post_init__(self) -> None:
        _expect_identifier(self.key_identifier)


@dataclass(frozen=True)
class Wipe:
    """Wipe a key that was shut where it is kept, for those who use it too; whoever needs it next asks there."""

    key_identifier: str

    def __post_init__(self) -> None:
        _expect_identifier(self.key_identifier)


@dataclass(frozen=True)
class Shutdown:
    """Wipe all keys, and end."""


@dataclass(frozen=True)
class StartJob:
    """Do this. Answered by its `JobState` once it is kept for good.

    Said again, or while the same is being done under another id, it is answered by the state of that job: never two.
    """

    wish: JobWish


@dataclass(frozen=True)
class PauseJob:
    """Have a job stop at its next step, until it is told to go on. Answered by its `JobState`."""

    id: str

    def __post_init__(self) -> None:
        expect_job(self.id)


@dataclass(frozen=True)
class ResumeJob:
    """Have a job go on that is paused, waits, or failed. Answered by its `JobState`."""

    id: str

    def __post_init__(self) -> None:
        expect_job(self.id)


@dataclass(frozen=True)
class CancelJob:
    """Have a job end; it puts away what it left half done. Answered by its `JobState`."""

    id: str

    def __post_init__(self) -> None:
        expect_job(self.id)


@dataclass(frozen=True)
class ForgetJob:
    """Drop the record of a job that is over."""

    id: str

    def __post_init__(self) -> None:
        expect_job(self.id)


@dataclass(frozen=True)
class JobQuestion:
    """How is it with a job? Answered by its `JobState`."""

    id: str

    def __post_init__(self) -> None:
        expect_job(self.id)


@dataclass(frozen=True)
class JobsQuestion:
    """Which jobs are there? Answered by a `JobPage`.

    Args:
        after: the id that the page before ended with; None: from the newest one.
        limit: how many at most.
        kind, state: only those of this kind, in this state; None: all.
        reverse: the oldest ones first.
    """

    after: str | None
    limit: int
    kind: str | None = None
    state: str | None = None
    reverse: bool = False

    def wants(self, job: JobState) -> bool:
        """Is it one of those?"""
        return self.kind in (None, job.wish.kind) and self.state in (None, job.state)

    def __post_init__(self) -> None:
        if self.after is not None:
            expect_job(self.after)
        expect(0 < self.limit <= MOST_ON_PAGE, "limit", f"from 1 to {MOST_ON_PAGE}")


@dataclass(frozen=True)
class ManagersQuestion:
    """Which key managers are known on the file system, and how were they met?"""


@dataclass(frozen=True)
class TryManager:
    """Have a key manager wrap and unwrap something. Answered at once; `Managers` tells what became of it.

    Args:
        kms: its name.
    """

    kms: str


@dataclass(frozen=True)
class Rescan:
    """Read what all lockboxes tell of keys and tenants. Answered at once; `Kept` tells what became of it."""


@dataclass(frozen=True)
class KeptQuestion:
    """What was read?

    Args:
        after: empty, or `Kept.following` of the page before.
    """

    after: str


@dataclass(frozen=True)
class SizesQuestion:
    """How much lies below these directories? Answered at once by `Sizes`: what was seen in the last minute, or nothing
    yet, and they are looked at.

    Args:
        paths: from the root of the file system, `MOST_SIZED` at most.
    """

    paths: tuple[str, ...]

    def __post_init__(self) -> None:
        expect(len(self.paths) <= MOST_SIZED, "paths", f"at most {MOST_SIZED}")
        expect(all(each.startswith("/") for each in self.paths), "paths", "absolute")


@dataclass(frozen=True)
class BundleQuestion:
    """What does a node need to open a key by its tenant's key managers? Answered by a `Bundled`: the first time that it
    is being read, then, once, what was read.

    Args:
        fscid: the number of the file system that is meant.
        key_identifier: the key's public name.
        ticket: 32 hexadecimal digits, of one command: it is told what was read after it began, and nothing that was
            read for another one.
    """

    fscid: int
    key_identifier: str
    ticket: str

    def __post_init__(self) -> None:
        _expect_identifier(self.key_identifier)
        _expect_identifier(self.ticket)


JobAsk = StartJob | PauseJob | ResumeJob | CancelJob | ForgetJob | JobQuestion | JobsQuestion
KeptAsk = ManagersQuestion | TryManager | Rescan | KeptQuestion | BundleQuestion
Ask = (
    Hello | StatusQuestion | Unlock | Lock | Wipe | Shutdown | JobAsk | KeptAsk | ScanQuestion | SizesQuestion
)
Question = (
    StatusQuestion
    | JobQuestion
    | JobsQuestion
    | ManagersQuestion
    | KeptQuestion
    | BundleQuestion
    | ScanQuestion
    | SizesQuestion
)
"""What changes nothing, answered or not."""
ASKS: Mapping[str, type[Ask]] = {
    "hello": Hello,
    "status": StatusQuestion,
    "unlock": Unlock,
    "lock": Lock,
    "wipe": Wipe,
    "managers": ManagersQuestion,
    "test": TryManager,
    "rescan": Rescan,
    "kept": KeptQuestion,
    "bundle": BundleQuestion,
    "shutdown": Shutdown,
    "start-job": StartJob,
    "pause-job": PauseJob,
    "resume-job": ResumeJob,
    "cancel-job": CancelJob,
    "forget-job": ForgetJob,
    "job": JobQuestion,
    "jobs": JobsQuestion,
    "scanned": ScanQuestion,
    "sizes": SizesQuestion,
}


@dataclass(frozen=True)
class Greeting:
    """The service that answers.

    Args:
        release: of it.
        pid: its process.
        epoch: the number of its turn; None while it has none.
        host: where it runs.
    """

    release: str
    pid: int
    epoch: int | None
    host: str


@dataclass(frozen=True)
class KeyState:
    """One key in the service's memory, or on its way there.

    Args:
        key_identifier: the key's public name.
        state: one of `KEY_STATES`.
        uses: by how many jobs.
        until: when it is wiped if no job needs it; None: with the last job.
        error: why it is not unlocked yet, or never: a class of error; empty where it is.
    """

    key_identifier: str
    state: str
    uses: int
    until: float | None
    error: str

    def __post_init__(self) -> None:
        _expect_identifier(self.key_identifier)
        expect(self.state in KEY_STATES, "state", " or ".join(KEY_STATES))


@dataclass(frozen=True)
class TenantKeyState:
    """The key of a tenant in the service's memory.

    Args:
        tenant: whose.
        version: of it.
        keys: for how many master keys it is there.
    """

    tenant: str
    version: int
    keys: int


@dataclass(frozen=True)
class BackendState:
    """One key manager as the service met it last.

    Args:
        name: what we call it.
        reachable: did it answer, be it by a refusal?
        since: when it was first met like this.
        error: the class of its last error like this; empty when it did what was asked.
        last: when it was met last.
        took: seconds that it took when it last did what was asked; None: it did nothing yet.
    """

    name: str
    reachable: bool
    since: float
    error: str
    last: float
    took: float | None


@dataclass(frozen=True)
class RotationState:
    """The key of a tenant that is to be rotated by the service.

    Args:
        fscid: the number of the file system that it is on.
        facts: how it stands with it, as the service saw it last.
        error: why it was not rotated though it was due: a class of error; empty where it was, or is not due.
        since: when that was first so.
    """

    fscid: int
    facts: TenantFacts
    error: str
    since: float


@dataclass(frozen=True)
class ServiceStatus:
    """A service and what it holds.

    Args:
        release: of the service.
        pid: its process.
        host: where it runs.
        started: when.
        state: one of `STATES`.
        since: when that began.
        epoch: the number of its turn, if it has one.
        holder: in standby, who has the turn.
        trouble: where the cluster cannot be reached, what it said last.
        longest: seconds for which a key may be kept beyond the jobs that need it; 0: for none.
        keys: in its memory, or on their way.
        tenant_keys: in its memory, by tenant and version.
        backends: key managers, by name.
        rotations: of tenants' keys, as far as there is news of them; not more than some hundred.
        jobs: at a glance; None while it does not know them: it has no turn, or has just begun one.
    """

    release: str
    pid: int
    host: str
    started: float
    state: str
    since: float
    epoch: int | None
    holder: str
    trouble: str
    longest: float
    keys: tuple[KeyState, ...]
    tenant_keys: tuple[TenantKeyState, ...]
    backends: tuple[BackendState, ...]
    rotations: tuple[RotationState, ...]
    jobs: Jobs | None

    def __post_init__(self) -> None:
        expect(self.state in STATES, "state", " or ".join(STATES))


@dataclass(frozen=True)
class KnownManager:
    """A key manager that is known on the file system.

    Args:
        facts: what is told of it.
        met: how the service met it last; None: it did not yet.
        testing: is it to be tested, or being tested?
    """

    facts: KmsFacts
    met: BackendState | None
    testing: bool


@dataclass(frozen=True)
class Managers:
    """Key managers, as the service saw them at its last look.

    Args:
        fscid: the number of the file system; None: it did not see them yet.
        read: when.
        trouble: why not all are here, or are as they were.
        managers: by name.
    """

    fscid: int | None
    read: float | None
    trouble: str
    managers: tuple[KnownManager, ...]


@dataclass(frozen=True)
class Kept:
    """A page of what was read of lockboxes.

    Args:
        state: one of `KEPT_STATES`; all else is told with "read" only.
        fscid: the number of the file system.
        error: why it could not be read.
        damaged: how many could not be read one by one.
        keys: master keys.
        tenants: tenants' keys.
        following: what asks for the next page; empty on the last one.
    """

    state: str
    fscid: int | None
    error: str
    damaged: int
    keys: tuple[KeyFacts, ...]
    tenants: tuple[TenantFacts, ...]
    following: str

    def __post_init__(self) -> None:
        expect(self.state in KEPT_STATES, "state", " or ".join(KEPT_STATES))


@dataclass(frozen=True)
class Sizes:
    """How much lies below some directories.

    Args:
        seen: False: they are being looked at; ask again.
        bytes: raw sizes of all files below each, in the order of the question; 0 where it is not there, None where
            nobody could tell.
    """

    seen: bool
    bytes: tuple[int | None, ...]


@dataclass(frozen=True)
class Bundled:
    """What a node needs to open a key, and nothing that opens anything by itself.

    Args:
        state: one of `BUNDLE_STATES`; all else is told with "read" only.
        error: why it could not be read, or is not given out.
        bundle: wrapped containers and settings of key managers, as `cephfs-fscrypt --bundle` takes them.
        managers: what is told of these key managers.
    """

    state: str
    error: str = ""
    bundle: str = field(default="", repr=False)
    managers: tuple[KmsFacts, ...] = ()

    def __post_init__(self) -> None:
        expect(self.state in BUNDLE_STATES, "state", " or ".join(BUNDLE_STATES))
        expect(len(self.bundle) <= LONGEST_BUNDLE, "bundle", f"at most {LONGEST_BUNDLE} characters")


@dataclass(frozen=True)
class Done:
    """It was done, and there is nothing to tell."""


@dataclass(frozen=True)
class Trouble:
    """It was not done.

    Args:
        code: one of `CODES`.
        text: what happened.
        remedy: what to do next.
    """

    code: str
    text: str
    remedy: str

    def __post_init__(self) -> None:
        expect(self.code in CODES, "code", " or ".join(CODES))


Said = (
    Greeting
    | KeyState
    | ServiceStatus
    | JobState
    | JobPage
    | ScanPage
    | Managers
    | Kept
    | Sizes
    | Bundled
    | Done
    | Trouble
)
ANSWERS: Mapping[str, type[Said]] = {
    "greeting": Greeting,
    "key": KeyState,
    "status": ServiceStatus,
    "job": JobState,
    "jobs": JobPage,
    "scanned": ScanPage,
    "managers": Managers,
    "kept": Kept,
    "sizes": Sizes,
    "bundled": Bundled,
    "done": Done,
    "trouble": Trouble,
}


def _expect_identifier(text: str) -> None:
    expect(KEY_IDENTIFIER.fullmatch(text) is not None, "key_identifier", KEY_IDENTIFIER_IS)
