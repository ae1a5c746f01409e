"""What comes of jobs about subtrees: the register follows them, and a subtree that is being made goes on step by step.

The service tells of jobs that came to an end; what they found is then registered, by whichever manager is there. That
is the same when it is done twice. The service tells for a minute: who was not there to hear it lists the jobs that are
over, and a mark says which of them were seen to. How far a subtree that is being made has come is in memory only: a
manager that dies leaves a gate and maybe an empty directory behind, and the same command again goes on from there.
"""

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from logging import Logger

from ..messages.job import MOST_IN_STATUS, MOST_ON_PAGE, JobPage, Jobs, JobState
from ..messages.service import JobQuestion, JobsQuestion
from ..messages.strict import MessageError
from ..messages.subtree import SubtreeFacts
from ..messages.subtree_job import (
    CREATE,
    HOLD,
    LOOK,
    RELEASE,
    REMOVE,
    CreateResult,
    HoldOptions,
    LookOptions,
    LookResult,
    ModeResult,
    ReleaseOptions,
    RemoveOptions,
    as_options,
    read,
)
from .cluster import FileSystemMap, names_of
from .eviction_answers import EvictionPage
from .evictions import Evictions
from .gate_answers import GatePage
from .gates import Gates
from .jobs import JobDetail, JobService
from .jobs import Jobs as JobCommands
from .marks import Marks, SeenJobs
from .migration_outcomes import FOLLOWED, MigrationOutcomes
from .new_subtree import NewSubtree
from .refusal import RefusalError
from .results import Result
from .subtree_detail import SubtreeDetail
from .subtrees import Subtrees
from .text import one_line, shell_word
from .values import Simplified

TURN = 1.0
"""Seconds between two looks while a subtree is being made."""
PATIENCE = 600.0
"""Seconds that its gate has for being set."""
MOST = 100
"""Subtrees that were made, or could not be, and are remembered."""
SILENCE = 30.0
"""Seconds without word of the service after which jobs may have ended of which it tells no longer."""
REMEMBERED = 1000
"""Jobs of a file system that were seen to: the service keeps no more of those that are over."""
_KINDS = (CREATE, RELEASE, HOLD, REMOVE, LOOK, *FOLLOWED)
_NOT_FOUND = 5
"""The exit code of a job that did not find its path."""


@dataclass
class Creation:
    """A subtree that is being made.

    Attributes:
        asked: what was asked for.
        identifier: of its key.
        where: the path as it was said; of a subvolume, that of its directory.
        job: the one that it waits for; empty: it is to be begun.
        stage: "looking", "gating", "making", "made"; "failing" (what is there by now is looked at) or "failed".
        why: what it waits for, or why it failed.
        path: where it will lie, once that is known.
        namespace: of its files.
        gated: its gate is new.
        failure: why its making failed.
        since: when the stage began, by a clock that only goes forward.
    """

    asked: NewSubtree
    identifier: str
    where: str
    job: str
    stage: str = "looking"
    why: str = ""
    path: str = ""
    namespace: str = ""
    gated: bool = False
    failure: Result | None = None
    since: float = 0.0

    @property
    def over(self) -> bool:
        """Has it come to an end?"""
        return self.stage in ("made", "failed")


@dataclass(frozen=True)
class CreationStory:
    """How it stands with a subtree that is being made, or could not be."""

    fs_name: str
    path: str
    stage: str
    why: str
    job: str

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"creation": vars(self).copy()}

    def plain(self) -> str:
        """Show it to a person."""
        lines = [f"subtree {self.path} of {self.fs_name} is not made yet", f"stage  {self.stage}"]
        lines += [f"why    {self.why}"] * bool(self.why)
        return "\n".join(map(one_line, [*lines, f"job    {self.job}"]))


