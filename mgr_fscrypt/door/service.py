"""The engine service: `ceph fscrypt service ...`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeText
from .desk import Desk


class ServiceCommands(Desk):
    """The engine service."""

    @Command("fscrypt service status", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_service(self, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Show the engine service: whether it works, the keys in its memory, and how it met key managers last"""
        return self.reply_at_once(self.service.status, format)
