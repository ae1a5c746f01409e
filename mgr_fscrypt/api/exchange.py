"""What a door hands in, and what it gets back: nothing of a server, nothing of the manager."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..control.persons import Line, line_of
from ..store import Identity

MEDIA_TYPE = "application/vnd.ceph.api.v1.0+json"
"""What the API speaks: Ceph's way to say a version."""
ROOT = "/api/fscrypt"
"""What the paths of all operations begin with, at both doors."""


PAGES = "/ui-fscrypt"
"""Where the pages hang inside of Ceph's dashboard."""


@dataclass(frozen=True)
class Request:
    """One request.

    Args:
        method: GET, HEAD, POST, PUT, DELETE, ...
        path: as it was sent, its escapes still there.
        query: the same, after the question mark.
        headers: by names in lower case.
        body: all of it; a door has refused more than `sizes.LONGEST_BODY` before.
        address: from where it came, for the audit and for limits.
        subject: of the client certificate that the door has checked; empty: there is none.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    address: str = ""
    subject: str = ""


@dataclass(frozen=True)
class Reply:
    """What is sent back; headers beside those that every reply has (`headers.strict`)."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Visitor:
    """Who asks, and from where."""

    identity: Identity
    address: str

    @property
    def who(self) -> str:
        """As the audit names them: the identity's name, how it was proven, and the address."""
        return f"{self.identity.kind}:{self.identity.name}@{self.address}"

    @property
    def person(self) -> str:
        """The identity's name, where it is one person's or program's; empty for whoever followed a link."""
        return "" if self.identity.kind == "link" else self.identity.name

    @property
    def behind(self) -> Line:
        """The identity, or the link, and all who stand behind it."""
        return line_of(self.identity)


@dataclass(frozen=True)
class User:
    """Whom Ceph's dashboard knows.

    Args:
        name: of the user.
        reads: the dashboard lets them read what is CephFS's.
        token: what proves it there.
        by_cookie: a browser sent it by itself, whoever made it do so.
    """

    name: str
    reads: bool
    token: str
    by_cookie: bool
