"""A key manager in memory, behind the `Kms` protocol."""

import hmac
import os
from types import TracebackType
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mgr_fscrypt.keys.errors import KmsContextError, KmsKeyError, KmsUnreachableError
from mgr_fscrypt.keys.kms.interface import Context, Flags, Sealed


class FakeKms:
    """One key, with versions.

    Args:
        stores: it keeps each wrapped secret until that is to be forgotten.

    Attributes:
        calls: how often it was asked for anything.
        down: it does not answer.
        kept: what it keeps, if it does.
        can_sign: it has a key that signs.
    """

    def __init__(self, *, stores: bool = False) -> None:
        self._versions = [AESGCM(os.urandom(32))]
        self._stores = stores
        self._signs = os.urandom(32)
        self.calls = 0
        self.down = False
        self.kept: set[bytes] = set()
        self.can_sign = True

    @property
    def flags(self) -> Flags:
        return Flags(
            rotate=True,
            rewrap=True,
            destroy=True,
            versions=True,
            stores=self._stores,
            sign=self.can_sign,
            proven=False,
        )

    def wrap(self, secret: bytes, context: Context) -> Sealed:
        self._ask()
        nonce = os.urandom(12)
        blob = nonce + self._versions[-1].encrypt(nonce, secret, _bound(context))
        if self._stores:
            self.kept.add(blob)
        return Sealed(blob, str(len(self._versions)))

    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        self._ask()
        if self._stores and sealed.blob not in self.kept:
            raise KmsKeyError("the fake has forgotten this")
        try:
            key = self._versions[int(sealed.version) - 1]
            return key.decrypt(sealed.blob[:12], sealed.blob[12:], _bound(context))
        except (InvalidTag, IndexError) as error:
            raise KmsContextError("the fake does not open this") from error

    def rewrap(self, sealed: Sealed, context: Context) -> Sealed:
        return self.wrap(self.unwrap(sealed, context), context)

    def forget(self, sealed: Sealed) -> None:
        self._ask()
        self.kept.remove(sealed.blob)

    def rotate(self) -> None:
        self._ask()
        self._versions.append(AESGCM(os.urandom(32)))

    def sign(self, data: bytes) -> bytes:
        self._ask()
        return hmac.digest(self._signs, data, "sha256")

    def verify(self, data: bytes, signature: bytes) -> bool:
        self._ask()
        return hmac.compare_digest(self.sign(data), signature)

    def destroy(self) -> None:
        self._ask()
        self._versions.clear()

    def check(self) -> None:
        self.unwrap(self.wrap(b"12345678", {}), {})

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def _ask(self) -> None:
        self.calls += 1
        if self.down:
            raise KmsUnreachableError("the fake is down")


def _bound(context: Context) -> bytes:
    return repr(sorted(context.items())).encode()
