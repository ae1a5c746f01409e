"""HashiCorp Vault and OpenBao: a key of the transit engine, which never leaves it. Needs the package hvac.

A *derived* key binds the context by deriving another key for each, and can rewrap. Others bind it as associated data,
which the server's rewrap does not take (OpenBao 2.7): option `binding`. Nothing is wrapped before the key was looked
at: the server would make a missing one, and leave an unfit one unbound.
"""

import base64
import binascii
from dataclasses import replace
from typing import Any

import hvac
import requests

from ..errors import (
    KmsAnswerError,
    KmsContextError,
    KmsError,
    KmsKeyError,
    KmsRefusedError,
    KmsSettingsError,
    KmsUnreachableError,
)
from .backend import Backend
from .binding import bytes_of, changed
from .credentials import Credentials
from .interface import SIGNING_KEY, Context, Flags, Sealed, Settings
from .quiet import keep_quiet
from .web import explain_request

_DERIVED, _ASSOCIATED = "context", "associated-data"
_WITH_ASSOCIATED_DATA = frozenset({"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"})
_KEY_IS_GONE = ("encryption key not found", "disallowed by policy", "soft-deleted", "soft deleted")
_NO_SIGNING_KEY = "key not found"
_OURS = "vault:v"
_CHANGED = ("message authentication failed", "invalid ciphertext", "could not decode", "illegal base64")


