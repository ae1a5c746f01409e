"""Who is connected: `ceph fscrypt client ...`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class ClientCommands(Desk):
    """Client sessions, and what they can do to encrypted subtrees."""

    @Command("fscrypt client ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_clients(
        self,
        fs: MaybeText = None,
        _end_positional_: int = 0,
        entity: MaybeText = None,
        verdict: MaybeText = None,
        text: MaybeText = None,
        sort: MaybeText = None,
        reverse: bool = False,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List client sessions, and what each can do to encrypted subtrees: all, or those on a file system, of an entity, of a verdict (harmful, unknown, blind, harmless), with a text in host, software or mounted directory; --sort session, entity or since, --reverse; --after shows the next page"""  # noqa: E501 - ceph -h prints it as it stands
        filters = {"entity": entity, "verdict": verdict, "text": text}
        self.observer.refresh()
        return self.reply(
            lambda: self.audience.listing(fs, after, limit, filters=filters, sort=sort, reverse=reverse),
            format,
        )

    @Command("fscrypt client explain", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def explain_client(
        self,
        session: int,
        fs: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Tell what a session is, what it can do to which encrypted subtree and why, and what to do about it"""
        self.observer.refresh()
        return self.reply(lambda: self.audience.explain(session, fs), format)
