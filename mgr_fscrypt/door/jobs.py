"""Long work: `ceph fscrypt job ...`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class JobCommands(Desk):
    """Jobs of the engine service."""

    @Command("fscrypt job ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_jobs(
        self,
        _end_positional_: int = 0,
        kind: MaybeText = None,
        state: MaybeText = None,
        reverse: bool = False,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List jobs of the engine service, newest first: all, or those of a kind, in a state; --reverse: oldest first; --after shows the next page"""  # noqa: E501 - ceph -h prints it as it stands
        filters = {"kind": kind, "state": state}
        return self.reply_at_once(
            lambda: self.jobs.listing(after, limit, filters=filters, reverse=reverse), format
        )

    @Command("fscrypt job show", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_job(self, job: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Show one job (32 hex digits): how far it is, what it waits for, what came of it"""
        return self.reply_at_once(lambda: self.jobs.show(job), format)

    @Command("fscrypt job pause", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def pause_job(
        self,
        job: str,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Have a job stop at its next step, until it is resumed"""
        return self.act_at_once(
            "job pause", (job,), lambda: self.jobs.pause(job, dry_run=dry_run), format, dry_run=dry_run
        )

    @Command("fscrypt job resume", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def resume_job(
        self,
        job: str,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Have a job go on from where it was: one that is paused, that waits, or that failed"""
        return self.act_at_once(
            "job resume", (job,), lambda: self.jobs.resume(job, dry_run=dry_run), format, dry_run=dry_run
        )

    @Command("fscrypt job cancel", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def cancel_job(
        self,
        job: str,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """End a job for good; it puts away what it left half done"""
        return self.act_at_once(
            "job cancel", (job,), lambda: self.jobs.cancel(job, dry_run=dry_run), format, dry_run=dry_run
        )

    @Command("fscrypt job forget", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def forget_job(
        self,
        job: str,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Drop the record of a job that is over, and the health warning about one that failed"""
        return self.act_at_once(
            "job forget", (job,), lambda: self.jobs.forget(job, dry_run=dry_run), format, dry_run=dry_run
        )
