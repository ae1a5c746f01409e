"""Every call to a key manager: ends in time, and ends as a value or as one of our errors without a secret in it."""

import base64
import os
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Thread
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

from ..errors import (
    KmsAnswerError,
    KmsContextError,
    KmsError,
    KmsKeyError,
    KmsRefusedError,
    KmsUnreachableError,
)
from .backend import Backend
from .interface import Context, Flags, Sealed, Settings

LARGEST = 64
"""Bytes of the largest secret: a master key's."""
_AT_ONCE = 32
"""Calls under way at once: those that hang in a library must not pile up without end."""
_CHECK = {"purpose": "check"}
_WORDS = 200
"""Characters of a key manager's own words that a message repeats."""
_SHORT = 3
_UNKNOWN = "; whether it was done all the same is not known"

T = TypeVar("T")


class BoundedKms:
    """A `Kms` from a `Backend`.

    Libraries' timeouts do not hold all of a call (names are looked up without one, each byte of a slow answer begins it
    anew, a PKCS#11 library knows none): so each call has a thread of its own, and is left alone when its time is up.
    """

    def __init__(
        self, settings: Settings, backend: Backend, flags: Flags, timeout: float, secrets: Sequence[str]
    ) -> None:
        self._settings = settings
        self._backend = backend
        self._flags = backend.limit(flags)
        self._timeout = timeout
        # what is shorter is part of any text
        self._secrets = tuple(each for each in secrets if len(each) > _SHORT)
        self._places = BoundedSemaphore(_AT_ONCE)

    def __repr__(self) -> str:
        return f"<{self._who}>"

    @property
    def flags(self) -> Flags:
        """See `Kms`."""
        return self._flags

    def wrap(self, secret: bytes, context: Context) -> Sealed:
        """See `Kms`."""
        if not 0 < len(secret) <= LARGEST:
            msg = f"a secret of {len(secret)} bytes: 1 to {LARGEST} can be wrapped"
            raise ValueError(msg)
        return self._within(lambda: self._backend.wrap(secret, context), secret)

    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        """See `Kms`."""
        secret = self._within(lambda: self._backend.unwrap(sealed, context))
        if not 0 < len(secret) <= LARGEST:
            raise KmsAnswerError(f"{self._who} gave {len(secret)} bytes, and no secret has so many")
        return secret

    def rewrap(self, sealed: Sealed, context: Context) -> Sealed:
        """See `Kms`."""
        self._require(self.flags.rewrap, "rewrap")
        return self._within(lambda: self._backend.rewrap(sealed, context))

    def forget(self, sealed: Sealed) -> None:
        """See `Kms`."""
        self._within(lambda: self._backend.forget(sealed), after=_UNKNOWN)

    def rotate(self) -> None:
        """See `Kms`."""
        self._require(self.flags.rotate, "rotate")
        self._within(self._backend.rotate, after=_UNKNOWN)

    def destroy(self) -> None:
        """See `Kms`."""
        self._require(self.flags.destroy, "destroy")
        self._within(self._backend.destroy, after=_UNKNOWN)

    def sign(self, data: bytes) -> bytes:
        """See `Kms`."""
        self._require(self.flags.sign, "sign")
        return self._within(lambda: self._backend.sign(data))

    def verify(self, data: bytes, signature: bytes) -> bool:
        """See `Kms`."""
        self._require(self.flags.sign, "sign")
        return self._within(lambda: self._backend.verify(data, signature))

    def check(self) -> None:
        """See `Kms`."""
        secret = os.urandom(LARGEST)

        def both() -> bytes:
            sealed = self._backend.wrap(secret, _CHECK)
            try:
                return self._backend.unwrap(sealed, _CHECK)
            finally:
                self._backend.forget(sealed)

        if self._within(both, secret) != secret:
            raise KmsAnswerError(f"{self._who} unwrapped something else than was wrapped")

    def close(self) -> None:
        """See `Kms`. What is under way ends by itself."""
        self._within(self._backend.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _who(self) -> str:
        return f"key manager {self._settings.name} ({self._settings.kind})"

    def _require(self, flag: bool, verb: str) -> None:
        if not flag:
            msg = f"{self._who} cannot {verb}: look at its flags first"
            raise ValueError(msg)

    def _within(self, act: Callable[[], T], secret: bytes = b"", *, after: str = "") -> T:
        """Do it in a thread of its own; its value, or its error in our words."""
        until = monotonic() + self._timeout
        late = KmsUnreachableError(
            f"{self._who} did not answer within {self._timeout:g} s{after}",
            remedy=f"look whether {self._settings.address} is up and not overloaded, then try again",
        )
        if not self._places.acquire(timeout=self._timeout):
            raise late
        ended: SimpleQueue[tuple[T] | KmsError] = SimpleQueue()

        def run() -> None:
            try:
                ended.put((act(),))
            except Exception as error:  # noqa: BLE001 - whatever it is, it must come out as one of ours
                ended.put(self._told(error, secret, after))
            finally:
                self._places.release()

        Thread(target=run, name=f"kms {self._settings.name}", daemon=True).start()
        try:
            answer = ended.get(timeout=max(0.0, until - monotonic()))
        except Empty:
            raise late from None
        if isinstance(answer, KmsError):
            # it has no cause: a library's error holds its request, and that our secrets
            raise answer
        return answer[0]

    def _told(self, error: Exception, secret: bytes, after: str) -> KmsError:
        known = error if isinstance(error, KmsError) else self._backend.explain(error)
        if known is None:
            known = KmsAnswerError(f"something came that is no answer ({type(error).__name__})")
        unsure = after if isinstance(known, KmsUnreachableError | KmsAnswerError) else ""
        happened = f"{self._who}: {self._clean(str(known), secret)}{unsure}"
        return type(known)(happened, remedy=known.remedy or self._remedy(known))

    def _clean(self, text: str, secret: bytes) -> str:
        """Some of the words, on one line, without what must not be told."""
        forms = [secret.hex(), base64.b64encode(secret).decode()] if secret else []
        text = " ".join(text.split())
        for each in (*self._secrets, *forms):
            text = text.replace(each, "***")
        return text if len(text) <= _WORDS else f"{text[:_WORDS]}..."

    def _remedy(self, error: KmsError) -> str:
        match error:
            case KmsUnreachableError():
                return f"look whether {self._settings.address} is up, its certificate and ours are valid; try again"
            case KmsRefusedError():
                return f"renew the credentials in {self._settings.credentials or 'its settings'}, or allow its use"
            case KmsKeyError():
                return f"look at key {self._settings.key} there: enable it, or cancel its deletion"
            case KmsContextError():
                return "use the key manager, key and place that it was wrapped for, or another protector"
            case _:
                return f"look at the logs of {self._settings.address}, then try again"
