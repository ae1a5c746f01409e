"""OpenStack Barbican: it stores secrets. Needs the packages python-barbicanclient and keystoneauth1.

Each wrap stores a fresh key of ours there, under the name that settings give as `key`; our AEAD under it binds the
context and that name. So no version is older than another one, and what was wrapped leaves something to `forget`.
"""

import uuid
from functools import cached_property
from typing import Any

import barbicanclient.client
import barbicanclient.exceptions
import keystoneauth1.exceptions
import keystoneauth1.session
from keystoneauth1.identity import v3

from ..errors import (
    KmsAnswerError,
    KmsError,
    KmsKeyError,
    KmsRefusedError,
    KmsSettingsError,
    KmsUnreachableError,
)
from .backend import Backend
from .binding import KEY_SIZE, changed, pack, seal, unpack, unseal
from .credentials import Credentials
from .interface import Context, Sealed, Settings
from .quiet import keep_quiet
from .web import explain_request, innermost

_AT_ONCE = 100


class Barbican(Backend):
    """The secrets of one name in one project. Options: `auth-url` of Keystone (must be), `ca`, `region`."""

    def __init__(self, settings: Settings, credentials: Credentials, timeout: float) -> None:
        # they write whole requests
        keep_quiet(
            "barbicanclient.base",
            "barbicanclient.client",
            "barbicanclient.v1.client",
            "barbicanclient.v1.secrets",
            "keystoneauth.discover",
            "keystoneauth.identity",
            "keystoneauth.identity.base",
            "keystoneauth.identity.v3.base",
            "keystoneauth.session",
            "urllib3.connectionpool",
        )
        credentials.only("application_credential_id", "application_credential_secret")
        auth_url = settings.options.get("auth-url")
        if not auth_url:
            raise KmsSettingsError(
                "there is no option auth-url", remedy="set it to Keystone's URL, up to /v3"
            )
        ca = settings.options.get("ca")
        self._name = settings.key
        self._secrets_url = f"{settings.address.rstrip('/')}/v1/secrets"
        self._session = keystoneauth1.session.Session(
            auth=v3.ApplicationCredential(
                auth_url,
                application_credential_id=credentials.require("application_credential_id"),
                application_credential_secret=credentials.require("application_credential_secret"),
            ),
            verify=str(credentials.public_file(ca)) if ca else True,
            timeout=timeout,
            redirect=False,
        )
        self._endpoint = settings.address
        self._region = settings.options.get("region")

    def wrap(self, secret: bytes, context: Context) -> Sealed:
        """See `Kms`."""
        key, body = seal(secret, self._bound(context))
        stored = self._secrets.create(
            name=self._name,
            payload=key,
            secret_type="symmetric",  # noqa: S106 - a type's name
            algorithm="aes",
            bit_length=8 * KEY_SIZE,
            mode="gcm",
        )
        try:
            identifier = uuid.UUID(str(stored.store()).rstrip("/").rpartition("/")[2])
        except ValueError:
            raise KmsAnswerError("its answer does not tell where the secret is") from None
        return Sealed(pack(secret=str(identifier).encode(), body=body))

    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        """See `Kms`."""
        identifier, body = unpack(sealed.blob, "secret", "body")
        payload = self._secrets.get(self._reference(identifier)).payload
        if not isinstance(payload, bytes):
            raise KmsAnswerError("its answer is not of the form that it should have")
        return unseal(payload, body, self._bound(context))

    def forget(self, sealed: Sealed) -> None:
        """Delete the secret."""
        identifier, _ = unpack(sealed.blob, "secret", "body")
        self._secrets.delete(self._reference(identifier))

    def destroy(self) -> None:
        """Delete all secrets of the name, at once."""
        while found := self._secrets.list(name=self._name, limit=_AT_ONCE):
            for each in found:
                each.delete()

    def close(self) -> None:
        """See `Kms`."""
        if self._session._session is not None:
            self._session._session.close()

    def explain(self, error: Exception) -> KmsError | None:
        """See `Backend`."""
        match error:
            case barbicanclient.exceptions.HTTPAuthError():
                return KmsRefusedError("it refuses us")
            case barbicanclient.exceptions.HTTPClientError() | barbicanclient.exceptions.HTTPServerError():
                return self._refusal(getattr(error, "status_code", 500))
            case keystoneauth1.exceptions.HttpError():
                return self._refusal(error.http_status)
            case keystoneauth1.exceptions.UnknownConnectionError():
                return explain_request(error.original)
            case keystoneauth1.exceptions.SSLError():
                return KmsUnreachableError(f"no safe connection: {innermost(error)}")
            case keystoneauth1.exceptions.ConnectTimeout():
                return KmsUnreachableError("it did not answer in time")
            case keystoneauth1.exceptions.ConnectionError():
                return KmsUnreachableError(f"no connection: {innermost(error)}")
            case keystoneauth1.exceptions.InvalidResponse():
                return KmsAnswerError("its answer is not of the form that it should have")
            case _:
                return explain_request(error)

    def _refusal(self, status: int) -> KmsError:
        if status in (401, 403):
            return KmsRefusedError(f"it refuses us ({status})")
        if status in (404, 410):
            return KmsKeyError(f"a secret of {self._name} is not there (any more)")
        if status >= 500:
            return KmsUnreachableError(f"it is not able to answer now ({status})")
        return KmsRefusedError(f"it refuses the request ({status})")

    @cached_property
    def _secrets(self) -> Any:
        # it asks the server for its versions, so it is not made before a call
        client = barbicanclient.client.Client(
            session=self._session, endpoint=self._endpoint, region_name=self._region
        )
        return client.secrets

    def _bound(self, context: Context) -> Context:
        return {**context, "barbican-name": self._name}

    def _reference(self, identifier: bytes) -> str:
        """Where the secret is: at our address, whatever the blob or the server says."""
        try:
            return f"{self._secrets_url}/{uuid.UUID(identifier.decode('ascii'))}"
        except ValueError:
            raise changed() from None
