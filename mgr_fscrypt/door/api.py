"""Who may use the API, and where it is: `ceph fscrypt api ...`."""

from mgr_module import HandleCommandResult

from ..control import Result
from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class ApiCommands(Desk):
    """The doors of the API, and those who may go through."""

    @Command("fscrypt api show", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_api(self, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Show where the API is served, and the fingerprint of its certificate"""
        return self.reply_at_once(lambda: Result(answer=self.serving.doors()), format)

    @Command("fscrypt api token create", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def create_token(
        self,
        name: str,
        role: str,
        _end_positional_: int = 0,
        tenant: MaybeText = None,
        expires: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Make a token for the API and show it, once: ROLE read-only, operator, key-admin or security-officer; --expires 90d"""  # noqa: E501 - ceph -h prints it as it stands
        return self.act(
            "api token create",
            (name, role, *_words(tenant)),
            lambda: self.access.create_token(name, role, tenant, expires, self.behind),
            format,
        )

    @Command("fscrypt api certificate add", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def add_certificate(
        self,
        name: str,
        subject: str,
        role: str,
        _end_positional_: int = 0,
        tenant: MaybeText = None,
        expires: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Let whoever shows a client certificate for SUBJECT (CN=node1,O=Example) use the API as ROLE"""
        return self.act(
            "api certificate add",
            (name, subject, role, *_words(tenant)),
            lambda: self.access.add_certificate(name, subject, role, tenant, expires, self.behind),
            format,
        )

    @Command("fscrypt api user add", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def add_user(
        self,
        user: str,
        role: str,
        _end_positional_: int = 0,
        tenant: MaybeText = None,
        expires: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Let a user of Ceph's dashboard use the API there as ROLE; without, the dashboard's own right to read CephFS is read-only"""  # noqa: E501 - ceph -h prints it as it stands
        return self.act(
            "api user add",
            (user, role, *_words(tenant)),
            lambda: self.access.add_user(user, role, tenant, expires, self.behind),
            format,
        )

    @Command("fscrypt api access ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_access(
        self,
        _end_positional_: int = 0,
        role: MaybeText = None,
        kind: MaybeText = None,
        tenant: MaybeText = None,
        sort: MaybeText = None,
        reverse: bool = False,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List who may use the API, as what, until when, when they last did, and who let them in: all, or those of a role, of a kind (token, certificate, dashboard), of a tenant; --sort name, created, expires or used, --reverse; --after shows the next page"""  # noqa: E501 - ceph -h prints it as it stands
        filters = {"role": role, "kind": kind, "tenant": tenant}
        return self.reply(
            lambda: self.access.listing(after, limit, filters=filters, sort=sort, reverse=reverse), format
        )

    @Command("fscrypt api access revoke", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def revoke_access(self, name: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """End an access to the API at once: a token, a certificate, or dashboard.USER"""
        return self.act("api access revoke", (name,), lambda: self.access.revoke(name), format)

    @Command("fscrypt api session ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_sessions(
        self,
        _end_positional_: int = 0,
        role: MaybeText = None,
        kind: MaybeText = None,
        tenant: MaybeText = None,
        sort: MaybeText = None,
        reverse: bool = False,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List sessions of the pages, and one-time links that wait for their use: all, or those of a role, of a kind (token, link), of a tenant; --sort name, begun or used, --reverse; --after shows the next page"""  # noqa: E501 - ceph -h prints it as it stands
        filters = {"role": role, "kind": kind, "tenant": tenant}
        return self.reply_at_once(
            lambda: self.sessions.listing(after, limit, filters=filters, sort=sort, reverse=reverse), format
        )

    @Command("fscrypt api session revoke", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def revoke_session(self, name: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """End a session of the pages at once, or let nobody follow a one-time link"""
        return self.act_at_once("api session revoke", (name,), lambda: self.sessions.revoke(name), format)

    @Command("fscrypt api login", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def make_link(self, role: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Give a link to the pages that logs in once, within 5 minutes, as ROLE"""
        return self.act_at_once(
            "api login",
            (role,),
            lambda: self.access.link(role, self.serving.doors().address, self.behind),
            format,
        )


def _words(tenant: str | None) -> tuple[str, ...]:
    return () if tenant is None else ("--tenant", tenant)