class Vault(Backend):
    """One transit key, and one that signs.

    Options: `mount` (transit), `namespace`, `ca`, `binding`, `approle-mount` (approle), `signing-key`.
    """

    def __init__(self, settings: Settings, credentials: Credentials, timeout: float) -> None:
        keep_quiet("urllib3.connectionpool", "hvac")
        credentials.only("token", "role_id", "secret_id")
        options = settings.options
        self._key = settings.key
        self._mount = options.get("mount", "transit")
        self._signing_key = options.get(SIGNING_KEY, "")
        self._binding = options.get("binding", _DERIVED)
        if self._binding not in (_DERIVED, _ASSOCIATED):
            raise KmsSettingsError(
                f"option binding is {self._binding!r}", remedy=f"make it {_DERIVED} or {_ASSOCIATED}"
            )
        self._credentials = credentials
        self._approle = credentials.get("role_id") is not None
        self._approle_mount = options.get("approle-mount", "approle")
        ca = options.get("ca")
        session = requests.Session()
        # a variable or ~/.netrc must not change whom we trust, nor add credentials
        session.trust_env = False
        session.verify = str(credentials.public_file(ca)) if ca else True
        self._client = hvac.Client(
            url=settings.address,
            token="" if self._approle else credentials.require("token"),
            namespace=options.get("namespace"),
            timeout=timeout,
            session=session,
            # secrets go where they were sent to, and nowhere else
            allow_redirects=False,
        )

    def limit(self, flags: Flags) -> Flags:
        """Associated data cannot be rewrapped."""
        return replace(flags, rewrap=self._binding == _DERIVED)

    def wrap(self, secret: bytes, context: Context) -> Sealed:
        """See `Kms`."""
        self._require_fit(self._data(self._asked(self._transit.read_key, self._key)))
        answer = self._asked(
            self._transit.encrypt_data, self._key, plaintext=_text(secret), **self._bound(context)
        )
        return _sealed(self._data(answer))

    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        """See `Kms`."""
        answer = self._asked(
            self._transit.decrypt_data, self._key, ciphertext=_ciphertext(sealed), **self._bound(context)
        )
        try:
            return base64.b64decode(self._data(answer)["plaintext"], validate=True)
        except (KeyError, TypeError, binascii.Error):
            raise KmsAnswerError("its answer holds no secret") from None

    def rewrap(self, sealed: Sealed, context: Context) -> Sealed:
        """See `Kms`."""
        answer = self._asked(
            self._transit.rewrap_data, self._key, ciphertext=_ciphertext(sealed), **self._bound(context)
        )
        return _sealed(self._data(answer))

    def rotate(self) -> None:
        """See `Kms`."""
        self._asked(self._transit.rotate_key, self._key)

    def destroy(self) -> None:
        """Delete the key with all its versions, at once."""
        self._asked(self._transit.update_key_configuration, self._key, deletion_allowed=True)
        self._asked(self._transit.delete_key, self._key)

    def sign(self, data: bytes) -> bytes:
        """See `Kms`."""
        answer = self._asked(self._transit.sign_data, self._signing_key, hash_input=_text(data))
        signature = str(self._data(answer).get("signature", ""))
        if not signature.startswith(_OURS):
            raise KmsAnswerError("its answer holds no signature")
        return signature.encode()

    def verify(self, data: bytes, signature: bytes) -> bool:
        """See `Kms`."""
        text = signature.decode("ascii", "replace")
        if not text.startswith(_OURS):
            return False
        try:
            answer = self._asked(
                self._transit.verify_signed_data, self._signing_key, hash_input=_text(data), signature=text
            )
        except hvac.exceptions.InvalidRequest as error:
            if _NO_SIGNING_KEY in str(error):
                raise
            # what is no signature at all is refused, not answered
            return False
        return self._data(answer).get("valid") is True

    def close(self) -> None:
        """See `Kms`."""
        self._client.adapter.close()

    def explain(self, error: Exception) -> KmsError | None:
        """See `Backend`."""
        text = str(error.args[0] if error.args else "")
        match error:
            case hvac.exceptions.Forbidden() | hvac.exceptions.Unauthorized():
                return KmsRefusedError(f"it refuses us: {text}")
            case hvac.exceptions.InvalidPath():
                return KmsKeyError(f"there is no key {self._key} at {self._mount}")
            case hvac.exceptions.InvalidRequest() if any(words in text for words in _KEY_IS_GONE):
                return KmsKeyError(f"key {self._key}: {text}")
            case hvac.exceptions.InvalidRequest() if any(words in text for words in _CHANGED):
                return changed()
            case hvac.exceptions.InvalidRequest() if _NO_SIGNING_KEY in text:
                return KmsKeyError(f"signing key {self._signing_key}: {text}")
            case hvac.exceptions.InvalidRequest() if self._approle and "invalid role or secret" in text:
                return KmsRefusedError(f"it refuses us: {text}")
            case hvac.exceptions.InvalidRequest():
                return KmsRefusedError(f"it refuses the request: {text}")
            case hvac.exceptions.VaultError():
                return KmsUnreachableError(f"it is not able to answer now ({type(error).__name__})")
            case _:
                return explain_request(error)

    @property
    def _transit(self) -> Any:
        return self._client.secrets.transit

    def _bound(self, context: Context) -> dict[str, str]:
        name = "context" if self._binding == _DERIVED else "associated_data"
        return {name: _text(bytes_of(context))}

    def _asked(self, request: Any, *arguments: Any, **named: Any) -> Any:
        """One request; where a role's token has run out, once more with a new one."""
        if self._approle and not self._client.token:
            self._log_in()
        try:
            return request(*arguments, mount_point=self._mount, **named)
        except hvac.exceptions.Forbidden:
            if not self._approle:
                raise
        self._log_in()
        return request(*arguments, mount_point=self._mount, **named)

    def _log_in(self) -> None:
        self._client.auth.approle.login(
            self._credentials.require("role_id"),
            self._credentials.require("secret_id"),
            mount_point=self._approle_mount,
        )

    def _data(self, answer: Any) -> dict[str, Any]:
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            raise KmsAnswerError("its answer is not of the form that it should have")
        return data

    def _require_fit(self, key: dict[str, Any]) -> None:
        """Refuse a key that would not bind the context."""
        if key.get("soft_deleted"):
            raise KmsKeyError(f"key {self._key} is deleted softly")
        if self._binding == _DERIVED and not key.get("derived"):
            raise KmsSettingsError(
                f"key {self._key} is not a derived one, and would wrap without binding the context",
                remedy=f"make one with derived=true, or set the option binding={_ASSOCIATED}",
            )
        if self._binding == _ASSOCIATED and (
            key.get("derived") or key.get("type") not in _WITH_ASSOCIATED_DATA
        ):
            raise KmsSettingsError(
                f"key {self._key} ({key.get('type')}) does not bind associated data",
                remedy=f"make an aes256-gcm96 one, or for a derived one set the option binding={_DERIVED}",
            )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _sealed(data: dict[str, Any]) -> Sealed:
    match str(data.get("ciphertext", "")).split(":", 2):
        case ["vault", version, rest] if rest and version[:1] == "v":
            return Sealed(f"vault:{version}:{rest}".encode(), version[1:])
    raise KmsAnswerError("its answer holds no ciphertext")


def _ciphertext(sealed: Sealed) -> str:
    try:
        text = sealed.blob.decode("ascii")
    except UnicodeDecodeError:
        raise changed() from None
    if not text.startswith("vault:"):
        raise KmsContextError(str(changed()))
    return text
