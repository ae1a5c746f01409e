"""Tenants: `ceph fscrypt tenant ...`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class TenantCommands(Desk):
    """The keys of tenants as they were reported."""

    @Command("fscrypt tenant ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_tenants(
        self,
        fs: MaybeText = None,
        _end_positional_: int = 0,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List tenants whose keys were reported: how old they are, and when they are to be rotated"""
        return self.reply(lambda: self.tenants.listing(fs, after, limit), format)

    @Command("fscrypt tenant adopt", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def adopt_tenant(
        self,
        fs: str,
        dry_run: bool = False,
        report: MaybeText = None,
        inbuf: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Record what a tenant's key was reported to be, by --report or -i FILE; see cephfs-fscrypt key rescan"""
        return self.act(
            "tenant adopt",
            (fs,),
            lambda: self.tenants.adopt(fs, report or inbuf, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )
