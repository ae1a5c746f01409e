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
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List registered subtrees, of one file system or all; --after shows the next page"""
        return self.reply(lambda: self.subtrees.listing(fs, after, limit), format)

    @Command("fscrypt subtree adopt", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def adopt_subtree(
        self,
        fs: str,
        path: str,
        dry_run: bool = False,
        report: MaybeText = None,
        inbuf: MaybeText = None,
    ) -> HandleCommandResult:
        """Register a subtree that exists, from a report of it (no secret) given by --report or -i FILE"""
        return self.reply(lambda: self.subtrees.adopt(fs, path, report or inbuf, dry_run=dry_run))

    @Command("fscrypt subtree forget", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def forget_subtree(self, fs: str, path: str, dry_run: bool = False) -> HandleCommandResult:
        """Drop a subtree from the register; its files and keys stay as they are"""
        return self.reply(lambda: self.subtrees.forget(fs, path, dry_run=dry_run))