class FollowUp:
    """Goes on from what jobs found. `run` in a thread of its own; the rest answers at once, to any.

    Args:
        service: is asked for jobs.
        jobs: begins them.
        subtrees: the register.
        gates: who is kept out.
        evictions: whose sessions are ended.
        migrations: sees to what was migrated.
        cluster: the file systems that there are.
        answer: does work on the database, and answers in time.
        recorded: does work of a command about something, and records it in the audit.
        hurry: has gates carried out now.
        own: the entity of the engine service; empty: one whom no gate keeps out.
        marks: which jobs were seen to, whichever manager did it.
        now: seconds that only go forward.
        log: where mistakes are told.
    """

    def __init__(
        self,
        *,
        service: JobService,
        jobs: JobCommands,
        subtrees: Subtrees,
        gates: Gates,
        evictions: Evictions,
        migrations: MigrationOutcomes,
        cluster: FileSystemMap,
        answer: Callable[[Callable[[], Result]], Result],
        recorded: Callable[[str, Sequence[str], Callable[[], Result]], Result],
        hurry: Callable[[], None],
        own: Callable[[], str],
        marks: Marks,
        now: Callable[[], float],
        log: Logger,
    ) -> None:
        self._service = service
        self._jobs = jobs
        self._subtrees = subtrees
        self._gates = gates
        self._evictions = evictions
        self._migrations = migrations
        self._cluster = cluster
        self._answer = answer
        self._recorded = recorded
        self._hurry = hurry
        self._own = own
        self._now = now
        self._log = log
        self._turn = threading.Lock()
        self._news = threading.Event()
        self._stopping = False
        self._creations: list[Creation] = []
        # in the order of their ends
        self._ended: dict[str, None] = {}
        self._settled = SeenJobs(marks, REMEMBERED)
        self._heard: float | None = None
        self._missed = False

    # any thread

    def require_free(self, asked: NewSubtree, where: str) -> None:
        """See `subtree_jobs.Creations`. Two would take turns with the gate, and one be left with the other's."""
        for each in self._under_way():
            if (each.asked.fs_name, each.where) == (asked.fs_name, where) and each.asked != asked:
                shown = f"ceph fscrypt subtree show {shell_word(asked.fs_name)} {shell_word(where)}"
                raise RefusalError(
                    errno.EBUSY,
                    f"{where} of {asked.fs_name} is being made already, with other options, nothing was changed; "
                    f"`{shown}` tells how far that is",
                )

    def follow(self, job: JobState, asked: NewSubtree, identifier: str) -> None:
        """See `subtree_jobs.Creations`. The same that is under way already is followed once."""
        creation = Creation(asked, identifier, job.wish.path, job.id, since=self._now())
        with self._turn:
            under_way = (each for each in self._creations if not each.over)
            if any((each.asked, each.where) == (asked, creation.where) for each in under_way):
                return
            over = [each for each in self._creations if each.over and each.where != creation.where]
            going = [each for each in self._creations if not each.over]
            self._creations = [*over[-MOST:], *going, creation]
        self._news.set()

    def seen(self, jobs: Jobs | None) -> None:
        """The service told of these."""
        if jobs is None:
            return
        # the newest is told of first, and has to be registered last; what failed may go on, and be done yet
        done = [each for each in reversed(jobs.told) if each.state == "done"]
        ours = [each.id for each in done if each.kind in _KINDS]
        new = [job for job in ours if not self._settled.knows(job)]
        # so many that there may be others, which ended before
        ended = sum(each.state in ("done", "cancelled") for each in jobs.told)
        cut = ended >= MOST_IN_STATUS and ours[:1] == new[:1]
        now = self._now()
        with self._turn:
            silent = self._heard is None or now - self._heard > SILENCE
            self._missed = self._missed or silent or cut
            self._heard = now
            self._ended |= dict.fromkeys(new)
            news = self._missed or bool(self._ended)
        if news:
            self._news.set()

    def told(self, known: Result, fs_name: str, path: str) -> Result:
        """What `subtree show` answers: of one that is not registered, how far it has come."""
        if known.success:
            return known
        with self._turn:
            for each in reversed(self._creations):
                if each.asked.fs_name == fs_name and path in (each.where, each.path) and each.stage != "made":
                    story = CreationStory(fs_name, path, each.stage, each.why, each.job)
                    return Result(answer=story)
        return known

    def stop(self) -> None:
        """Have `run` end; returns at once."""
        self._stopping = True
        self._news.set()

    # one thread

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopping:
            self._news.wait(TURN if self._under_way() else None)
            self._news.clear()
            try:
                self.round()
            except Exception:  # noqa: BLE001 - see below
                # what comes next may go well; nobody would know why nothing is registered any more
                self._log.exception("what came of a job was not seen to by a mistake of this module")

    def round(self) -> None:
        """Once: register what jobs found, and go on with what is being made."""
        self._see_to_ended()
        for creation in self._under_way():
            before = creation.stage
            self._advance(creation)
            if creation.stage != before:
                creation.since = self._now()
                # what can be done at once needs no turn
                self._news.set()

    def _under_way(self) -> list[Creation]:
        with self._turn:
            return [each for each in self._creations if not each.over]

    def _see_to_ended(self) -> None:
        """Register what jobs found that came to an end, in that order, until something does not answer."""
        with self._turn:
            missed = self._missed
        try:
            if missed:
                self._list_ended()
            with self._turn:
                ended = tuple(self._ended)
            for job in ended:
                self._end(job)
                with self._turn:
                    del self._ended[job]
        except RefusalError as refusal:
            # the service or the database is away: the next time that the service tells of its jobs goes on here
            self._log.info("what came of jobs is not registered now: %s", refusal.result.status)

    def _list_ended(self) -> None:
        """Find the jobs that nobody has seen to. Raises RefusalError."""
        over = [
            job
            for job in self._all_jobs()
            if job.state == "done"
            and job.wish.kind in _KINDS
            and not self._settled.has(job.wish.fscid, job.id)
        ]
        over.sort(key=lambda job: job.ended or 0.0)
        with self._turn:
            # those that were told of since come after them
            self._ended = dict.fromkeys(job.id for job in over) | self._ended
            self._missed = False

    def _all_jobs(self) -> Iterator[JobState]:
        """Without their results. Raises RefusalError."""
        after = None
        while True:
            said = self._service.asked(lambda after=after: JobsQuestion(after, MOST_ON_PAGE))  # type: ignore[misc]
            if not isinstance(said, JobPage):
                raise RefusalError(errno.EPROTO, "the engine service answered something else")
            yield from said.jobs
            if said.following is None:
                return
            after = said.following

    def _end(self, job: str) -> None:
        """Raises RefusalError: not now."""
        try:
            state = self._state(job)
        except RefusalError as refusal:
            if refusal.result.code == errno.ENOENT:
                return  # it was forgotten
            raise
        if self._settled.has(state.wish.fscid, job):
            return
        try:
            result = self._settle(state)
        except MessageError as error:
            self._log.error("job %s ended with what is none of its kind: %s", job, error)
            result = Result()
        if result.code == errno.EAGAIN:
            raise RefusalError(result.code, result.status)
        self._settled.add(state.wish.fscid, job)

    def _settle(self, state: JobState) -> Result:
        """Have the register as the job left things, which is done. Raises MessageError."""
        fs_name = names_of(self._cluster).get(state.wish.fscid)
        if fs_name is None:
            return Result()
        options, outcome, path = state.wish.options, state.outcome(), state.wish.path
        match state.wish.kind:
            case "create":
                made = read(CreateResult, outcome, "result")
                return self._register(fs_name, made.path, made.facts)
            case "release" | "hold":
                form: type[ReleaseOptions | HoldOptions] = ReleaseOptions
                if state.wish.kind == HOLD:
                    form = HoldOptions
                if read(form, options, "options").dry_run:
                    return Result()
                return self._register(fs_name, path, read(ModeResult, outcome, "result").facts)
            case "adopt":
                if read(LookOptions, options, "options").dry_run:
                    return Result()
                return self._register(fs_name, path, read(LookResult, outcome, "result").facts)
            case kind if kind in FOLLOWED:
                return self._migrations.settle(fs_name, state)
            case _:
                gone = read(RemoveOptions, options, "options")
                return Result() if gone.dry_run else self._forget(fs_name, path, gone.inode)

    def _register(self, fs_name: str, path: str, facts: SubtreeFacts | None) -> Result:
        if facts is None:
            return Result()
        report = facts.encode()
        looked = self._answer(lambda: self._subtrees.adopt(fs_name, path, report, dry_run=True))
        if looked.success and not looked.changed:
            return looked
        return self._act(
            "subtree adopt", (fs_name, path), lambda: self._subtrees.adopt(fs_name, path, report)
        )

    def _forget(self, fs_name: str, path: str, inode: int) -> Result:
        known = self._answer(lambda: self._subtrees.show(fs_name, path))
        if not isinstance(known.answer, SubtreeDetail) or known.answer.subtree.inode != inode:
            return known if known.code == errno.EAGAIN else Result()
        for drop in (self._drop_evictions, self._drop_gate):
            dropped = drop(fs_name, path)
            if not dropped.success:
                return dropped
        return self._act("subtree forget", (fs_name, path), lambda: self._subtrees.forget(fs_name, path))

    def _drop_evictions(self, fs_name: str, path: str) -> Result:
        """What was asked for this subtree is not for the next one at its path, of which nobody was told."""
        shown = self._answer(lambda: self._evictions.show(fs_name, path))
        if isinstance(shown.answer, EvictionPage) and not shown.answer.evictions:
            return Result()
        if not shown.success:
            return shown
        about = (fs_name, path, "observe")
        return self._act("gate set", about, lambda: self._evictions.end(fs_name, path, lift=True))

    def _drop_gate(self, fs_name: str, path: str) -> Result:
        try:
            if not self._gate_state(fs_name, path):
                return Result()
        except RefusalError as refusal:
            return refusal.result
        about = (fs_name, path, "observe")
        result = self._act("gate set", about, lambda: self._gates.drop(fs_name, path))
        self._hurry()
        return result

    # what is being made

    def _advance(self, creation: Creation) -> None:
        try:
            match creation.stage:
                case "looking":
                    self._looked(creation, self._over(creation))
                case "gating":
                    self._gated(creation)
                case "failing":
                    self._failing(creation)
                case _:
                    self._made(creation, self._over(creation))
        except RefusalError as refusal:
            creation.why = refusal.result.status
            if refusal.result.code != errno.EAGAIN:
                self._fail(creation, refusal.result)
        except MessageError as error:
            self._fail(
                creation, Result.failed(errno.EPROTO, f"the engine service answered something else: {error}")
            )

    def _over(self, creation: Creation) -> JobState | None:
        """Its job, if that is over; raises `RefusalError` where it did not do it."""
        state = self._state(creation.job)
        creation.why = state.why
        if not state.over:
            return None
        if state.state != "done":
            why = state.why or f"its job was {state.state}"
            raise RefusalError(errno.ECANCELED, why)
        return state

    def _looked(self, creation: Creation, state: JobState | None) -> None:
        if state is None:
            return
        asked, found = creation.asked, read(CreateResult, state.outcome(), "result")
        creation.path = found.path
        # what an isolated subvolume has stays; a name of its own goes to all others
        creation.namespace = found.namespace if asked.namespace is None else asked.namespace
        if not creation.namespace:
            creation.namespace = asked.namespace_of(found.path)
        if asked.unprotected:
            about = (asked.fs_name, found.path, "observe")
            self._require(
                self._act("gate set", about, lambda: self._gates.leave_open(asked.fs_name, found.path))
            )
            self._make(creation)
            return
        wanted = asked.gate(found.path, creation.namespace, self._own())
        had = self._gate_state(asked.fs_name, found.path)
        about = (asked.fs_name, found.path, wanted.rung)
        self._require(self._act("gate set", about, lambda: self._gates.set(wanted, planned=True)))
        creation.gated = not had
        creation.stage = "gating"
        self._hurry()

    def _gated(self, creation: Creation) -> None:
        state = self._gate_state(creation.asked.fs_name, creation.path)
        if state in ("set", "drifted"):
            self._make(creation)
            return
        creation.why = "its gate is not set yet; see `ceph fscrypt gate show`"
        if self._now() - creation.since > PATIENCE:
            raise RefusalError(errno.ETIMEDOUT, f"its gate was not set within {PATIENCE:g} s")

    def _make(self, creation: Creation) -> None:
        asked = creation.asked
        options = asked.options(creation.identifier, creation.namespace, dry_run=False)
        begun = self._require(self._jobs.begin(CREATE, asked.fs_name, creation.where, as_options(options)))
        if isinstance(begun.answer, JobDetail):
            creation.job, creation.stage, creation.why = begun.answer.job.id, "making", ""

    def _made(self, creation: Creation, state: JobState | None) -> None:
        if state is None:
            return
        self._require(self._settle(state))
        creation.stage = "made"
        self._settled.add(state.wish.fscid, state.id)

    def _fail(self, creation: Creation, result: Result) -> None:
        """It ends here; a gate that is new is taken back, unless its subtree may be there."""
        match creation.stage:
            case "making" if creation.gated:
                # the job may have set the policy before it failed
                creation.stage, creation.failure, creation.job = "failing", result, ""
            case "failing":
                self._give_up(
                    creation, f"its gate stays, for nobody could see whether it is needed: {result.status}"
                )
            case _:
                creation.failure = result
                self._take_back(creation)

    def _failing(self, creation: Creation) -> None:
        """Look at what is there now: a policy that was set keeps its gate, and is registered."""
        asked = creation.asked
        if not creation.job:
            options = as_options(LookOptions(verify=False, dry_run=False))
            begun = self._require(self._jobs.begin(LOOK, asked.fs_name, creation.path, options))
            if isinstance(begun.answer, JobDetail):
                creation.job = begun.answer.job.id
            return
        state = self._state(creation.job)
        if not state.over:
            return
        if state.state == "done":
            found = read(LookResult, state.outcome(), "result")
            if found.facts is None and not found.refusal:
                self._take_back(creation)
                return
            self._require(self._settle(state))
            self._give_up(creation, "its directory has a policy all the same, so its gate stays")
        elif state.code == _NOT_FOUND:
            self._take_back(creation)
        else:
            raise RefusalError(errno.ECANCELED, state.why or f"job {state.id} was {state.state}")

    def _take_back(self, creation: Creation) -> None:
        """Fail, and take back a gate that is new."""
        path = creation.path or creation.where
        if creation.gated and self._drop_gate(creation.asked.fs_name, path).code == errno.EAGAIN:
            return  # the next turn fails again, and takes it back then
        self._give_up(creation)

    def _give_up(self, creation: Creation, beside: str = "") -> None:
        asked, result = creation.asked, creation.failure or Result()
        path = creation.path or creation.where
        why = "; ".join(filter(None, (result.status, beside)))
        creation.stage, creation.why = "failed", why
        told = Result.failed(
            result.code,
            f"{path} of {asked.fs_name} was not made: {why}; when that is seen to, run the command again",
        )
        self._act("subtree create", (asked.fs_name, path), lambda: told)

    def _gate_state(self, fs_name: str, path: str) -> str:
        """How its gate stands; empty: there is none."""
        found = self._answer(lambda: self._gates.show(fs_name, path))
        if isinstance(found.answer, GatePage):
            return found.answer.gates[0].state
        if found.code != errno.ENOENT:
            raise RefusalError(found.code, found.status)
        return ""

    def _state(self, job: str) -> JobState:
        """Raises RefusalError."""
        said = self._service.asked(lambda: JobQuestion(job))
        if not isinstance(said, JobState):
            raise RefusalError(errno.EPROTO, "the engine service answered something else")
        return said

    def _act(self, command: str, about: Sequence[str], work: Callable[[], Result]) -> Result:
        """Work on the database, which the audit records."""
        return self._answer(lambda: self._recorded(command, about, work))

    def _require(self, result: Result) -> Result:
        """Raises RefusalError unless it was done."""
        if not result.success:
            raise RefusalError(result.code, result.status)
        return result
