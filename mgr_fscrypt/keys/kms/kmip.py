"""KMIP over mutual TLS: a key that its server uses for us and keeps. Needs the package PyKMIP.

From KMIP 1.4 on the server binds the context, as the associated data of AES-GCM. Before (option `version`) it enciphers
a fresh key of ours by AES-CBC, and our AEAD under that key binds the context.
"""

import math
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kmip.core import enums
from kmip.core import exceptions as theirs
from kmip.core.attributes import CryptographicParameters
from kmip.core.messages import payloads
from kmip.services.kmip_client import KMIPProxy
from kmip.services.kmip_protocol import KMIPProtocol, RequestLengthMismatch

from ..errors import (
    KmsAnswerError,
    KmsError,
    KmsKeyError,
    KmsRefusedError,
    KmsSettingsError,
    KmsUnreachableError,
)
from .backend import Backend
from .binding import NONCE_SIZE, TAG_SIZE, bytes_of, changed, pack, seal, unpack, unseal
from .credentials import Credentials
from .interface import Context, Sealed, Settings
from .quiet import keep_quiet
from .web import innermost

_PORT = 5696
_BLOCK = 16
_VERSIONS = {
    "1.2": enums.KMIPVersion.KMIP_1_2,
    "1.3": enums.KMIPVersion.KMIP_1_3,
    "1.4": enums.KMIPVersion.KMIP_1_4,
}
_BINDS = "1.4"
_AES = enums.CryptographicAlgorithm.AES
_GCM = CryptographicParameters(
    block_cipher_mode=enums.BlockCipherMode.GCM, cryptographic_algorithm=_AES, tag_length=TAG_SIZE
)
_CBC = CryptographicParameters(
    block_cipher_mode=enums.BlockCipherMode.CBC,
    cryptographic_algorithm=_AES,
    padding_method=enums.PaddingMethod.PKCS5,
)
_Reason = enums.ResultReason
_KEY_IS_GONE = frozenset(
    {
        _Reason.ITEM_NOT_FOUND,
        _Reason.OBJECT_ARCHIVED,
        _Reason.OBJECT_DESTROYED,
        _Reason.OBJECT_NOT_FOUND,
        _Reason.INCOMPATIBLE_CRYPTOGRAPHIC_USAGE_MASK,
        _Reason.WRONG_KEY_LIFECYCLE_STATE,
    }
)
_REFUSED = frozenset(
    {_Reason.AUTHENTICATION_NOT_SUCCESSFUL, _Reason.PERMISSION_DENIED, _Reason.NOT_AUTHORISED}
)
# servers have no common word for a tag that does not fit
_MAYBE_CHANGED = frozenset(
    {
        _Reason.BAD_CRYPTOGRAPHIC_PARAMETERS,
        _Reason.CRYPTOGRAPHIC_FAILURE,
        _Reason.GENERAL_FAILURE,
        _Reason.INTERNAL_SERVER_ERROR,
        _Reason.INVALID_FIELD,
    }
)
_PROBE = b"a probe of ours."


