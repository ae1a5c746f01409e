"""moto's server, as strict about keys and signatures as AWS is: `python -m qa.kms.strict_moto PORT CERTIFICATE KEY`.

moto takes any credentials, lets keys work that are disabled or wait for their deletion, and tells other errors than
AWS where a ciphertext is of another key or damaged (AWS: API_Decrypt.html, key-state.html).
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.core.exceptions import JsonRESTError
from moto.kms.exceptions import InvalidCiphertextException
from moto.kms.models import KmsBackend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

SECRET_VARIABLE = "STRICT_MOTO_SECRET"  # noqa: S105 - a variable's name
ACCESS_KEY = "AKIATESTTESTTESTTEST"

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/\d+/([\w-]+)/(\w+)/aws4_request, SignedHeaders=([\w;-]+), Signature=(\w+)"
)

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


class DisabledError(JsonRESTError):
    code = 400

    def __init__(self, arn: str) -> None:
        super().__init__("DisabledException", f"{arn} is disabled.")


class InvalidStateError(JsonRESTError):
    code = 400

    def __init__(self, arn: str) -> None:
        super().__init__("KMSInvalidStateException", f"{arn} is pending deletion.")


class IncorrectKeyError(JsonRESTError):
    code = 400

    def __init__(self) -> None:
        super().__init__("IncorrectKeyException", "The key ID in the request is not that of the ciphertext.")


def require_usable(backend: KmsBackend, key_id: str) -> None:
    """As AWS refuses keys by their state."""
    key = backend.keys.get(backend.any_id_to_key_id(key_id))
    if key is not None and key.key_state == "Disabled":
        raise DisabledError(key.arn)
    if key is not None and key.key_state != "Enabled":
        raise InvalidStateError(key.arn)


class Strict:
    """What takes the place of moto's own."""

    encrypt, decrypt, rotate = KmsBackend.encrypt, KmsBackend.decrypt, KmsBackend.rotate_key_on_demand

    @staticmethod
    def strict_encrypt(backend: KmsBackend, key_id: str, **named: Any) -> Any:
        require_usable(backend, key_id)
        return Strict.encrypt(backend, key_id=key_id, **named)

    @staticmethod
    def strict_decrypt(
        backend: KmsBackend, ciphertext_blob: bytes, encryption_context: Any, key_id: str | None = None
    ) -> Any:
        if key_id is not None:
            require_usable(backend, key_id)
        try:
            plaintext, arn = Strict.decrypt(backend, ciphertext_blob, encryption_context)
        except Exception as error:
            raise InvalidCiphertextException from error
        require_usable(backend, arn)
        if key_id is not None and backend.keys[backend.any_id_to_key_id(key_id)].arn != arn:
            raise IncorrectKeyError
        return plaintext, arn

    @staticmethod
    def strict_rotate(backend: KmsBackend, key_id: str) -> Any:
        require_usable(backend, key_id)
        return Strict.rotate(backend, key_id)


class Signed:
    """Lets only requests through that are signed with the one secret."""

    def __init__(self, app: App, secret: str) -> None:
        self._app = app
        self._secret = secret

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        reason = self._offence(environ, body)
        if reason is None:
            return self._app(environ, start_response)
        answer = json.dumps({"__type": reason, "message": "not signed as it should be"}).encode()
        start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
        return [answer]

    def _offence(self, environ: dict[str, Any], body: bytes) -> str | None:
        found = _AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
        if found is None:
            return "MissingAuthenticationToken"
        access_key, region, service, names, signature = found.groups()
        if access_key != ACCESS_KEY:
            return "UnrecognizedClientException"
        headers = {name: _header(environ, name) for name in names.split(";")}
        url = f"https://{environ['HTTP_HOST']}{environ['PATH_INFO']}"
        request = AWSRequest(method=environ["REQUEST_METHOD"], url=url, data=body, headers=headers)
        request.context["timestamp"] = environ["HTTP_X_AMZ_DATE"]
        signer = SigV4Auth(Credentials(access_key, self._secret), service, region)
        wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        return None if wanted == signature else "InvalidSignatureException"


def _header(environ: dict[str, Any], name: str) -> str:
    variable = name.upper().replace("-", "_")
    return str(environ[variable if name in ("content-type", "content-length") else f"HTTP_{variable}"])


def main() -> None:
    port, certificate, key = sys.argv[1:]
    KmsBackend.encrypt = Strict.strict_encrypt  # type: ignore[method-assign]
    KmsBackend.decrypt = Strict.strict_decrypt  # type: ignore[method-assign]
    KmsBackend.rotate_key_on_demand = Strict.strict_rotate  # type: ignore[method-assign]
    app = Signed(DomainDispatcherApplication(create_backend_app), os.environ[SECRET_VARIABLE])
    run_simple(
        "127.0.0.1",
        int(port),
        app,
        threaded=True,
        ssl_context=(certificate, key),
        request_handler=MotoRequestHandler,
    )


if __name__ == "__main__":
    main()
