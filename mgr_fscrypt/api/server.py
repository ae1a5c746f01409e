"""The module's own HTTPS server: sockets, TLS and threads; cheroot, with nothing global (doc/facts.md M8).

Nothing that a client does, or does not do, is waited for by the thread that accepts: the TLS handshake is a worker's.
What takes too long is cut off, so that no number of slow clients keeps workers for long.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from logging import Logger
from typing import Any

from cheroot.makefile import MakeFile
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.wsgi import Server as WsgiServer

from .exchange import Reply, Request
from .problems import ProblemError
from .sizes import LONGEST_BODY, LONGEST_HEAD, body_length, received

WORKERS = 40
"""Threads; more requests wait."""
SILENCE = 10.0
"""Seconds that a client may say nothing."""
LONGEST = 30.0
"""Seconds that all of one request may take, with what is sent back."""
URGENT = 3.0
"""Seconds that a client may take to say its request while no worker is free."""
_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}


class _Request(HTTPRequest):  # type: ignore[misc] # cheroot's has no types here
    """One request, whose body has a length that was said before."""

    def read_request_headers(self) -> bool:
        """Read them; False: the request was refused, and its connection ends.

        cheroot takes a negative length for one without an end, and the lines between chunks may have any length: both
        would fill the memory of ceph-mgr before anybody is asked who they are.
        """
        if not super().read_request_headers():
            return False
        said = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.inheaders.items()
        }
        try:
            body_length(said)
        except ProblemError as problem:
            told = f"{problem.detail}; {problem.step}" if problem.step else problem.detail
            self.simple_response(f"{problem.status} {_REASONS[problem.status]}", told)
            return False
        return True


class _Connection(HTTPConnection):  # type: ignore[misc] # cheroot's has no types here
    """One connection."""

    RequestHandlerClass = _Request
    shaken = False
    heard = False
    """The client has said all of its request."""

    def communicate(self) -> bool:
        """Serve one request; False: the connection is of no more use."""
        working = self.server.working
        working[self] = time.monotonic()
        self.heard = False
        try:
            if not self.shaken:
                self.socket.do_handshake()
                self.shaken = True
                self.ssl_env = {
                    "wsgi.url_scheme": "https",
                    "fscrypt.connection": self,
                    "fscrypt.subject": subject(self.socket.getpeercert() or {}),
                }
            return bool(super().communicate())
        except OSError:
            # it is gone, or speaks no TLS
            return False
        finally:
            working.pop(self, None)

    def close(self) -> None:
        """End it. What the client did not take is let go: its writer would try once more when its memory is freed, on
        a socket that is closed by then."""
        self.wfile.raw.close()
        super().close()


class _Tls:
    """What cheroot asks for TLS: wraps a socket, and leaves the handshake for later."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, {}

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
        return MakeFile(sock, mode, bufsize)


class Server:
    """Listens from its making on, until `stop`.

    Args:
        address: of this host.
        port: of TCP.
        context: with the certificate.
        respond: answers a request.
        log: tells of what goes wrong.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(
        self,
        *,
        address: str,
        port: int,
        context: ssl.SSLContext,
        respond: Callable[[Request], Reply],
        log: Logger,
    ) -> None:
        self._respond = respond
        self._server = WsgiServer(
            (address, port),
            self._application,
            numthreads=WORKERS,
            server_name="fscrypt",
            request_queue_size=128,
            timeout=SILENCE,
            shutdown_timeout=1,
        )
        self._server.ConnectionClass = _Connection
        self._server.working = {}
        self._server.ssl_adapter = _Tls(context)
        self._server.max_request_body_size = LONGEST_BODY
        self._server.max_request_header_size = LONGEST_HEAD
        self._server.software = "fscrypt"
        self._server.error_log = lambda text="", level=20, traceback=False: log.log(
            level, "api: %s", text, exc_info=traceback
        )
        self._server.prepare()
        self._thread = threading.Thread(target=self._server.serve, name="fscrypt-api-accept", daemon=True)
        self._thread.start()
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._cut_on, name="fscrypt-api-watch", daemon=True)
        self._watch.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.bind_addr[1])

    @property
    def alive(self) -> bool:
        """Does it listen?"""
        return self._thread.is_alive()

    def cut(self) -> None:
        """Cut off what takes too long; done every second."""
        now = time.monotonic()
        working = list(self._server.working.items())
        for connection, since in working:
            # where all workers are taken, those who speak slowly have to go: others wait for them
            urgent = len(working) >= WORKERS and not connection.heard
            if now - since > (URGENT if urgent else LONGEST):
                try:
                    # beneath TLS, whose state is that of the worker which may be reading just now
                    socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)
                except OSError:
                    # it has just ended by itself
                    continue

    def stop(self) -> None:
        """Listen no more, and end what is under way."""
        self._ended.set()
        self._server.stop()
        self._thread.join(5)
        self._watch.join(5)

    def _cut_on(self) -> None:
        while not self._ended.wait(1):
            self.cut()

    def _application(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        reply = self._replied(environ)
        headers = [*dict(reply.headers).items(), ("Content-Length", str(len(reply.body)))]
        start(f"{reply.status} {_REASONS.get(reply.status, 'Other')}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [reply.body]

    def _replied(self, environ: dict[str, Any]) -> Reply:
        headers = {
            name.removeprefix("HTTP_").lower().replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        }
        try:
            body = received(environ["REQUEST_URI"], headers, environ["wsgi.input"].read)
        except ProblemError as problem:
            return problem.reply()
        environ["fscrypt.connection"].heard = True
        path, _, query = environ["REQUEST_URI"].partition("?")
        return self._respond(
            Request(
                method=environ["REQUEST_METHOD"],
                path=path,
                query=query,
                headers=headers,
                body=body,
                address=environ["REMOTE_ADDR"],
                subject=environ.get("fscrypt.subject", ""),
            )
        )


_REASONS = {
    200: "OK",
    202: "Accepted",
    303: "See Other",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def subject(certificate: dict[str, Any]) -> str:
    """The subject of a client certificate as people write it, CN=node1,O=Example; empty: there is none."""
    pairs = (pair for part in certificate.get("subject", ()) for pair in part)
    return ",".join(f"{_SHORT.get(name, name)}={_escaped(value)}" for name, value in pairs)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,")
