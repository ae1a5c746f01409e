"""A hardware security module by its PKCS#11 library: an AES key that never leaves it. Needs the package python-pkcs11.

Where the token has AES-GCM it binds the context itself. Else it wraps, by AES-KEY-WRAP-PAD, a fresh key of ours that
does. A label may belong to several keys: their identifiers (CKA_ID), as numbers, are the versions, and the greatest is
the newest.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11 import exceptions as theirs

from ..errors import KmsError, KmsKeyError, KmsRefusedError, KmsSettingsError, KmsUnreachableError
from .backend import Backend
from .binding import NONCE_SIZE, bytes_of, changed, pack, seal, unpack, unseal
from .credentials import Credentials
from .interface import Context, Sealed, Settings

_GCM, _WRAP = "aes-gcm", "aes-key-wrap-pad"
_KEY_BITS = 256
_TAG_BITS = 128
_PROBE = b"a probe of 16 by"
# logging in and out is the whole process's, whoever does it
_ONE_AT_A_TIME = Lock()

_REFUSED = (
    theirs.PinExpired,
    theirs.PinIncorrect,
    theirs.PinInvalid,
    theirs.PinLenRange,
    theirs.PinLocked,
    theirs.UserNotLoggedIn,
    theirs.UserPinNotInitialized,
)
_CHANGED = (
    theirs.DataInvalid,
    theirs.DataLenRange,
    theirs.EncryptedDataInvalid,
    theirs.EncryptedDataLenRange,
    theirs.SignatureInvalid,
    theirs.WrappedKeyInvalid,
    theirs.WrappedKeyLenRange,
)
_KEY_IS_UNFIT = (
    theirs.FunctionRejected,
    theirs.KeyHandleInvalid,
    theirs.KeySizeRange,
    theirs.KeyTypeInconsistent,
    theirs.NoSuchKey,
    theirs.ObjectHandleInvalid,
    theirs.UnwrappingKeyHandleInvalid,
    theirs.WrappingKeyHandleInvalid,
)


class Pkcs11(Backend):
    """The AES keys of one label on one token. The address is the library's file.

    Options: `token`, its label (must be); `mechanism`, aes-gcm or aes-key-wrap-pad (the first that the token has).
    """

    def __init__(self, settings: Settings, credentials: Credentials, timeout: float) -> None:
        credentials.only("pin")
        self._library = Path(settings.address)
        self._label = settings.key
        self._pin = credentials.require("pin")
        self._token = settings.options.get("token")
        self._mechanism = settings.options.get("mechanism")
        if not self._token:
            raise KmsSettingsError("there is no option token", remedy="set it to the token's label")
        if self._mechanism not in (None, _GCM, _WRAP):
            raise KmsSettingsError(
                f"option mechanism is {self._mechanism!r}",
                remedy=f"make it {_GCM} or {_WRAP}, or leave it out",
            )
        _require_safe(self._library)

    def wrap(self, secret: bytes, context: Context) -> Sealed:
        """See `Kms`."""
        with self._session() as session:
            version, key = max(self._keys(session).items())
            gcm = self._has_gcm(session)
            self._allow(key, "encrypt" if gcm else "wrap_key")
            if gcm:
                blob = pack(version=_number(version), gcm=_encrypt(key, secret, bytes_of(context)))
            else:
                fresh, body = seal(secret, context)
                blob = pack(version=_number(version), wrapped=_wrap(session, key, fresh), body=body)
        return Sealed(blob, str(version))

    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        """See `Kms`. How it was wrapped is told by the blob, not by the options."""
        with self._session() as session:
            if b'"gcm"' in sealed.blob:
                version, body = unpack(sealed.blob, "version", "gcm")
                if len(body) <= NONCE_SIZE:
                    raise changed()
                key = self._key(session, version, "decrypt")
                return _opened(session, key, _decrypt, body, bytes_of(context))
            version, wrapped, body = unpack(sealed.blob, "version", "wrapped", "body")
            key = self._key(session, version, "unwrap_key")
            return unseal(_opened(session, key, _unwrap, wrapped), body, context)

    def rotate(self) -> None:
        """Make another key of the same label, with the next number."""
        with self._session(rw=True) as session:
            newest = max(self._keys(session))
            session.generate_key(
                KeyType.AES,
                _KEY_BITS,
                id=_number(newest + 1),
                label=self._label,
                store=True,
                capabilities=MechanismFlag.ENCRYPT
                | MechanismFlag.DECRYPT
                | MechanismFlag.WRAP
                | MechanismFlag.UNWRAP,
                template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True},
            )

    def destroy(self) -> None:
        """Destroy all keys of the label, at once."""
        with self._session(rw=True) as session:
            for key in self._keys(session).values():
                key.destroy()

    def explain(self, error: Exception) -> KmsError | None:
        """See `Backend`."""
        name = type(error).__name__
        match error:
            case theirs.PKCS11Error() if isinstance(error, _REFUSED):
                return KmsRefusedError(
                    f"token {self._token} refuses us: {name}",
                    remedy="correct the pin before you try again: after some wrong ones the token locks itself",
                )
            case theirs.PKCS11Error() if isinstance(error, _CHANGED):
                return changed()
            case theirs.PKCS11Error() if isinstance(error, _KEY_IS_UNFIT):
                return KmsKeyError(f"key {self._label} cannot be used: {name}")
            case theirs.NoSuchToken():
                return KmsUnreachableError(f"there is no token {self._token}")
            case theirs.PKCS11Error():
                return KmsUnreachableError(f"token {self._token} is not able to do it: {name} {error}")
            case _:
                return None

    @contextmanager
    def _session(self, *, rw: bool = False) -> Iterator[Any]:
        with _ONE_AT_A_TIME:
            token = pkcs11.lib(str(self._library)).get_token(token_label=self._token)
            with token.open(rw=rw, user_pin=self._pin) as session:
                yield session

    def _keys(self, session: Any) -> dict[int, Any]:
        """By version; at least one."""
        found = session.get_objects(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.AES,
                Attribute.LABEL: self._label,
            }
        )
        keys = {int.from_bytes(key.id): key for key in found}
        if not keys:
            raise KmsKeyError(f"there is no AES key {self._label} on token {self._token}")
        return keys

    def _key(self, session: Any, version: bytes, act: str) -> Any:
        keys = self._keys(session)
        number = int.from_bytes(version)
        if number not in keys:
            raise KmsKeyError(f"there is no key {self._label} with the number {number} (any more)")
        self._allow(keys[number], act)
        return keys[number]

    def _allow(self, key: Any, act: str) -> None:
        # the library gives a key the methods that its attributes allow
        if not hasattr(key, act):
            raise KmsKeyError(f"key {self._label} is not allowed to {act.replace('_', ' ')}")

    def _has_gcm(self, session: Any) -> bool:
        if self._mechanism is not None:
            return self._mechanism == _GCM
        return Mechanism.AES_GCM in session.token.slot.get_mechanisms()


_SHORT_LIVED = {
    Attribute.TOKEN: False,
    Attribute.SENSITIVE: False,
    Attribute.EXTRACTABLE: True,
}
"""Of keys of ours that live as long as their session."""


def _encrypt(key: Any, data: bytes, context: bytes) -> bytes:
    nonce = os.urandom(NONCE_SIZE)
    body = key.encrypt(
        data, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, context, _TAG_BITS)
    )
    return nonce + bytes(body)


def _decrypt(key: Any, body: bytes, context: bytes) -> bytes:
    parameters = GCMParams(body[:NONCE_SIZE], context, _TAG_BITS)
    return bytes(key.decrypt(body[NONCE_SIZE:], mechanism=Mechanism.AES_GCM, mechanism_param=parameters))


def _wrap(session: Any, key: Any, value: bytes) -> bytes:
    short_lived = session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
            Attribute.VALUE: value,
            **_SHORT_LIVED,
        }
    )
    return bytes(key.wrap_key(short_lived, mechanism=Mechanism.AES_KEY_WRAP_PAD))


def _unwrap(key: Any, wrapped: bytes) -> bytes:
    short_lived = key.unwrap_key(
        ObjectClass.SECRET_KEY,
        KeyType.GENERIC_SECRET,
        wrapped,
        mechanism=Mechanism.AES_KEY_WRAP_PAD,
        template=_SHORT_LIVED,
    )
    return bytes(short_lived[Attribute.VALUE])


def _opened(session: Any, key: Any, act: Callable[..., bytes], *arguments: bytes) -> bytes:
    """What `act` gives; where it fails in words that may mean anything, ask whether the token works otherwise."""
    try:
        return act(key, *arguments)
    except (theirs.GeneralError, theirs.FunctionFailed):
        # SoftHSM says so of a tag that does not fit: what the same key wraps now must open
        if act is _decrypt:
            _decrypt(key, _encrypt(key, _PROBE, _PROBE), _PROBE)
        else:
            _unwrap(key, _wrap(session, key, _PROBE))
        raise changed() from None


def _number(version: int) -> bytes:
    return version.to_bytes(max(1, (version.bit_length() + 7) // 8))


def _require_safe(library: Path) -> None:
    """Refuse code that anybody else could put into this process."""
    try:
        found = library.stat()
    except OSError as error:
        raise KmsUnreachableError(
            f"there is no library {library}: {error.strerror}", remedy="install it, or correct the address"
        ) from None
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise KmsSettingsError(
            f"others may change library {library}",
            remedy=f"look at `ls -lL {library}`, and take their right to write",
        )