class Kmip(Backend):
    """One symmetric key, by its unique identifier. The address is HOST or HOST:PORT.

    Options: `ca` (must be), `version` (1.4; or 1.2, 1.3).
    """

    def __init__(self, settings: Settings, credentials: Credentials, timeout: float) -> None:
        # they write whole messages, keys and all, and errors that the caller gets to know anyway
        keep_quiet("kmip.services.kmip_protocol", "kmip.services.kmip_client", "kmip.core.config_helper")
        credentials.only("certificate", "private_key")
        host, colon, port = settings.address.rpartition(":")
        self._host, self._port = (host, port) if colon else (settings.address, str(_PORT))
        if not self._port.isdecimal():
            raise KmsSettingsError(f"address {settings.address!r} is no HOST:PORT")
        ca = settings.options.get("ca")
        if not ca:
            raise KmsSettingsError(
                "there is no option ca", remedy="set it to the file with the server's authority"
            )
        version = settings.options.get("version", _BINDS)
        if version not in _VERSIONS:
            raise KmsSettingsError(
                f"option version is {version!r}", remedy=f"make it one of {', '.join(_VERSIONS)}"
            )
        self._version = _VERSIONS[version]
        self._binds = version == _BINDS
        self._key = settings.key
        self._timeout = timeout
        certificate = credentials.public_file(credentials.require("certificate"))
        private_key = credentials.private_file("private_key")
        self._tls = ssl.create_default_context(cafile=str(credentials.public_file(ca)))
        try:
            self._tls.load_cert_chain(certificate, private_key)
        except (ssl.SSLError, OSError) as error:
            raise KmsSettingsError(
                f"{certificate} and {private_key} are no certificate and its key: {innermost(error)}",
                remedy="give both in the form PEM, the key without a passphrase",
            ) from None

    def wrap(self, secret: bytes, context: Context) -> Sealed:
        """See `Kms`."""
        with self._connection() as connection:
            if self._binds:
                return Sealed(pack(gcm=self._encrypt(connection, secret, bytes_of(context))))
            fresh, body = seal(secret, context)
            return Sealed(pack(cbc=self._encipher(connection, fresh), body=body))

    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        """See `Kms`. How it was wrapped is told by the blob."""
        if b'"gcm"' in sealed.blob:
            (box,) = unpack(sealed.blob, "gcm")
            # a shorter tag could be guessed
            if len(box) <= NONCE_SIZE + TAG_SIZE:
                raise changed()
            with self._connection(_VERSIONS[_BINDS]) as connection:
                try:
                    return self._decrypt(connection, box, bytes_of(context))
                except theirs.OperationFailure as error:
                    self._doubt(error)
                    self._decrypt(connection, self._encrypt(connection, _PROBE, _PROBE), _PROBE)
            raise changed()
        wrapped, body = unpack(sealed.blob, "cbc", "body")
        if len(wrapped) <= _BLOCK:
            raise changed()
        with self._connection() as connection:
            try:
                return unseal(self._decipher(connection, wrapped), body, context)
            except theirs.OperationFailure as error:
                self._doubt(error)
                self._decipher(connection, self._encipher(connection, _PROBE))
        raise changed()

    def destroy(self) -> None:
        """Revoke the key and destroy it, at once."""
        with self._connection() as connection:
            if self._state(connection) is enums.State.ACTIVE:
                _require(connection.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, self._key))
            _require(connection.destroy(self._key))

    def explain(self, error: Exception) -> KmsError | None:
        """See `Backend`."""
        match error:
            case theirs.OperationFailure():
                reason, words = error.reason, str(error)
                if reason in _KEY_IS_GONE:
                    return KmsKeyError(f"key {self._key}: {words}")
                if reason in _REFUSED:
                    # of a key that was revoked servers say the same
                    return self._refusal(words)
                return KmsRefusedError(f"it refuses the request: {words}")
            case RequestLengthMismatch():
                return KmsAnswerError("its answer was cut off")
            case EOFError():
                return KmsUnreachableError("it ended the connection")
            case TimeoutError():
                return KmsUnreachableError("it did not answer in time")
            case ssl.SSLError():
                return KmsUnreachableError(f"no safe connection: {innermost(error)}")
            case OSError():
                return KmsUnreachableError(f"no connection: {innermost(error)}")
            case _:
                return None

    def _refusal(self, words: str) -> KmsError:
        try:
            with self._connection() as connection:
                state = self._state(connection)
        except (theirs.KmipError, OSError, EOFError, RequestLengthMismatch):
            return KmsRefusedError(f"it refuses us: {words}")
        if state is enums.State.ACTIVE:
            return KmsRefusedError(f"it refuses us: {words}")
        return KmsKeyError(f"key {self._key} is {state.name.lower().replace('_', ' ')}")

    def _doubt(self, error: theirs.OperationFailure) -> None:
        """Go on where the blob may be what is wrong: then the same key opens what it wraps now."""
        if error.reason not in _MAYBE_CHANGED:
            raise error

    @contextmanager
    def _connection(self, version: enums.KMIPVersion | None = None) -> Iterator[Any]:
        # one for each call: the library's are not for several threads, and servers end those that are idle
        proxy = _Proxy(self._host, int(self._port), self._tls, self._timeout, version or self._version)
        try:
            proxy.open()
            yield proxy
        finally:
            proxy.close()

    def _encrypt(self, connection: Any, data: bytes, context: bytes) -> bytes:
        nonce = os.urandom(NONCE_SIZE)
        answer = connection.send_request_payload(
            enums.Operation.ENCRYPT,
            payloads.EncryptRequestPayload(
                unique_identifier=self._key,
                cryptographic_parameters=_GCM,
                data=data,
                iv_counter_nonce=nonce,
                auth_additional_data=context,
            ),
        )
        body, tag = _bytes(answer.data), _bytes(answer.auth_tag)
        if len(tag) != TAG_SIZE:
            raise KmsAnswerError("its answer has no whole tag")
        return nonce + tag + body

    def _decrypt(self, connection: Any, box: bytes, context: bytes) -> bytes:
        answer = connection.send_request_payload(
            enums.Operation.DECRYPT,
            payloads.DecryptRequestPayload(
                unique_identifier=self._key,
                cryptographic_parameters=_GCM,
                data=box[NONCE_SIZE + TAG_SIZE :],
                iv_counter_nonce=box[:NONCE_SIZE],
                auth_additional_data=context,
                auth_tag=box[NONCE_SIZE : NONCE_SIZE + TAG_SIZE],
            ),
        )
        return _bytes(answer.data)

    def _encipher(self, connection: Any, data: bytes) -> bytes:
        start = os.urandom(_BLOCK)
        answer = connection.send_request_payload(
            enums.Operation.ENCRYPT,
            payloads.EncryptRequestPayload(
                unique_identifier=self._key, cryptographic_parameters=_CBC, data=data, iv_counter_nonce=start
            ),
        )
        return start + _bytes(answer.data)

    def _decipher(self, connection: Any, wrapped: bytes) -> bytes:
        answer = connection.send_request_payload(
            enums.Operation.DECRYPT,
            payloads.DecryptRequestPayload(
                unique_identifier=self._key,
                cryptographic_parameters=_CBC,
                data=wrapped[_BLOCK:],
                iv_counter_nonce=wrapped[:_BLOCK],
            ),
        )
        return _bytes(answer.data)

    def _state(self, connection: Any) -> enums.State:
        result = connection.get_attributes(self._key, ["State"])
        _require(result)
        for attribute in result.attributes or []:
            return enums.State(attribute.attribute_value.value)
        raise KmsAnswerError("its answer does not tell the key's state")


