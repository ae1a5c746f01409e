"""A fake of Google Cloud KMS, on the servicer's methods that Google's package names: in this process, over TLS.

It knows one service account, whose signed tokens it verifies, and does what the public reference says of the
fields that we use. It is no proof of what Google does.
"""

import base64
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import google_crc32c
import grpc
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.cloud import kms_v1

from qa.kms.certificates import Pair

_State = kms_v1.CryptoKeyVersion.CryptoKeyVersionState


class Refusal(Exception):  # noqa: N818 - an answer of the fake
    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(words)
        self.code = code


class Key:
    def __init__(self) -> None:
        self.versions: list[AESGCM] = []
        self.states: list[Any] = []
        self.add()

    def add(self) -> int:
        self.versions.append(AESGCM(os.urandom(32)))
        self.states.append(_State.ENABLED)
        return len(self.versions)


class FakeKms:
    """Its keys by resource name; serves until `stop`."""

    def __init__(self, server: Pair, public_key: rsa.RSAPublicKey) -> None:
        self.keys: dict[str, Key] = {}
        self._public_key = public_key
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        acts = {
            "Encrypt": (self.encrypt, kms_v1.EncryptRequest, kms_v1.EncryptResponse),
            "Decrypt": (self.decrypt, kms_v1.DecryptRequest, kms_v1.DecryptResponse),
            "CreateCryptoKeyVersion": (
                self.create,
                kms_v1.CreateCryptoKeyVersionRequest,
                kms_v1.CryptoKeyVersion,
            ),
            "UpdateCryptoKeyPrimaryVersion": (
                self.promote,
                kms_v1.UpdateCryptoKeyPrimaryVersionRequest,
                kms_v1.CryptoKey,
            ),
            "ListCryptoKeyVersions": (
                self.list_versions,
                kms_v1.ListCryptoKeyVersionsRequest,
                kms_v1.ListCryptoKeyVersionsResponse,
            ),
            "DestroyCryptoKeyVersion": (
                self.destroy,
                kms_v1.DestroyCryptoKeyVersionRequest,
                kms_v1.CryptoKeyVersion,
            ),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._guarded(act),
                request_deserializer=asked.deserialize,
                response_serializer=given.serialize,
            )
            for name, (act, asked, given) in acts.items()
        }
        service = "google.cloud.kms.v1.KeyManagementService"
        self._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        pair = (server.key.read_bytes(), server.certificate.read_bytes())
        self.port = self._grpc.add_secure_port("localhost:0", grpc.ssl_server_credentials([pair]))
        self._grpc.start()

    def stop(self) -> None:
        self._grpc.stop(None).wait()

    def encrypt(self, request: Any) -> Any:
        key, number = self._usable(request.name)
        for data, checksum in (
            (request.plaintext, request.plaintext_crc32c),
            (request.additional_authenticated_data, request.additional_authenticated_data_crc32c),
        ):
            if google_crc32c.value(data) != checksum:
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "checksum")
        nonce = os.urandom(12)
        body = key.versions[number - 1].encrypt(
            nonce, request.plaintext, request.additional_authenticated_data
        )
        ciphertext = bytes([number]) + nonce + body
        return kms_v1.EncryptResponse(
            name=f"{request.name}/cryptoKeyVersions/{number}",
            ciphertext=ciphertext,
            ciphertext_crc32c=google_crc32c.value(ciphertext),
            verified_plaintext_crc32c=True,
            verified_additional_authenticated_data_crc32c=True,
        )

    def decrypt(self, request: Any) -> Any:
        key, _ = self._usable(request.name)
        number, nonce, body = request.ciphertext[:1], request.ciphertext[1:13], request.ciphertext[13:]
        try:
            # the first is 1: a 0 must not become the last
            version = dict(enumerate(key.versions, start=1))[number[0]]
            plaintext = version.decrypt(nonce, body, request.additional_authenticated_data)
        except (InvalidTag, LookupError, ValueError) as error:
            words = "Decryption failed: the ciphertext is invalid."
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, words) from error
        return kms_v1.DecryptResponse(plaintext=plaintext, plaintext_crc32c=google_crc32c.value(plaintext))

    def create(self, request: Any) -> Any:
        number = self._key(request.parent).add()
        return kms_v1.CryptoKeyVersion(name=f"{request.parent}/cryptoKeyVersions/{number}")

    def promote(self, request: Any) -> Any:
        self._key(request.name)
        return kms_v1.CryptoKey(name=request.name)

    def list_versions(self, request: Any) -> Any:
        states = self._key(request.parent).states
        versions = [
            kms_v1.CryptoKeyVersion(name=f"{request.parent}/cryptoKeyVersions/{number}", state=state)
            for number, state in enumerate(states, start=1)
        ]
        return kms_v1.ListCryptoKeyVersionsResponse(crypto_key_versions=versions)

    def destroy(self, request: Any) -> Any:
        parent, _, number = request.name.partition("/cryptoKeyVersions/")
        self._key(parent).states[int(number) - 1] = _State.DESTROY_SCHEDULED
        return kms_v1.CryptoKeyVersion(name=request.name, state=_State.DESTROY_SCHEDULED)

    def _key(self, name: str) -> Key:
        if name not in self.keys:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"CryptoKey {name} not found.")
        return self.keys[name]

    def _usable(self, name: str) -> tuple[Key, int]:
        key = self._key(name)
        if key.states[-1] is not _State.ENABLED:
            words = f"{name} is not enabled, current state is: {key.states[-1].name}."
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, words)
        return key, len(key.versions)

    def _guarded(self, act: Any) -> Any:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                self._authenticate(dict(context.invocation_metadata()))
                return act(request)
            except Refusal as refusal:
                context.abort(refusal.code, str(refusal))

        return answer

    def _authenticate(self, metadata: dict[str, str]) -> None:
        head, claims, signature = metadata["authorization"].removeprefix("Bearer ").split(".")
        try:
            self._public_key.verify(
                _decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature as error:
            words = "Request had invalid authentication credentials."
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, words) from error
        assert "iss" in json.loads(_decoded(claims))


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
