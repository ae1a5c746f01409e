"""Google Cloud KMS: a symmetric key that never leaves it; additional authenticated data binds the context. Needs the
packages google-cloud-kms and google-crc32c.

It was run against a small fake only, written from Google's published stubs.
"""

from typing import Any

import google_crc32c
import grpc
from google.api_core import exceptions as theirs
from google.cloud import kms_v1
from google.cloud.kms_v1.services.key_management_service import transports
from google.oauth2 import service_account

from ..errors import (
    KmsAnswerError,
    KmsError,
    KmsKeyError,
    KmsRefusedError,
    KmsSettingsError,
    KmsUnreachableError,
)
from .backend import Backend
from .binding import bytes_of, changed
from .credentials import Credentials
from .interface import Context, Sealed, Settings
from .quiet import keep_quiet

_HOST = "cloudkms.googleapis.com"
_FIELDS = (
    "type",
    "project_id",
    "private_key_id",
    "private_key",
    "client_email",
    "client_id",
    "auth_uri",
    "token_uri",
    "auth_provider_x509_cert_url",
    "client_x509_cert_url",
    "universe_domain",
)


class Gcp(Backend):
    """One key, by its resource name. The address is HOST:PORT, or empty for Google's own. Options: `ca`."""

    def __init__(self, settings: Settings, credentials: Credentials, timeout: float) -> None:
        # it writes whole requests
        keep_quiet(
            "google.cloud.kms_v1.services.key_management_service.client",
            "google.cloud.kms_v1.services.key_management_service.transports.grpc",
        )
        credentials.only(*_FIELDS)
        ca = settings.options.get("ca")
        roots = credentials.public_file(ca).read_bytes() if ca else None
        fields = {field: value for field in _FIELDS if (value := credentials.get(field)) is not None}
        try:
            account = service_account.Credentials.from_service_account_info(fields)
        except ValueError:
            # the error would quote the key
            account = None
        if account is None:
            raise KmsSettingsError(
                "the credentials are no service account's", remedy="take its JSON key file, with mode 0600"
            )
        self._key = settings.key
        self._timeout = timeout
        self._client: Any = kms_v1.KeyManagementServiceClient(
            transport=transports.KeyManagementServiceGrpcTransport(
                host=settings.address or _HOST,
                credentials=account,
                ssl_channel_credentials=grpc.ssl_channel_credentials(roots),
                # a token that we sign ourselves: nobody else is asked for one
                always_use_jwt_access=True,
            )
        )

    def wrap(self, secret: bytes, context: Context) -> Sealed:
        """See `Kms`."""
        bound = bytes_of(context)
        answer = self._asked(
            self._client.encrypt,
            name=self._key,
            plaintext=secret,
            plaintext_crc32c=_sum(secret),
            additional_authenticated_data=bound,
            additional_authenticated_data_crc32c=_sum(bound),
        )
        if not (answer.verified_plaintext_crc32c and answer.verified_additional_authenticated_data_crc32c):
            raise KmsAnswerError("it did not get what was sent")
        if _sum(answer.ciphertext) != answer.ciphertext_crc32c:
            raise KmsAnswerError("its answer was changed on the way")
        return Sealed(answer.ciphertext, answer.name.rpartition("/")[2])

    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        """See `Kms`."""
        bound = bytes_of(context)
        try:
            answer = self._asked(
                self._client.decrypt,
                name=self._key,
                ciphertext=sealed.blob,
                ciphertext_crc32c=_sum(sealed.blob),
                additional_authenticated_data=bound,
                additional_authenticated_data_crc32c=_sum(bound),
            )
        except theirs.InvalidArgument:
            raise changed() from None
        if _sum(answer.plaintext) != answer.plaintext_crc32c:
            raise KmsAnswerError("its answer was changed on the way")
        return bytes(answer.plaintext)

    def rotate(self) -> None:
        """Make another version, and wrap with it from now on."""
        version = self._asked(self._client.create_crypto_key_version, parent=self._key)
        self._asked(
            self._client.update_crypto_key_primary_version,
            name=self._key,
            crypto_key_version_id=version.name.rpartition("/")[2],
        )

    def destroy(self) -> None:
        """Schedule the destruction of all versions; until its time is over they can be restored."""
        state = kms_v1.CryptoKeyVersion.CryptoKeyVersionState
        for version in self._asked(self._client.list_crypto_key_versions, parent=self._key):
            if version.state in (state.ENABLED, state.DISABLED):
                self._asked(self._client.destroy_crypto_key_version, name=version.name)

    def close(self) -> None:
        """See `Kms`."""
        self._client.transport.close()

    def explain(self, error: Exception) -> KmsError | None:
        """See `Backend`."""
        match error:
            case theirs.NotFound() | theirs.FailedPrecondition():
                return KmsKeyError(f"key {self._key}: {error.message}")
            case theirs.PermissionDenied() | theirs.Unauthenticated():
                return KmsRefusedError(f"it refuses us: {error.message}")
            case theirs.InvalidArgument():
                return KmsRefusedError(f"it refuses the request: {error.message}")
            case theirs.DeadlineExceeded():
                return KmsUnreachableError("it did not answer in time")
            case theirs.ServerError() | theirs.TooManyRequests():
                return KmsUnreachableError(f"it is not able to answer now: {error.message}")
            case theirs.GoogleAPICallError():
                return KmsAnswerError(f"its answer is not of the form that it should have: {error.message}")
            case _:
                return None

    def _asked(self, call: Any, **request: Any) -> Any:
        return call(request=request, retry=None, timeout=self._timeout)


def _sum(data: bytes) -> int:
    return int(google_crc32c.value(data))
