"""Azure Key Vault: an RSA key that never leaves it wraps a fresh key of ours; our AEAD under that binds the
context. Needs the packages azure-keyvault-keys and azure-identity.

It was run against a small fake only, written from Azure's published reference.
"""

import re
from typing import Any

from azure.core import exceptions as theirs
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm

from ..errors import KmsAnswerError, KmsError, KmsKeyError, KmsRefusedError, KmsUnreachableError
from .backend import Backend
from .binding import changed, pack, seal, unpack, unseal
from .credentials import Credentials
from .interface import Context, Sealed, Settings
from .quiet import keep_quiet
from .web import innermost

_AUTHORITY = "https://login.microsoftonline.com"
_ALGORITHM = KeyWrapAlgorithm.rsa_oaep_256
_VERSION = re.compile(rb"[0-9a-f]{32}")


class Azure(Backend):
    """One RSA key, by its name. The address is the vault's URL. Options: `authority` (Microsoft's own), `ca`."""

    def __init__(self, settings: Settings, credentials: Credentials, timeout: float) -> None:
        keep_quiet(
            "azure.core.pipeline.policies.http_logging_policy",
            "azure.identity._internal.decorators",
            "msal.authority",
            "msal.oauth2cli.oauth2",
            "msal.token_cache",
            "urllib3.connectionpool",
        )
        credentials.only("tenant_id", "client_id", "client_secret")
        ca = settings.options.get("ca")
        authority = settings.options.get("authority", _AUTHORITY)
        self._address = settings.address.rstrip("/")
        self._key = settings.key
        self._transport = {
            "connection_verify": str(credentials.public_file(ca)) if ca else True,
            "connection_timeout": timeout,
            "read_timeout": timeout,
            "retry_total": 0,
        }
        self._credential = ClientSecretCredential(
            credentials.require("tenant_id"),
            credentials.require("client_id"),
            credentials.require("client_secret"),
            authority=authority,
            # another authority than Microsoft's cannot be looked up at Microsoft's
            disable_instance_discovery=authority != _AUTHORITY,
            **self._transport,
        )
        # where a vault says that its tokens come from is believed for Azure's own domains only
        self._transport["verify_challenge_resource"] = authority == _AUTHORITY
        self._keys: Any = KeyClient(self._address, self._credential, **self._transport)

    def wrap(self, secret: bytes, context: Context) -> Sealed:
        """See `Kms`."""
        found = self._keys.get_key(self._key)
        # the library wraps here, by the public key, and would do so with one that is disabled
        if not found.properties.enabled:
            raise KmsKeyError(f"key {self._key} is disabled")
        fresh, body = seal(secret, context)
        with CryptographyClient(found, self._credential, **self._transport) as client:
            wrapped = client.wrap_key(_ALGORITHM, fresh).encrypted_key
        version = str(found.properties.version)
        return Sealed(pack(version=version.encode(), wrapped=wrapped, body=body), version)

    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        """See `Kms`."""
        version, wrapped, body = unpack(sealed.blob, "version", "wrapped", "body")
        if not _VERSION.fullmatch(version):
            raise changed()
        place = f"{self._address}/keys/{self._key}/{version.decode()}"
        with CryptographyClient(place, self._credential, **self._transport) as client:
            try:
                fresh = client.unwrap_key(_ALGORITHM, wrapped).key
            except theirs.HttpResponseError as error:
                if error.status_code != 400:
                    raise
                raise changed() from None
        return unseal(fresh, body, context)

    def rotate(self) -> None:
        """Make a new version, and wrap with it from now on."""
        self._keys.rotate_key(self._key)

    def destroy(self) -> None:
        """Delete the key; as long as the vault keeps deleted ones, it can be recovered."""
        self._keys.begin_delete_key(self._key)

    def close(self) -> None:
        """See `Kms`."""
        self._keys.close()
        self._credential.close()

    def explain(self, error: Exception) -> KmsError | None:
        """See `Backend`."""
        match error:
            case theirs.ClientAuthenticationError():
                return KmsRefusedError("it refuses us")
            case theirs.IncompleteReadError() | theirs.DecodeError():
                return KmsAnswerError("its answer was cut off, or is not of the form that it should have")
            case theirs.HttpResponseError():
                return self._refusal(error)
            case theirs.ServiceRequestError() | theirs.ServiceResponseError():
                return KmsUnreachableError(f"no connection: {innermost(error)}")
            case _:
                return None

    def _refusal(self, error: Any) -> KmsError:
        status, inner = error.status_code or 500, getattr(error.error, "innererror", None) or {}
        if status in (404, 409) or inner.get("code") == "KeyDisabled":
            return KmsKeyError(f"key {self._key} is not there, deleted, or disabled")
        if status in (429, 500, 502, 503, 504):
            return KmsUnreachableError(f"it is not able to answer now ({status})")
        return KmsRefusedError(f"it refuses us ({status})")
