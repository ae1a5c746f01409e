"""Two people for the end of a key: `ceph fscrypt key destruction ...`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class DestructionCommands(Desk):
    """One asks, another one approves."""

    @Command("fscrypt key destruction request", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def request_destruction(self, fs: str, key: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Ask for the end of a key where that takes two people (option two_people); by the API alone, which knows who asks"""  # noqa: E501 - ceph -h prints it as it stands
        return self.act(
            "key destruction request",
            (fs, key),
            lambda: self.destructions.request(fs, key, self.who, self.behind),
            format,
        )

    @Command("fscrypt key destruction approve", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def approve_destruction(self, fs: str, key: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Approve of the end of a key that somebody else asked for; by the API alone, which knows who approves"""
        return self.act(
            "key destruction approve",
            (fs, key),
            lambda: self.destructions.approve(fs, key, self.who, self.behind),
            format,
        )

    @Command("fscrypt key destruction withdraw", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def withdraw_destruction(self, fs: str, key: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Take back that the end of a key was asked for, or approved"""
        return self.act(
            "key destruction withdraw", (fs, key), lambda: self.destructions.withdraw(fs, key), format
        )

    @Command("fscrypt key destruction ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_destructions(
        self,
        fs: MaybeText = None,
        _end_positional_: int = 0,
        state: MaybeText = None,
        sort: MaybeText = None,
        reverse: bool = False,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List keys whose end was asked for, by whom, and who approved: all, of a file system, in a state (waiting, approved); --sort key or requested, --reverse; --after shows the next page"""  # noqa: E501 - ceph -h prints it as it stands
        return self.reply(
            lambda: self.destructions.listing(fs, after, limit, state=state, sort=sort, reverse=reverse),
            format,
        )
