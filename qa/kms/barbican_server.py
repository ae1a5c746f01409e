"""Barbican's own server, with a stand-in for Keystone: `python -m qa.kms.barbican_server PORT CERTIFICATE KEY FOLDER`.

Barbican is the real one, on SQLite with its simple crypto plugin; who is asking is told by tokens of the stand-in,
which knows one application credential.
"""

import base64
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SECRET_VARIABLE = "STAND_IN_SECRET"  # noqa: S105 - a variable's name
IDENTIFIER = "0123456789abcdef0123456789abcdef"
IDENTITY = "/identity/v3"

_CONFIGURATION = """
[DEFAULT]
host_href = https://localhost:{port}
[database]
connection = sqlite:///{folder}/barbican.db
[secretstore]
enabled_secretstore_plugins = store_crypto
[crypto]
enabled_crypto_plugins = simple_crypto
[simple_crypto_plugin]
kek = {kek}
"""
_PIPELINES = """
[composite:main]
use = egg:Paste#urlmap
/: versions
/v1: api
[pipeline:versions]
pipeline = microversion versionapp
[pipeline:api]
pipeline = context microversion apiapp
[app:apiapp]
paste.app_factory = barbican.api.app:create_main_app
[app:versionapp]
paste.app_factory = barbican.api.app:create_version_app
[filter:context]
paste.filter_factory = barbican.api.middleware.context:UnauthenticatedContextMiddleware.factory
[filter:microversion]
paste.filter_factory = barbican.api.middleware.microversion:MicroversionMiddleware.factory
"""

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Keystone:
    """Gives tokens for the one application credential, and lets nobody through to Barbican without one."""

    def __init__(self, app: App, secret: str) -> None:
        self._app = app
        self._secret = secret
        self._tokens: set[str] = set()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == f"{IDENTITY}/auth/tokens":
            return self._token(environ, start_response)
        if environ.get("HTTP_X_AUTH_TOKEN") in self._tokens:
            environ["HTTP_X_PROJECT_ID"] = "project"
            environ["HTTP_X_ROLES"] = "creator,member"
            # Barbican 23 reads an attribute that only its other pipeline sets
            environ.setdefault("webob.adhoc_attrs", {})["request_id"] = secrets.token_hex(8)
            return self._app(environ, start_response)
        return _answer(start_response, "401 Unauthorized", {"error": {"code": 401, "message": "no token"}})

    def _token(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        credential = asked["auth"]["identity"]["application_credential"]
        if credential != {"id": IDENTIFIER, "secret": self._secret}:
            refusal = {
                "error": {"code": 401, "message": "The request you have made requires authentication."}
            }
            return _answer(start_response, "401 Unauthorized", refusal)
        token = secrets.token_urlsafe()
        self._tokens.add(token)
        form = "%Y-%m-%dT%H:%M:%S.000000Z"
        now = time.time()
        body = {
            "methods": ["application_credential"],
            "user": {"id": "user", "name": "user", "domain": {"id": "default", "name": "Default"}},
            "issued_at": time.strftime(form, time.gmtime(now)),
            "expires_at": time.strftime(form, time.gmtime(now + 3600)),
        }
        return _answer(start_response, "201 Created", {"token": body}, [("X-Subject-Token", token)])


def _answer(
    start_response: Any, status: str, body: object, more: Iterable[tuple[str, str]] = ()
) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "application/json"), *more])
    return [json.dumps(body).encode()]


def main() -> None:
    port, certificate, key, folder = sys.argv[1:]
    configuration, pipelines = Path(folder, ".barbican/barbican.conf"), Path(folder, "paste.ini")
    kek = base64.urlsafe_b64encode(os.urandom(32)).decode()
    configuration.parent.mkdir()
    configuration.touch(0o600)
    configuration.write_text(_CONFIGURATION.format(port=port, folder=folder, kek=kek))
    pipelines.write_text(_PIPELINES)
    # Barbican reads its configuration when it is imported, and looks for it at home
    os.environ["HOME"] = folder
    from barbican.model import models
    from paste import deploy
    from sqlalchemy import create_engine
    from werkzeug.serving import run_simple

    # its migrations would take longer, and come to the same
    models.BASE.metadata.create_all(create_engine(f"sqlite:///{folder}/barbican.db"))
    app = Keystone(deploy.loadapp(f"config:{pipelines}", name="main"), os.environ[SECRET_VARIABLE])
    # one request after the other: SQLite is not for several that write
    run_simple("127.0.0.1", int(port), app, ssl_context=(certificate, key))


if __name__ == "__main__":
    main()
