"""What is encrypted: `ceph fscrypt status` and `ceph fscrypt subtree ...`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class SubtreeCommands(Desk):
    """The whole, and encrypted subtrees."""

    @Command("fscrypt status", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_status(self, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Show what is encrypted on each file system"""
        return self.reply(self.overview, format)

    @Command("fscrypt subtree ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_subtrees(
        self,
        fs: MaybeText = None,
        _end_positional_: int = 0,
        mode: MaybeText = None,
        master_key: MaybeText = None,
        tenant: MaybeText = None,
        state: MaybeText = None,
        below: MaybeText = None,
        text: MaybeText = None,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List registered subtrees: all, or those of a mode (engine, kernel), a key, a tenant, a state of their key, below a directory, with a text in their path; --after shows the next page"""  # noqa: E501 - ceph -h prints it as it stands
        # not --key: the program `ceph` takes that for itself
        filters = {
            "mode": mode,
            "master-key": master_key,
            "tenant": tenant,
            "state": state,
            "below": below,
            "text": text,
        }
        return self.reply(lambda: self.subtrees.listing(fs, after, limit, filters=filters), format)

    @Command("fscrypt subtree show", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_subtree(self, fs: str, path: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Show what is known of one registered subtree, and of its key"""
        return self.reply(lambda: self.subtrees.show(fs, path), format)

    @Command("fscrypt subtree adopt", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def adopt_subtree(
        self,
        fs: str,
        path: str,
        dry_run: bool = False,
        report: MaybeText = None,
        inbuf: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Register a subtree that exists, from a report of it (no secret) given by --report or -i FILE"""
        return self.act(
            "subtree adopt",
            (fs, path),
            lambda: self.subtrees.adopt(fs, path, report or inbuf, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )

    @Command("fscrypt subtree verify", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def verify_subtree(
        self,
        fs: str,
        path: str,
        rate: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Begin a job that looks for damage in a registered subtree, with its key, and changes nothing; --rate: entries a second at most"""  # noqa: E501 - ceph -h prints it as it stands
        return self.act_at_once(
            "subtree verify", (fs, path), lambda: self.jobs.verify(fs, path, rate=rate), format
        )

    @Command("fscrypt subtree forget", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def forget_subtree(
        self,
        fs: str,
        path: str,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Drop a subtree from the register; its files and keys stay as they are"""
        return self.act(
            "subtree forget",
            (fs, path),
            lambda: self.subtrees.forget(fs, path, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )
