"""Migrations that the engine service carries out, as jobs: what may be asked of it, and how they stand.

The manager holds no key. Where a key manager opens the keys, the service does the work; where a person has to, the
answer is the line to run on a client.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..messages.job import MOST_ON_PAGE, JobPage, JobState, Option
from ..messages.migration_job import (
    CANCEL,
    COMPARE,
    KINDS,
    LOOK,
    MIGRATE,
    PLAN,
    PURGE,
    ROLLBACK,
    WORKERS,
    CancelOptions,
    CompareOptions,
    Options,
    PlanOptions,
    PurgeOptions,
    RollbackOptions,
    StartOptions,
    as_options,
)
from ..messages.service import JobsQuestion
from ..messages.spans import kept_for
from .asked import normal_path
from .cluster import FileSystemMap, existing
from .jobs import JobDetail, Jobs, JobService, client_line
from .opening import Opening
from .paths import parents
from .refusal import RefusalError
from .results import Result
from .subtree_detail import SubtreeDetail
from .subtrees import Subtrees
from .text import shell_word


@dataclass(frozen=True)
class NewMigration:
    """What `ceph fscrypt migrate plan` or `start` was given; None: nothing was said.

    Args:
        fs_name: the file system.
        path: of the directory.
        key: name or identifier of the key of the new tree.
        decrypt: from encrypted to plain.
        confirm: the sentence that `decrypt` wants.
        plan: hash of the plan.
        even_changed: though the tree has changed since.
        namespace: of the new tree's files.
        offline, evict: what is done about others.
        copy_only: stop before the cut-over.
        workers: processes that copy, and that compare.
        files_per_second, bytes_per_second: at most.
        latency_ms, window: see `messages.migration_job.StartOptions`.
        keep_trash: how long the old tree is kept, as `7d`.
        exclude, include: numbers of inodes, with commas: what is left out, and what is not any more.
    """

    fs_name: str
    path: str
    key: str | None = None
    decrypt: bool = False
    confirm: str | None = None
    plan: str | None = None
    even_changed: bool = False
    namespace: str | None = None
    offline: bool = False
    evict: bool = False
    copy_only: bool = False
    workers: int | None = None
    files_per_second: int | None = None
    bytes_per_second: int | None = None
    latency_ms: int | None = None
    window: str | None = None
    keep_trash: str | None = None
    exclude: str | None = None
    include: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """Its path and the options that were said, as a record has them."""
        said = {
            "master-key": self.key,
            "plan": self.plan,
            "namespace": self.namespace,
            "keep-trash": self.keep_trash,
            "exclude": self.exclude,
            "include": self.include,
        }
        words = [word for name, value in said.items() if value is not None for word in (f"--{name}", value)]
        flags = {
            "decrypt": self.decrypt,
            "even-changed": self.even_changed,
            "offline": self.offline,
            "evict": self.evict,
            "copy-only": self.copy_only,
        }
        return (self.path, *words, *(f"--{name}" for name, said in flags.items() if said))

    def require_meant(self, where: str) -> None:
        """Raises `RefusalError` where it would store in the clear what is encrypted, and nobody has typed that."""
        sentence = f"store {where} in the clear"
        if self.decrypt and self.confirm != sentence:
            raise RefusalError(
                errno.EPERM,
                "this stores what is encrypted in the clear, for good, nothing was changed; if that is meant, add: "
                f"--confirm {shell_word(sentence)}",
            )

    def line(self, verb: str, where: str, key_name: str = "") -> str:
        """The line for a client, without what opens the key; and without what is left out, which clients name by
        paths."""
        words = [client_line(f"migrate {verb}", where, self.fs_name)]
        words += ["--decrypt"] * self.decrypt
        words += ["--key-name", shell_word(key_name)] if key_name else []
        if verb == "start":
            # the plan's hash of a job is none of a client's
            words += ["--plan", "HASH"] * (self.plan is not None)
            words += ["--confirm", shell_word(str(self.confirm))] if self.decrypt else []
            words += ["--namespace", shell_word(self.namespace)] if self.namespace else []
            words += ["--keep-trash", shell_word(self.keep_trash)] if self.keep_trash else []
            flags = {"offline": self.offline, "evict": self.evict, "copy-only": self.copy_only}
            words += [f"--{name}" for name, said in flags.items() if said]
        return " ".join(words)

    def options(self, identifier: str) -> StartOptions:
        """What the service is asked for. Raises ValueError."""
        return StartOptions(
            key=identifier,
            decrypt=self.decrypt,
            plan=self.plan or "",
            even_changed=self.even_changed,
            namespace=self.namespace or "",
            offline=self.offline,
            evict=self.evict,
            copy_only=self.copy_only,
            workers=_some(self.workers),
            files_per_second=float(self.files_per_second or 0),
            bytes_per_second=float(self.bytes_per_second or 0),
            latency_ms=self.latency_ms or 0,
            window=self.window or "",
            keep_trash=-1 if self.keep_trash is None else kept_for(self.keep_trash),
            exclude=_inodes(self.exclude),
            include=_inodes(self.include),
        )


def _inodes(said: str | None) -> str:
    return "" if said is None else said.replace(" ", "")


def _some(workers: int | None) -> int:
    return WORKERS if workers is None else workers


class Migrations:
    """What the commands do.

    Args:
        subtrees: the register.
        opening: whether the service can open a key.
        jobs: the engine service's.
        service: is asked for them.
        cluster: the file systems that there are.
        answer: does work on the database, and answers in time.
    """

    def __init__(
        self,
        *,
        subtrees: Subtrees,
        opening: Opening,
        jobs: Jobs,
        service: JobService,
        cluster: FileSystemMap,
        answer: Callable[[Callable[[], Result]], Result],
    ) -> None:
        self._subtrees = subtrees
        self._opening = opening
        self._jobs = jobs
        self._service = service
        self._cluster = cluster
        self._answer = answer

    def plan(self, asked: NewMigration) -> Result:
        """Have a directory looked at: what migrating it would do, and what is in its way."""
        try:
            where, identifier = self._allowed("plan", asked)
            options = as_options(PlanOptions(identifier, asked.decrypt, _inodes(asked.exclude)))
        except RefusalError as refusal:
            return refusal.result
        except ValueError as error:
            return Result.failed(errno.EINVAL, f"{error}; nothing was changed")
        begun = self._jobs.begin(PLAN, asked.fs_name, where, options, instead=asked.line("plan", where))
        if not isinstance(begun.answer, JobDetail):
            return begun
        shown = f"ceph fscrypt job show {begun.answer.job.id}"
        return Result(
            status=f"{where} of {asked.fs_name} is looked at, and nothing is changed; `{shown}` tells what would be "
            "done, and the hash that `migrate start` takes",
            answer=begun.answer,
            changed=True,
        )

    def start(self, asked: NewMigration) -> Result:
        """Have a directory migrated, or go on with it."""
        try:
            where = self._place(asked.fs_name, asked.path)
            asked.require_meant(where)
            where, identifier = self._allowed("start", asked)
            options = asked.options(identifier)
        except RefusalError as refusal:
            return refusal.result
        except ValueError as error:
            return Result.failed(errno.EINVAL, f"{error}; nothing was changed")
        line = asked.line("start", where)
        return self._jobs.begin(MIGRATE, asked.fs_name, where, as_options(options), instead=line)

    def status(self, fs_name: str, path: str) -> Result:
        """The newest job about the migration of a directory."""
        try:
            where = self._directory(fs_name, path)
            found = self._newest(fs_name, where, KINDS)
        except RefusalError as refusal:
            return refusal.result
        if found is None:
            line = client_line("migrate status", where, fs_name)
            return Result.failed(
                errno.ENOENT,
                f"no job knows of a migration of {where} on {fs_name}; one that a client began is shown there: {line}",
            )
        return self._jobs.show(found.id)

    def verify(self, fs_name: str, path: str, *, workers: int | None = None, no_key: bool = False) -> Result:
        """Have both trees compared, by so many processes; with `no_key` the new one with what it was."""
        return self._act(
            COMPARE,
            "verify",
            fs_name,
            path,
            lambda: CompareOptions(_some(workers), no_key),
            " --no-key" * no_key,
            with_key=not no_key,
        )

    def rollback(
        self,
        fs_name: str,
        path: str,
        *,
        evict: bool = False,
        lose_changes: bool = False,
        dry_run: bool = False,
        workers: int | None = None,
    ) -> Result:
        """Have the old tree take its place again; so many processes compare."""
        with_key = not (lose_changes or dry_run)
        words = "".join([" --evict" * evict, " --lose-changes" * lose_changes, " --dry-run" * dry_run])
        return self._act(
            ROLLBACK,
            "rollback",
            fs_name,
            path,
            lambda: RollbackOptions(evict, lose_changes, dry_run, _some(workers)),
            words,
            with_key=with_key,
        )

    def purge(
        self,
        fs_name: str,
        path: str,
        *,
        lose_changes: bool = False,
        lose_excluded: bool = False,
        dry_run: bool = False,
    ) -> Result:
        """Have the old tree removed, for good."""
        options = PurgeOptions(lose_changes, lose_excluded, dry_run)
        said = {"lose-changes": lose_changes, "lose-excluded": lose_excluded, "dry-run": dry_run}
        words = "".join(f" --{name}" for name, each in said.items() if each)
        return self._act(PURGE, "purge", fs_name, path, lambda: options, words)

    def cancel(self, fs_name: str, path: str, *, dry_run: bool = False) -> Result:
        """Have the new tree removed, before the cut-over: by the job that makes it, while there is one."""
        try:
            where = self._place(fs_name, path)
            found = self._newest(fs_name, where, (MIGRATE,))
        except RefusalError as refusal:
            return refusal.result
        if found is not None and found.state not in ("done", "cancelled"):
            return self._jobs.cancel(found.id, dry_run=dry_run)
        return self._act(
            CANCEL, "cancel", fs_name, path, lambda: CancelOptions(dry_run), " --dry-run" * dry_run
        )

    def _act(
        self,
        kind: str,
        verb: str,
        fs_name: str,
        path: str,
        options: Callable[[], Options],
        words: str = "",
        *,
        with_key: bool = False,
    ) -> Result:
        try:
            said: Mapping[str, Option] = as_options(options())
            where = self._place(fs_name, path)
            line = client_line(f"migrate {verb}", where, fs_name) + words
            known = self._registered(fs_name, where) if with_key else None
            if known is not None:
                self._opening.require_subtree(known, line)
        except RefusalError as refusal:
            return refusal.result
        except ValueError as error:
            return Result.failed(errno.EINVAL, f"{error}; nothing was changed")
        return self._jobs.begin(kind, fs_name, where, said, instead=line)

    def _allowed(self, verb: str, asked: NewMigration) -> tuple[str, str]:
        """The directory, and the identifier of the key; empty where it is decrypted. Raises RefusalError."""
        where = self._place(asked.fs_name, asked.path)
        known = self._registered(asked.fs_name, where)
        if asked.decrypt:
            if asked.key is not None:
                raise RefusalError(
                    errno.EINVAL, "--decrypt takes no --master-key: the tree has one; nothing was changed"
                )
            if known is not None:
                self._opening.require_subtree(known, asked.line(verb, where))
            return where, ""
        if asked.key is None:
            raise RefusalError(
                errno.EINVAL,
                "name the key by --master-key KEY (its name or 32 hexadecimal digits), or say --decrypt; nothing was "
                "changed",
            )
        key = self._opening.key(asked.fs_name, asked.key)
        line = asked.line(verb, where, key.name)
        self._opening.require(key, lambda opened_by: f"{line} --open {opened_by}")
        if known is not None and known.key is not None and known.subtree.key_identifier != key.identifier:
            self._opening.require(known.key, lambda opened_by: f"{line} --open kms --open {opened_by}")
        return where, key.identifier

    def _place(self, fs_name: str, path: str) -> str:
        """The directory; none in a subtree, whose name no record of a job may hold. Raises RefusalError."""
        where = self._directory(fs_name, path)
        for above in parents(where):
            if self._registered(fs_name, above) is not None:
                raise RefusalError(
                    errno.EINVAL,
                    f"it lies in the encrypted subtree {above} of {fs_name}, which is migrated as a whole; nothing was "
                    "changed",
                )
        return where

    def _directory(self, fs_name: str, path: str) -> str:
        existing(self._cluster, fs_name)
        where = normal_path(path)
        if where == "/":
            raise RefusalError(
                errno.EINVAL,
                "the root of a file system has nothing beside it: name a directory in it; nothing was changed",
            )
        return where

    def _registered(self, fs_name: str, path: str) -> SubtreeDetail | None:
        found = self._answer(lambda: self._subtrees.show(fs_name, path))
        if isinstance(found.answer, SubtreeDetail):
            return found.answer
        if found.code != errno.ENOENT:
            raise RefusalError(found.code, found.status)
        return None

    def _newest(self, fs_name: str, path: str, kinds: tuple[str, ...]) -> JobState | None:
        """The job about a directory that was asked for last. Raises RefusalError."""
        fscid = existing(self._cluster, fs_name).fscid
        after: str | None = None
        while True:
            said = self._service.asked(lambda after=after: JobsQuestion(after, MOST_ON_PAGE))  # type: ignore[misc] # each its own
            if not isinstance(said, JobPage):
                raise RefusalError(errno.EPROTO, "the engine service answered something else")
            for job in said.jobs:
                wish = job.wish
                if wish.kind in kinds and wish.kind != LOOK and (wish.fscid, wish.path) == (fscid, path):
                    return job
            if said.following is None:
                return None
            after = said.following
