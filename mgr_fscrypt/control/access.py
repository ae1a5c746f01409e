"""Who may use the API, as what, and how they prove who they are.

A token is 256 random bits, so its SHA-256 is as good as a slow hash: there is nothing to guess. It is shown once, and
kept nowhere.
"""

import errno
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from ..messages.spans import kept_for
from ..store import Identity, Order, Spot
from .filters import chosen
from .paging import Orders, cut, more, order_of, page_size, position
from .persons import LONGEST, OF_THE_DASHBOARD, UNKNOWN, Line
from .refusal import RefusalError
from .results import Result
from .text import moment, one_line, shell_word, table
from .values import Simplified

ROLES = ("read-only", "operator", "key-admin", "security-officer")
"""What one may do: look; and work with subtrees, jobs and migrations; and with keys, tenants and key managers; all."""
KINDS = ("token", "certificate", "dashboard")
"""What proves who somebody is."""
ORDERS: Orders = {"name": str, "created": int, "expires": int, "used": int}
PREFIX = "fscrypt_"
"""What tokens begin with, so that programs that look for leaked secrets know one."""
USUAL = "90d"
"""How long an access is good where nothing else is said."""
LINKS = "login."
"""What names of links begin with, and of the sessions that they begin: nobody else is called so."""
LINK_SECONDS = 300.0
"""How long a link for a login is good."""
_MOST_LINKS = 100
_ALL = 100_000
"""More identities than anybody has."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_LONGEST_PROOF = 1000


class IdentityStore(Protocol):
    """Where identities are kept; `store.IdentityTable` tells what each call means."""

    def add(self, identity: Identity) -> bool:
        """Record one."""
        ...

    def drop(self, name: str) -> bool:
        """Forget one."""
        ...

    def met(self, name: str, at: int) -> None:
        """Note a use."""
        ...

    def page(
        self,
        after: Spot | None,
        limit: int,
        wanted: Mapping[str, str] = ...,
        order: Order = ...,
    ) -> Sequence[Identity]:
        """List."""
        ...


@dataclass(frozen=True)
class NewToken:
    """A token, in the only answer that ever shows it."""

    name: str
    role: str
    tenant: str
    expires: int
    token: str = field(repr=False)

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return asdict(self)

    def plain(self) -> str:
        """Show it to a person: nothing but the token."""
        return self.token


@dataclass(frozen=True)
class Link:
    """A link that logs in once."""

    link: str = field(repr=False)
    expires: int

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return asdict(self)

    def plain(self) -> str:
        """Show it to a person: nothing but the link."""
        return self.link


@dataclass(frozen=True)
class AccessPage:
    """A page of the list of those who may use the API."""

    identities: tuple[Identity, ...]
    following: str | None
    filtered: bool = field(default=False, compare=False)

    def simplified(self) -> Simplified:
        """Give plain JSON types; of a token nothing is told of what proves it."""
        return {"access": [_shown(each) for each in self.identities], "following": self.following}

    def plain(self) -> str:
        """Show it to a person."""
        if not self.identities and self.filtered:
            return "No access fits."
        if not self.identities:
            return "Nobody may use the API."
        rows = (
            (
                each.name,
                each.kind,
                each.role,
                each.tenant or "all",
                moment(each.expires) if each.expires else "never",
                moment(each.used) if each.used else "never",
                _let_in_by(each),
                _subject(each),
            )
            for each in self.identities
        )
        shown = table(
            ("NAME", "KIND", "ROLE", "TENANT", "EXPIRES", "LAST USED", "CREATED BY", "SUBJECT"), rows
        )
        return shown if self.following is None else f"{shown}\n{more(self.following)}"


@dataclass(frozen=True)
class Doors:
    """How the API stands.

    Args:
        address: where its own server listens; empty: it does not.
        fingerprint: SHA-256 of the certificate that it shows, in hexadecimal.
        trouble: why it does not listen, or not as it should; and what to do.
        dashboard: whether it is served inside of Ceph's dashboard.
    """

    address: str = ""
    fingerprint: str = ""
    trouble: str = ""
    dashboard: bool = False

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return asdict(self)

    def plain(self) -> str:
        """Show it to a person."""
        lines = [f"own server: {self.address or 'does not listen'}"]
        if self.fingerprint:
            lines.append(f"  its certificate's SHA-256: {self.fingerprint}")
        if self.trouble:
            lines.append(f"  {one_line(self.trouble)}")
        lines.append(
            f"inside of Ceph's dashboard: {'while it is enabled, below /api/fscrypt' if self.dashboard else 'no'}"
        )
        return "\n".join(lines)


class Serving(Protocol):
    """What serves the API."""

    def run(self) -> None:
        """Serve it as the options say, until `stop`."""
        ...

    def stop(self) -> None:
        """End it."""
        ...

    def hurry(self) -> None:
        """Options were changed."""
        ...

    def checks(self) -> Simplified:
        """Give the health check, as ceph-mgr takes it."""
        ...

    def doors(self) -> Doors:
        """How it stands."""
        ...


class Access:
    """Lets people and programs use the API, and knows them again.

    Args:
        store: where identities are kept; used on the database's thread alone.
        clock: seconds since the epoch.
        answer: does work on that thread, and waits.
    """

    def __init__(
        self,
        *,
        store: IdentityStore,
        clock: Callable[[], float],
        answer: Callable[[Callable[[], Result]], Result],
    ) -> None:
        self._store = store
        self._clock = clock
        self._answer = answer
        # one manager is active at a time, and all changes come through it: what was read stays true until one is made
        self._known: dict[tuple[str, str], Identity] | None = None
        self._met: dict[str, int] = {}
        self._links: dict[str, Identity] = {}

    def create_token(self, name: str, role: str, tenant: str | None, expires: str | None, by: Line) -> Result:
        """Let whoever has a new token use the API.

        Args:
            name: of the token.
            role: what it may do.
            tenant: whose things alone; None: all.
            expires: a length of time, or "never"; None: `USUAL`.
            by: the line of who lets them in.
        """
        token = PREFIX + secrets.token_urlsafe(32)
        added = self._add(name, "token", digest(token), role, tenant, expires, by)
        if isinstance(added, Result):
            return added
        told = f"the token {name} is good {_until(added.expires)}, and is not shown again"
        answer = NewToken(name, role, added.tenant, added.expires, token)
        return Result(status=told, answer=answer, changed=True)

    def add_certificate(
        self, name: str, subject: str, role: str, tenant: str | None, expires: str | None, by: Line
    ) -> Result:
        """Let whoever has a certificate of a trusted authority for that subject use the API; see `create_token`."""
        return self._told(self._add(name, "certificate", subject, role, tenant, expires, by))

    def add_user(self, user: str, role: str, tenant: str | None, expires: str | None, by: Line) -> Result:
        """Let a user of Ceph's dashboard do what a role may; see `create_token`."""
        return self._told(self._add(OF_THE_DASHBOARD + user, "dashboard", user, role, tenant, expires, by))

    def revoke(self, name: str) -> Result:
        """End an access, at once."""
        if not self._store.drop(name):
            return Result.failed(
                errno.ENOENT, f"{_named(name)} has no access; see `ceph fscrypt api access ls`"
            )
        self._known = None
        return Result(status=f"{name} has no access any more", changed=True)

    def listing(
        self,
        after: str | None,
        limit: int | None,
        *,
        filters: Mapping[str, str | None] | None = None,
        sort: str | None = None,
        reverse: bool = False,
    ) -> Result:
        """List those who may use the API. Arguments as `Subtrees.listing`.

        Args:
            filters: `role`, `kind` and `tenant`.
            sort: one of `ORDERS`; what never expires comes last, who was never met first.
        """
        try:
            limit = page_size(limit)
            order = order_of(sort, ORDERS, reverse=reverse)
            wanted = chosen(filters or {}, {"role": ROLES, "kind": KINDS})
            start = position(after, order, ORDERS)
        except RefusalError as refusal:
            return refusal.result
        found = self._store.page(start, limit + 1, wanted, order)

        def spot(line: Identity) -> Spot:
            return Spot(0, line.name, getattr(line, order.column) if order.column else None)

        shown, next_page = cut(found, limit, spot, order, ORDERS)
        return Result(answer=AccessPage(tuple(shown), next_page, filtered=bool(wanted)))

    def link(self, role: str, address: str, by: Line) -> Result:
        """Give a link that logs in once, as nobody in particular.

        Args:
            role: what they may do.
            address: of the server; empty: there is none.
            by: the line of who gives it.
        """
        if role not in ROLES:
            return _no_role(role)
        if len(by) > LONGEST:
            return _too_far(by)
        if not address:
            return Result.failed(
                errno.EPERM,
                "the API's own server does not listen; switch it on with "
                "`ceph config set mgr mgr/fscrypt/api_server true`, and see `ceph fscrypt api show`",
            )
        now = self._clock()
        for proof, each in list(self._links.items()):
            if each.expires <= now:
                # not a new dict: another thread takes links out of this one
                self._links.pop(proof, None)
        if len(self._links) >= _MOST_LINKS:
            return Result.failed(
                errno.EBUSY, f"{_MOST_LINKS} links wait for their use; try again in 5 minutes"
            )
        secret = secrets.token_urlsafe(32)
        until = int(now + LINK_SECONDS)
        proof = digest(secret)
        # a name of its own: whom its session lets in is known by it
        name = LINKS + proof[:8]
        self._links[proof] = Identity(name, "link", proof, role, "", int(now), until, created_by=" ".join(by))
        told = f"good once, until {moment(until)}"
        return Result(status=told, answer=Link(f"{address}/login?link={secret}", until))

    def followed(self, secret: str) -> Identity | None:
        """Whom a link logs in; it is used up by that."""
        found = self._links.pop(digest(secret), None)
        return None if found is None or found.expires <= self._clock() else found

    def waiting(self) -> Sequence[Identity]:
        """Whom links log in that nobody followed yet."""
        now = self._clock()
        # a copy: other threads make links and follow them
        return [each for each in list(self._links.values()) if each.expires > now]

    def withdraw(self, name: str) -> bool:
        """Let nobody follow a link; False: there is none of that name."""
        proofs = [each.proof for each in self.waiting() if each.name == name]
        withdrawn = [self._links.pop(proof, None) for proof in proofs]
        return any(withdrawn)

    def known(self, kind: str, proof: str) -> Identity | None:
        """Who proves to be somebody; None: nobody who may use the API now.

        Raises:
            RefusalError: the database does not answer.
        """
        found = self._found(kind, proof)
        if found is not None:
            self._met[found.name] = int(self._clock())
        return found

    def lets_in(self, identity: Identity) -> bool:
        """Has somebody who logged in access still? What was revoked, or is over, ends its sessions.

        Raises:
            RefusalError: the database does not answer.
        """
        return identity.kind == "link" or self._found(identity.kind, identity.proof) == identity

    def _found(self, kind: str, proof: str) -> Identity | None:
        known = self._known
        if known is None:
            known = self._read()
        found = known.get((kind, proof))
        return None if found is None or 0 < found.expires <= self._clock() else found

    def note(self) -> Result:
        """Keep when they were met; on the database's thread."""
        met, self._met = self._met, {}
        for name, at in list(met.items()):
            self._store.met(name, at)
        return Result()

    @property
    def met(self) -> bool:
        """Is there something to keep?"""
        return bool(self._met)

    def _read(self) -> dict[tuple[str, str], Identity]:
        found: dict[tuple[str, str], Identity] = {}

        def read() -> Result:
            found.update({(each.kind, each.proof): each for each in self._store.page(None, _ALL)})
            # on the thread of all changes: none comes between, so what was revoked is not kept
            self._known = found
            return Result()

        result = self._answer(read)
        if not result.success:
            raise RefusalError(result.code, result.status)
        return found

    def _told(self, added: Identity | Result) -> Result:
        if isinstance(added, Result):
            return added
        told = f"{added.name} may use the API as {added.role} {_until(added.expires)}"
        return Result(status=told, changed=True)

    def _add(
        self, name: str, kind: str, proof: str, role: str, tenant: str | None, expires: str | None, by: Line
    ) -> Identity | Result:
        if _NAME.fullmatch(name) is None:
            return Result.failed(
                errno.EINVAL, "a name has letters, digits and any of . _ @ -, 64 at most; nothing was changed"
            )
        if name.startswith(LINKS):
            return Result.failed(
                errno.EINVAL, f"names that begin with {LINKS} are those of links; nothing was changed"
            )
        if len(by) > LONGEST:
            return _too_far(by)
        if role not in ROLES:
            return _no_role(role)
        if not proof.isprintable() or not 0 < len(proof) <= _LONGEST_PROOF:
            return Result.failed(errno.EINVAL, "a subject is printable text, and some; nothing was changed")
        if tenant is not None and not (tenant and tenant.isprintable()):
            return Result.failed(
                errno.EINVAL, "a tenant's name is printable text, and some; nothing was changed"
            )
        try:
            seconds = duration(USUAL if expires is None else expires)
        except RefusalError as refusal:
            return refusal.result
        now = int(self._clock())
        until = now + seconds if seconds else 0
        added = Identity(name, kind, proof, role, tenant or "", now, until, created_by=" ".join(by))
        if not self._store.add(added):
            return Result.failed(
                errno.EEXIST,
                f"{name}, or what proves it, has access already; see `ceph fscrypt api access ls`, and revoke it first",
            )
        self._known = None
        return added


