"""What was done through the manager: `ceph fscrypt audit ...`."""

from mgr_module import HandleCommandResult

from ..control.audit import ActFilter
from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class AuditCommands(Desk):
    """Records of acts."""

    @Command("fscrypt audit ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_acts(
        self,
        _end_positional_: int = 0,
        who: MaybeText = None,
        command: MaybeText = None,
        refused: bool = False,
        reverse: bool = False,
        after: MaybeNumber = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List what was done through the manager, newest first: all, or what somebody did (--who: a text in the name), what a command did (--command 'key destruction'), what was refused; --reverse: oldest first; --after NUMBER goes on"""  # noqa: E501 - ceph -h prints it as it stands
        wanted = ActFilter(who, command, refused=True if refused else None)
        return self.reply(lambda: self.audit.listing(after, limit, wanted=wanted, reverse=reverse), format)

    @Command("fscrypt audit verify", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def verify_acts(
        self,
        _end_positional_: int = 0,
        after: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Check that no record was changed or dropped: all, or from a known one (--after NUMBER:DIGEST) on"""
        return self.reply(lambda: self.audit.verify(after), format)
