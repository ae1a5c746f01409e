"""Commands about one subtree that the engine service carries out, as jobs: what may be asked of it.

The manager holds no key. Where a key manager opens the key, the service does the work; where a person has to, the
answer is the line to run on a client. What comes of the jobs is `follow_up`'s.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..messages.job import JobState, Option
from ..messages.subtree_job import (
    CREATE,
    HOLD,
    LOOK,
    RELEASE,
    REMOVE,
    HoldOptions,
    LookOptions,
    ReleaseOptions,
    RemoveOptions,
    as_options,
)
from .asked import normal_path
from .gate_answers import Preview
from .gates import Gates
from .jobs import JobDetail, Jobs, client_line
from .keys import KeyLine
from .new_subtree import NewSubtree
from .opening import Opening
from .refusal import RefusalError
from .results import Result
from .subtree_detail import SubtreeDetail
from .subtrees import Subtrees
from .text import shell_word
from .values import Simplified


class Creations(Protocol):
    """Who sees to subtrees that are being made; `follow_up.FollowUp` is."""

    def require_free(self, asked: NewSubtree, where: str) -> None:
        """Raises `RefusalError` where another one is being made at that place."""
        ...

    def follow(self, job: JobState, asked: NewSubtree, identifier: str) -> None:
        """A job looks at the place: go on from what it finds."""
        ...


@dataclass(frozen=True)
class Begun:
    """A job that was begun, and the gate that the subtree is to have.

    Args:
        job: as the service has it.
        gate: what setting the gate will change; None: it is not known yet, or there will be none.
    """

    job: JobDetail
    gate: Preview | None

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"job": self.job.simplified(), "gate": None if self.gate is None else self.gate.simplified()}

    def plain(self) -> str:
        """Show it to a person."""
        return "" if self.gate is None else f"its gate:\n{self.gate.plain()}"


class SubtreeJobs:
    """What the commands do.

    Args:
        subtrees, gates: what is known.
        opening: whether the service can open a key.
        jobs: the engine service's.
        answer: does work on the database, and answers in time.
        creations: sees to what is being made.
        own: the entity of the engine service; empty: one whom no gate keeps out.
    """

    def __init__(
        self,
        *,
        subtrees: Subtrees,
        opening: Opening,
        gates: Gates,
        jobs: Jobs,
        answer: Callable[[Callable[[], Result]], Result],
        creations: Creations,
        own: Callable[[], str],
    ) -> None:
        self._subtrees = subtrees
        self._opening = opening
        self._gates = gates
        self._jobs = jobs
        self._answer = answer
        self._creations = creations
        self._own = own

    def create(self, asked: NewSubtree, *, dry_run: bool = False) -> Result:
        """Have a subtree: looked at first, then its gate, then its namespace and its policy, then the register.

        The same once more goes on where it stands, and does nothing where it is done.
        """
        try:
            asked.require_sense()
            where = asked.named_path
            key = self._opening.key(asked.fs_name, str(asked.key))
            self._opening.require(key, lambda opened_by: asked.client_line(key.name, opened_by))
            if asked.path is not None:
                self._require_room(asked.fs_name, where, key)
            gate = self._gate(asked, where)
            if not dry_run:
                self._creations.require_free(asked, where)
        except RefusalError as refusal:
            return refusal.result
        namespace = "" if asked.path is None and asked.namespace is None else asked.namespace_of(where)
        options = as_options(asked.options(key.identifier, namespace, dry_run=True))
        begun = self._jobs.begin(CREATE, asked.fs_name, where, options)
        if not isinstance(begun.answer, JobDetail):
            return begun
        job = begun.answer.job
        answer = Begun(begun.answer, gate)
        about = f"{where} of {asked.fs_name}"
        if dry_run:
            return Result(
                status=f"{about} is looked at, and nothing is changed; `ceph fscrypt job show {job.id}` tells what "
                "would be done",
                answer=answer,
            )
        self._creations.follow(job, asked, key.identifier)
        steps = "made" if asked.unprotected else "gated, and then made"
        return Result(
            status=f"{about} is looked at (job {job.id}), then {steps}; `ceph fscrypt subtree show "
            f"{shell_word(asked.fs_name)} {shell_word(where)}` tells how it stands",
            answer=answer,
            changed=True,
        )

    def release(self, fs_name: str, path: str, *, dry_run: bool = False) -> Result:
        """Have a subtree handed to kernel clients."""
        try:
            known = self._registered(fs_name, path)
            line = client_line("subtree release", known.subtree.path, fs_name)
            if not dry_run:
                self._opening.require_subtree(known, line)
        except RefusalError as refusal:
            return refusal.result
        return self._begun(RELEASE, fs_name, known, as_options(ReleaseOptions(dry_run)), line)

    def hold(self, fs_name: str, path: str, *, copy: bool = False, dry_run: bool = False) -> Result:
        """Have a subtree taken back from kernel clients; with `copy` by writing its files again: that takes its key."""
        try:
            known = self._registered(fs_name, path)
            line = client_line("subtree hold", known.subtree.path, fs_name) + " --copy" * copy
            if copy and not dry_run:
                self._opening.require_subtree(known, line)
        except RefusalError as refusal:
            return refusal.result
        return self._begun(HOLD, fs_name, known, as_options(HoldOptions(copy, dry_run)), line)

    def remove(
        self,
        fs_name: str,
        path: str,
        *,
        contents: bool = False,
        confirm: str | None = None,
        dry_run: bool = False,
    ) -> Result:
        """Have a subtree removed: its top directory, its gate and its record; with `contents` all that lies in it.

        Args:
            fs_name: the file system.
            path: of its top directory.
            contents: also what lies in it.
            confirm: its path once more.
            dry_run: only say what would go.
        """
        try:
            known = self._registered(fs_name, path)
        except RefusalError as refusal:
            return refusal.result
        if not dry_run and confirm != known.subtree.path:
            return Result.failed(
                errno.EPERM,
                f"{known.subtree.path} of {fs_name} would be gone for good, nothing was changed; see what goes with "
                f"--dry-run, then say --confirm {shell_word(known.subtree.path)}",
            )
        options = as_options(RemoveOptions(known.subtree.inode, contents, dry_run))
        return self._begun(REMOVE, fs_name, known, options, "")

    def look(self, fs_name: str, path: str, *, dry_run: bool = False) -> Result:
        """Find out what a directory is that somebody encrypted, and register it."""
        try:
            where = normal_path(path)
            there = self._answer(lambda: self._subtrees.room_for(fs_name, where))
            if not there.success:
                return there
            key = there.answer.key if isinstance(there.answer, SubtreeDetail) else None
            verify = key is not None and key.state == "active" and self._opening.by_managers(key)
        except RefusalError as refusal:
            return refusal.result
        options = as_options(LookOptions(verify=verify, dry_run=dry_run))
        line = f"{client_line('subtree status', where, fs_name)} --facts"
        return self._jobs.begin(LOOK, fs_name, where, options, instead=line)

    def _begun(
        self, kind: str, fs_name: str, known: SubtreeDetail, options: Mapping[str, Option], line: str
    ) -> Result:
        return self._jobs.begin(kind, fs_name, known.subtree.path, options, instead=line)

    def _registered(self, fs_name: str, path: str) -> SubtreeDetail:
        found = self._answer(lambda: self._subtrees.show(fs_name, path))
        if not isinstance(found.answer, SubtreeDetail):
            raise RefusalError(found.code, found.status)
        return found.answer

    def _require_room(self, fs_name: str, path: str, key: KeyLine) -> None:
        there = self._answer(lambda: self._subtrees.room_for(fs_name, path))
        if not there.success:
            raise RefusalError(there.code, there.status)
        if isinstance(there.answer, SubtreeDetail):
            has = there.answer.subtree.key_identifier
            if has != key.identifier:
                raise RefusalError(
                    errno.EEXIST,
                    f"{path} of {fs_name} is registered with the key {has}, nothing was changed; if that is gone, run "
                    f"`ceph fscrypt subtree forget {shell_word(fs_name)} {shell_word(path)}` first",
                )

    def _gate(self, asked: NewSubtree, where: str) -> Preview | None:
        """What its gate would change, where it is known by now where it will lie."""
        if asked.unprotected or asked.path is None:
            return None
        wanted = asked.gate(where, asked.namespace_of(where), self._own())
        found = self._answer(lambda: self._gates.preview(wanted, planned=True))
        if not isinstance(found.answer, Preview):
            raise RefusalError(found.code, found.status)
        return found.answer