def digest(secret: str) -> str:
    """What is kept of a secret: its SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def duration(text: str) -> int:
    """Seconds of `90s`, `15m`, `12h`, `7d` or `4w`; `never` is 0. Raises `RefusalError`."""
    try:
        return kept_for(text)
    except ValueError as error:
        raise RefusalError(
            errno.EINVAL,
            "a time is a number with s, m, h, d or w, such as 90d, or never; nothing was changed",
        ) from error


def _no_role(role: str) -> Result:
    return Result.failed(errno.EINVAL, f"there is no role {_named(role)}; use one of {', '.join(ROLES)}")


def _too_far(by: Line) -> Result:
    return Result.failed(
        errno.EPERM,
        f"{by[0]} was let in by way of {len(by) - 1} others, and so lets nobody in, nothing was changed; "
        "ask one who is nearer to the command line (`ceph fscrypt api access ls` has who let whom in)",
    )


def _named(name: str) -> str:
    return shell_word(name[:100])


def _until(expires: int) -> str:
    return f"until {moment(expires)}" if expires else "without an end"


def _subject(identity: Identity) -> str:
    return "" if identity.kind == "token" else identity.proof


def _let_in_by(identity: Identity) -> str:
    nearest = identity.created_by.partition(" ")[0]
    return "not known" if nearest == UNKNOWN else nearest or "the command line"


def _shown(identity: Identity) -> Simplified:
    shown = asdict(identity)
    del shown["proof"]
    return shown | {"subject": _subject(identity), "created_by": identity.created_by.split()}
