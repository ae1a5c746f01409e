"""What all of it depends on: `ceph fscrypt doctor`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeText
from .desk import Desk


class DoctorCommands(Desk):
    """The examination of the cluster."""

    @Command("fscrypt doctor", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def examine(
        self,
        fs: MaybeText = None,
        _end_positional_: int = 0,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Look at all that encryption depends on, of one file system or all: how it stands, and what to do"""
        return self.reply_at_once(lambda: self.doctor.examine(fs), format)
