"""Figures over time: `ceph fscrypt history`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class HistoryCommands(Desk):
    """What was measured."""

    @Command("fscrypt history", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def tell_history(
        self,
        what: str,
        _end_positional_: int = 0,
        days: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Tell how a figure was in the last DAYS (30): bytes, subtrees, migrated, oldest-key, mean-key or kms"""
        return self.reply(lambda: self.history.show(what, days), format)
