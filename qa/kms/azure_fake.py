"""A fake of Azure Key Vault and of what gives its tokens, over TLS: `FakeVault`, a WSGI application in this process.

It knows one client, and does what the public reference says of the requests that we make. It is no proof of what Azure
does.
"""

import base64
import json
import re
import secrets
from collections.abc import Callable, Iterable
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from werkzeug.serving import WSGIRequestHandler, make_server

from qa.kms.certificates import Pair

TENANT, CLIENT = "tenant", "client"
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_PATH = re.compile(r"/keys/([\w-]+)(?:/(?!rotate)(\w*))?(?:/(unwrapkey))?(?:/(rotate))?")

Answer = tuple[str, Any]


class Key:
    def __init__(self) -> None:
        self.versions: dict[str, rsa.RSAPrivateKey] = {}
        self.enabled = True
        self.add()

    def add(self) -> None:
        self.versions[secrets.token_hex(16)] = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing."""


class FakeVault:
    """Its keys by name; serves until `stop`."""

    def __init__(self, port: int, server: Pair, secret: str) -> None:
        self.keys: dict[str, Key] = {}
        self._url = f"https://localhost:{port}"
        self._secret = secret
        self._token = secrets.token_urlsafe()
        pair = (str(server.certificate), str(server.key))
        self._server = make_server(
            "127.0.0.1", port, self._serve, threaded=True, ssl_context=pair, request_handler=_Quiet
        )
        Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = [("Content-Type", "application/json")]
        path = environ["PATH_INFO"]
        if path.startswith(f"/{TENANT}/"):
            status, answer = self._identity(path, body)
        elif environ.get("HTTP_AUTHORIZATION") != f"Bearer {self._token}":
            status, answer = "401 Unauthorized", {"error": {"code": "Unauthorized", "message": "no token"}}
            challenge = f'Bearer authorization="{self._url}/{TENANT}", resource="https://vault.azure.net"'
            headers.append(("WWW-Authenticate", challenge))
        else:
            status, answer = self._vault(environ["REQUEST_METHOD"], path, body)
        start_response(status, headers)
        return [json.dumps(answer).encode()]

    def _identity(self, path: str, body: bytes) -> Answer:
        if path.endswith("openid-configuration"):
            base = f"{self._url}/{TENANT}"
            return "200 OK", {
                "authorization_endpoint": f"{base}/authorize",
                "token_endpoint": f"{base}/token",
                "issuer": f"{base}/v2.0",
            }
        if parse_qs(body.decode())["client_secret"] != [self._secret]:
            return "401 Unauthorized", {
                "error": "invalid_client",
                "error_description": "Invalid client secret.",
            }
        return "200 OK", {"access_token": self._token, "expires_in": 3600, "token_type": "Bearer"}

    def _vault(self, method: str, path: str, body: bytes) -> Answer:
        found = _PATH.fullmatch(path)
        name, version, act, rotate = found.groups() if found else ("", None, None, None)
        key = self.keys.get(name)
        if key is None or (version and version not in key.versions):
            return "404 Not Found", {"error": {"code": "KeyNotFound", "message": f"key {name} was not found"}}
        if method == "DELETE":
            del self.keys[name]
        elif rotate:
            key.add()
        elif act:
            return self._unwrap(key, version, body)
        return "200 OK", self._described(name, key, version or list(key.versions)[-1])

    def _unwrap(self, key: Key, version: str, body: bytes) -> Answer:
        if not key.enabled:
            inner = {"code": "KeyDisabled"}
            return "403 Forbidden", {
                "error": {"code": "Forbidden", "message": "disabled", "innererror": inner}
            }
        try:
            plain = key.versions[version].decrypt(_decoded(json.loads(body)["value"]), _OAEP)
        except ValueError:
            return "400 Bad Request", {"error": {"code": "BadParameter", "message": "does not unwrap"}}
        return "200 OK", {"kid": f"{self._url}/keys/key/{version}", "value": _encoded(plain)}

    def _described(self, name: str, key: Key, version: str) -> Any:
        numbers = key.versions[version].public_key().public_numbers()
        return {
            "key": {
                "kid": f"{self._url}/keys/{name}/{version}",
                "kty": "RSA",
                "key_ops": ["wrapKey", "unwrapKey"],
                "n": _encoded(numbers.n.to_bytes(256)),
                "e": _encoded(numbers.e.to_bytes(3)),
            },
            "attributes": {"enabled": key.enabled},
        }


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
