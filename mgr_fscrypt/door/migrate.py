"""Existing data into encrypted form: `ceph fscrypt migrate ...`."""

from mgr_module import HandleCommandResult

from ..control.migrations import NewMigration
from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class MigrateCommands(Desk):
    """Migrations, as jobs of the engine service."""

    @Command("fscrypt migrate plan", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def plan_migration(
        self,
        fs: str,
        path: str,
        _end_positional_: int = 0,
        master_key: MaybeText = None,
        decrypt: bool = False,
        exclude: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Begin a job that tells what migrating a directory would do, and what is in its way; nothing is changed. --master-key: of the new tree; --decrypt: to plain; --exclude INODE,...: without these"""  # noqa: E501 - ceph -h prints it as it stands
        asked = NewMigration(fs, path, key=master_key, decrypt=decrypt, exclude=exclude)
        return self.act_at_once(
            "migrate plan", (fs, *asked.words), lambda: self.migrations.plan(asked), format
        )

    @Command("fscrypt migrate start", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def start_migration(
        self,
        fs: str,
        path: str,
        _end_positional_: int = 0,
        master_key: MaybeText = None,
        plan: MaybeText = None,
        even_changed: bool = False,
        decrypt: bool = False,
        confirm: MaybeText = None,
        namespace: MaybeText = None,
        offline: bool = False,
        evict: bool = False,
        copy_only: bool = False,
        workers: MaybeNumber = None,
        files_per_second: MaybeNumber = None,
        bytes_per_second: MaybeNumber = None,
        latency_ms: MaybeNumber = None,
        window: MaybeText = None,
        keep_trash: MaybeText = None,
        exclude: MaybeText = None,
        include: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Begin a job that migrates a directory as planned, or goes on with it: copies, has clients gone (--evict: ends their sessions), verifies, exchanges the trees; --plan HASH as `migrate plan` told it; --keep-trash 7d: then the old tree is purged; --exclude INODE,...: leave these out, --include takes that back"""  # noqa: E501 - ceph -h prints it as it stands
        asked = NewMigration(
            fs,
            path,
            key=master_key,
            decrypt=decrypt,
            confirm=confirm,
            plan=plan,
            even_changed=even_changed,
            namespace=namespace,
            offline=offline,
            evict=evict,
            copy_only=copy_only,
            workers=workers,
            files_per_second=files_per_second,
            bytes_per_second=bytes_per_second,
            latency_ms=latency_ms,
            window=window,
            keep_trash=keep_trash,
            exclude=exclude,
            include=include,
        )
        return self.act_at_once(
            "migrate start", (fs, *asked.words), lambda: self.migrations.start(asked), format
        )

    @Command("fscrypt migrate status", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_migration(self, fs: str, path: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Show the newest job about the migration of a directory: how far it is, what it waits for, what came of it"""
        return self.reply_at_once(lambda: self.migrations.status(fs, path), format)

    @Command("fscrypt migrate verify", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def verify_migration(
        self,
        fs: str,
        path: str,
        _end_positional_: int = 0,
        workers: MaybeNumber = None,
        no_key: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Begin a job that compares both trees of a migration, every byte and attribute, and changes nothing; --no-key: the new tree, as it is stored, with what it was when it was verified"""  # noqa: E501 - ceph -h prints it as it stands
        return self.act_at_once(
            "migrate verify",
            (fs, path, *["--no-key"] * no_key),
            lambda: self.migrations.verify(fs, path, workers=workers, no_key=no_key),
            format,
        )

    @Command("fscrypt migrate rollback", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def roll_back_migration(
        self,
        fs: str,
        path: str,
        _end_positional_: int = 0,
        evict: bool = False,
        lose_changes: bool = False,
        workers: MaybeNumber = None,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Begin a job that brings the old tree back, if both are the same; --lose-changes: what was written since the cut-over may be lost"""  # noqa: E501 - ceph -h prints it as it stands
        return self.act_at_once(
            "migrate rollback",
            (fs, path, *["--evict"] * evict, *["--lose-changes"] * lose_changes),
            lambda: self.migrations.rollback(
                fs, path, evict=evict, lose_changes=lose_changes, dry_run=dry_run, workers=workers
            ),
            format,
            dry_run=dry_run,
        )

    @Command("fscrypt migrate purge", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def purge_migration(
        self,
        fs: str,
        path: str,
        _end_positional_: int = 0,
        lose_changes: bool = False,
        lose_excluded: bool = False,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Begin a job that removes the old tree after the cut-over, for good; --lose-changes: what was written into it late may be lost; --lose-excluded: what was left out, too"""  # noqa: E501 - ceph -h prints it as it stands
        return self.act_at_once(
            "migrate purge",
            (fs, path, *["--lose-changes"] * lose_changes, *["--lose-excluded"] * lose_excluded),
            lambda: self.migrations.purge(
                fs, path, lose_changes=lose_changes, lose_excluded=lose_excluded, dry_run=dry_run
            ),
            format,
            dry_run=dry_run,
        )

    @Command("fscrypt migrate cancel", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def cancel_migration(
        self,
        fs: str,
        path: str,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Remove the new tree before the cut-over, by a job; the source is as it was"""
        return self.act_at_once(
            "migrate cancel",
            (fs, path),
            lambda: self.migrations.cancel(fs, path, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )
