"""AWS KMS: a symmetric key that never leaves it; the encryption context binds. Needs the package boto3."""

from typing import Any

import boto3
import botocore.config
import botocore.exceptions

from ..errors import (
    KmsAnswerError,
    KmsError,
    KmsKeyError,
    KmsRefusedError,
    KmsSettingsError,
    KmsUnreachableError,
)
from .backend import Backend
from .binding import changed
from .credentials import Credentials
from .interface import SIGNING_KEY, Context, Sealed, Settings
from .quiet import keep_quiet
from .web import innermost

_WAITING_DAYS = "30"
_KEY_IS_GONE = frozenset(
    {"DisabledException", "KMSInvalidStateException", "NotFoundException", "InvalidArnException"}
)
_CHANGED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_NOT_SIGNED = frozenset({"KMSInvalidSignatureException", "ValidationException"})
_COLON = b":"
_REFUSED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_LATER = frozenset(
    {
        "DependencyTimeoutException",
        "InternalFailure",
        "KMSInternalException",
        "KeyUnavailableException",
        "LimitExceededException",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
    }
)


class Aws(Backend):
    """One KMS key, by id, ARN or alias.

    Options: `region` (must be), `waiting-days` until it is destroyed (30; 7 to 30), `ca`, `signing-key`. The address
    is an endpoint's URL, or empty for the region's own.
    """

    def __init__(self, settings: Settings, credentials: Credentials, timeout: float) -> None:
        # they write requests and answers with all that is in them
        keep_quiet(
            "botocore.auth",
            "botocore.endpoint",
            "botocore.hooks",
            "botocore.httpsession",
            "botocore.parsers",
            "botocore.regions",
            "botocore.retryhandler",
            "botocore.retries.standard",
            "urllib3.connectionpool",
        )
        credentials.only("access_key_id", "secret_access_key", "session_token")
        region, days = settings.options.get("region"), settings.options.get("waiting-days", _WAITING_DAYS)
        if not region:
            raise KmsSettingsError("there is no option region", remedy="set it, as in region=eu-central-1")
        if not days.isdecimal() or not 7 <= int(days) <= 30:
            raise KmsSettingsError(
                f"option waiting-days is {days!r}", remedy="make it 7 to 30, as AWS allows"
            )
        ca = settings.options.get("ca")
        self._key = settings.key
        self._signing_key = settings.options.get(SIGNING_KEY, "")
        self._days = int(days)
        # a session of our own: nothing is taken from ~/.aws, the environment or the machine's role
        session = boto3.session.Session(
            aws_access_key_id=credentials.require("access_key_id"),
            aws_secret_access_key=credentials.require("secret_access_key"),
            aws_session_token=credentials.get("session_token"),
            region_name=region,
        )
        self._client: Any = session.client(
            "kms",
            endpoint_url=settings.address or None,
            verify=str(credentials.public_file(ca)) if ca else None,
            config=botocore.config.Config(
                connect_timeout=timeout,
                read_timeout=timeout,
                retries={"mode": "standard", "max_attempts": 2},
                ignore_configured_endpoint_urls=True,
            ),
        )

    def wrap(self, secret: bytes, context: Context) -> Sealed:
        """See `Kms`."""
        answer = self._client.encrypt(KeyId=self._key, Plaintext=secret, EncryptionContext=dict(context))
        return Sealed(_part(answer, "CiphertextBlob"))

    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        """See `Kms`."""
        answer = self._client.decrypt(
            KeyId=self._key, CiphertextBlob=_blob(sealed), EncryptionContext=dict(context)
        )
        return _part(answer, "Plaintext")

    def rewrap(self, sealed: Sealed, context: Context) -> Sealed:
        """See `Kms`."""
        answer = self._client.re_encrypt(
            CiphertextBlob=_blob(sealed),
            SourceKeyId=self._key,
            SourceEncryptionContext=dict(context),
            DestinationKeyId=self._key,
            DestinationEncryptionContext=dict(context),
        )
        return Sealed(_part(answer, "CiphertextBlob"))

    def rotate(self) -> None:
        """New key material under the same key. It takes AWS some moments, and is allowed a number of times only."""
        self._client.rotate_key_on_demand(KeyId=self._id())

    def destroy(self) -> None:
        """Begin its waiting time, in which it is disabled and the deletion can be cancelled."""
        self._client.schedule_key_deletion(KeyId=self._id(), PendingWindowInDays=self._days)

    def sign(self, data: bytes) -> bytes:
        """See `Kms`. Of the algorithms that the key allows the first one is taken, and kept in the signature."""
        algorithms = self._client.describe_key(KeyId=self._signing_key)["KeyMetadata"].get(
            "SigningAlgorithms"
        )
        if not algorithms:
            raise KmsSettingsError(
                f"key {self._signing_key} is not one that signs",
                remedy="name one whose usage is SIGN_VERIFY as the option signing-key",
            )
        algorithm = str(algorithms[0])
        answer = self._client.sign(
            KeyId=self._signing_key, Message=data, MessageType="RAW", SigningAlgorithm=algorithm
        )
        return algorithm.encode() + _COLON + _part(answer, "Signature")

    def verify(self, data: bytes, signature: bytes) -> bool:
        """See `Kms`."""
        algorithm, _, rest = signature.partition(_COLON)
        if not rest or not algorithm.isascii():
            return False
        try:
            answer = self._client.verify(
                KeyId=self._signing_key,
                Message=data,
                MessageType="RAW",
                Signature=rest,
                SigningAlgorithm=algorithm.decode(),
            )
        except botocore.exceptions.ClientError as error:
            if str(error.response.get("Error", {}).get("Code", "")) in _NOT_SIGNED:
                return False
            raise
        return answer.get("SignatureValid") is True

    def close(self) -> None:
        """See `Kms`."""
        self._client.close()

    def explain(self, error: Exception) -> KmsError | None:
        """See `Backend`."""
        match error:
            case botocore.exceptions.ClientError():
                return self._refusal(error)
            case botocore.exceptions.ParamValidationError():
                # of all that we give only the blob may have sizes that it does not take
                return changed()
            case botocore.exceptions.SSLError():
                return KmsUnreachableError(f"no safe connection: {innermost(error)}")
            case botocore.exceptions.ReadTimeoutError() | botocore.exceptions.ConnectTimeoutError():
                return KmsUnreachableError("it did not answer in time")
            case botocore.exceptions.ResponseStreamingError() | botocore.exceptions.IncompleteReadError():
                return KmsAnswerError("its answer was cut off")
            case botocore.parsers.ResponseParserError():
                return KmsAnswerError("its answer is not of the form that it should have")
            case botocore.exceptions.HTTPClientError() | botocore.exceptions.ConnectionError():
                return KmsUnreachableError(f"no connection: {innermost(error)}")
            case _:
                return None

    def _refusal(self, error: Any) -> KmsError:
        answer = error.response.get("Error", {})
        code, words = str(answer.get("Code", "")), str(answer.get("Message", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _KEY_IS_GONE:
            return KmsKeyError(f"key {self._key}: {words or code}")
        if code in _CHANGED:
            return changed()
        if code in _LATER or status >= 500:
            return KmsUnreachableError(f"it is not able to answer now ({code})")
        if code in _REFUSED or status in (401, 403):
            return KmsRefusedError(f"it refuses us: {code} {words}")
        return KmsRefusedError(f"it refuses the request: {code} {words}")

    def _id(self) -> str:
        """These acts do not take an alias."""
        return str(self._client.describe_key(KeyId=self._key)["KeyMetadata"]["KeyId"])


def _blob(sealed: Sealed) -> bytes:
    if not sealed.blob:
        raise changed()
    return sealed.blob


def _part(answer: Any, name: str) -> bytes:
    part = answer.get(name)
    if not isinstance(part, bytes) or not part:
        raise KmsAnswerError("its answer is not of the form that it should have")
    return part
