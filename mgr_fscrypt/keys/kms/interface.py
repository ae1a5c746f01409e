"""What every key manager can do for us: wrap a secret under a bound context, and unwrap it.

That is the one thing we ask, so that managers which never release a key serve as well as those that store secrets.
What else one can do is told by its flags, and nothing is offered to people that a flag does not promise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

SIGNING_KEY = "signing-key"
"""The option that names the key which signs: another one than that which wraps."""
Context = Mapping[str, str]
"""What a wrapped secret is bound to: it is unwrapped with exactly the same words only."""


@dataclass(frozen=True)
class Flags:
    """What a kind of key manager can do beyond wrapping.

    Attributes:
        rotate: make a new version of its key, with which everything is wrapped from then on.
        rewrap: turn what an old version wrapped into what the newest one wraps, without the secret leaving it.
        destroy: destroy its key, so that nothing can be unwrapped any more.
        versions: it tells by which version something was wrapped.
        stores: it keeps something for each wrapped secret, until that is to be forgotten.
        sign: sign with a key of its own that never leaves it, and tell later whether it did; where the option
            `SIGNING_KEY` names one.
        proven: it was tested against the real service; else against a stand-in only, and people are told so.
    """

    rotate: bool = False
    rewrap: bool = False
    destroy: bool = False
    versions: bool = False
    stores: bool = False
    sign: bool = False
    proven: bool = True


@dataclass(frozen=True)
class Sealed:
    """A wrapped secret, as its key manager gave it. Holds nothing secret.

    Attributes:
        blob: what `unwrap` needs, of this kind of key manager's own form.
        version: of the manager's key, in its own words; empty where it has none.
    """

    blob: bytes
    version: str = ""


@dataclass(frozen=True)
class Settings:
    """One key of one key manager, as an administrator names it. Holds nothing secret.

    Attributes:
        name: what we call it.
        kind: which kind of key manager: a name in `kinds`.
        address: where it is: a URL, `host:port`, or a library's file, as its kind wants it.
        key: which of its keys.
        credentials: name of the file with what opens it, in the directory for them on the host that uses it.
        options: what else its kind knows, such as `mount` or `region`.
    """

    name: str
    kind: str
    address: str
    key: str
    credentials: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


class Kms(Protocol):
    """One key of one key manager, reached. A context manager. Calls may come from several threads.

    Every call raises a `KmsError` (see `errors`) within the timeout that it was opened with, and never shows a secret.
    """

    @property
    def flags(self) -> Flags:
        """What it can do."""

    def wrap(self, secret: bytes, context: Context) -> Sealed:
        """Wrap up to 64 bytes."""

    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        """The secret. Raises `KmsContextError` where context or blob are not those of `wrap`."""

    def rewrap(self, sealed: Sealed, context: Context) -> Sealed:
        """The same secret under the newest version. Where `flags.rewrap`."""

    def forget(self, sealed: Sealed) -> None:
        """It is not needed any more: remove what the key manager keeps for it, if it keeps anything."""

    def rotate(self) -> None:
        """Make a new version. Where `flags.rotate`."""

    def destroy(self) -> None:
        """Destroy the key, or begin its own waiting time. Where `flags.destroy`."""

    def sign(self, data: bytes) -> bytes:
        """A signature of up to 4096 bytes, in this kind's own form. Where `flags.sign`."""

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Did it sign exactly this? Where `flags.sign`."""

    def check(self) -> None:
        """Can it be reached, and may we use the key? Wraps and unwraps some random bytes."""

    def close(self) -> None:
        """End the connection."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
