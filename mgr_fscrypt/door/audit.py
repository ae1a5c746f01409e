"""What was done through the manager: `ceph fscrypt audit ...`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class AuditCommands(Desk):
    """Records of acts."""

    @Command("fscrypt audit ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_acts(
        self,
        _end_positional_: int = 0,
        after: MaybeNumber = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List what was done through the manager, newest first; --after NUMBER shows older records"""
        return self.reply(lambda: self.audit.listing(after, limit), format)

    @Command("fscrypt audit verify", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def verify_acts(
        self,
        _end_positional_: int = 0,
        after: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Check that no record was changed or dropped: all, or from a known one (--after NUMBER:DIGEST) on"""
        return self.reply(lambda: self.audit.verify(after), format)
