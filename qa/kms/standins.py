"""What may sit where a key manager should: servers that never answer, answer too slowly, or cut their answers."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

_CUT = 24
"""Bytes that are missing at the end of a cut answer."""
_QUIET = 0.15
"""Seconds without a byte after which an answer is taken for whole."""

Serve = Callable[[socket.socket, Event], None]


@contextmanager
def standing_in(serve: Serve, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Listen on a port of the loopback (given) and serve each connection, behind TLS where there is a context."""
    over = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def one(connection: socket.socket) -> None:
            # clients that go away in anger are what this is for
            with suppress(OSError), connection:
                connection.settimeout(5)
                if context is None:
                    serve(connection, over)
                else:
                    with context.wrap_socket(connection, server_side=True) as safe:
                        serve(safe, over)

        def accept() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

        acceptor = Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            acceptor.join()


def silent(_: socket.socket, over: Event) -> None:
    """Never answers."""
    over.wait(60)


def trickling(connection: socket.socket, over: Event) -> None:
    """Answers one byte at a time, for ever: each is in time, all together never are."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not over.wait(0.1):
        connection.sendall(b"x")


def babbling(connection: socket.socket, _: Event) -> None:
    """Answers what is no answer, in form of a web page."""
    connection.recv(65536)
    page = b"<html>It works!</html>"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n\r\n"
    connection.sendall(head.encode() + page)
    time.sleep(_QUIET)


def cutting(port: int, context: ssl.SSLContext | None) -> Serve:
    """Hands on to the server at `port`, and its answers without their end."""

    def serve(connection: socket.socket, over: Event) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            upstream = context.wrap_socket(plain, server_hostname="localhost") if context else plain
            with upstream:
                upstream.settimeout(_QUIET)
                connection.settimeout(_QUIET)
                answer = b""
                while not answer and not over.is_set():
                    upstream.sendall(_all_of(connection))
                    answer = _all_of(upstream)
                connection.sendall(answer[:-_CUT])

    return serve


def _all_of(connection: socket.socket) -> bytes:
    """What comes until it is quiet."""
    found = b""
    with suppress(TimeoutError, ssl.SSLWantReadError):
        while more := connection.recv(65536):
            found += more
    return found