class _Proxy(KMIPProxy):  # type: ignore[misc] # PyKMIP has no types
    """The library's client, by a TLS connection that holds the server's name against its certificate too."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext, timeout: float, version: enums.KMIPVersion
    ) -> None:
        # all are given: what is not, it would take from files in /etc and at home
        super().__init__(
            host=host,
            port=port,
            keyfile="",
            certfile="",
            cert_reqs="CERT_REQUIRED",
            ssl_version="PROTOCOL_TLS_CLIENT",
            ca_certs="",
            do_handshake_on_connect=True,
            suppress_ragged_eofs=False,
            username="",
            password="",
            timeout=math.ceil(timeout),
            kmip_version=version,
        )
        self._place = (host, port)
        self._tls = tls
        self._seconds = timeout

    def open(self) -> None:
        plain = socket.create_connection(self._place, timeout=self._seconds)
        try:
            self.socket: Any = self._tls.wrap_socket(plain, server_hostname=self._place[0])
        except BaseException:
            plain.close()
            raise
        self.protocol = KMIPProtocol(self.socket)

    def close(self) -> None:
        # theirs tells the other side first, and leaves the socket open where that fails
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def _require(result: Any) -> None:
    if result.result_status.value is not enums.ResultStatus.SUCCESS:
        raise theirs.OperationFailure(
            result.result_status.value, result.result_reason.value, result.result_message.value
        )


def _bytes(part: object) -> bytes:
    if not isinstance(part, bytes) or not part:
        raise KmsAnswerError("its answer is not of the form that it should have")
    return part
