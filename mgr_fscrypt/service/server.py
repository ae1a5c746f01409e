"""Answers requests on sockets, in one thread: each is answered at once, so none waits for another."""

import logging
import selectors
import socket
from collections.abc import Callable
from typing import Protocol

from ..messages.exchange import Answer, Request
from ..messages.lines import Lines, line_of
from ..messages.service import Ask, Said, Trouble
from ..messages.strict import MessageError

TICK = 0.2
"""Seconds between two looks at the time."""
_SENDING = 1.0
"""Seconds that one who asked has for taking the answer."""
_PIECE = 65_536
_log = logging.getLogger(__name__)


class Answering(Protocol):
    """As `core.Service`."""

    @property
    def ended(self) -> bool:
        """Is this the end?"""

    def end(self) -> None:
        """It is."""

    def tick(self) -> None:
        """To be called often."""

    def answer(self, ask: Ask) -> Said:
        """What to say."""


class Server:
    """Serves until the service is told to end, or the connection that it lives by does."""

    def __init__(self, service: Answering) -> None:
        self._service = service
        self._selector = selectors.DefaultSelector()
        self._lifeline: socket.socket | None = None
        self._connections: set[socket.socket] = set()

    def live_by(self, connection: socket.socket) -> None:
        """Serve this connection, and end with it."""
        self._lifeline = connection
        self._serve(connection)

    def accept_from(self, accept: Callable[[], socket.socket | None], listener: socket.socket) -> None:
        """Serve whoever comes: when `listener` is readable, `accept` gives a connection, or None."""
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._serve(accept()))

    def run(self) -> None:
        """Until the end. The connections are closed then, the listener is not."""
        try:
            while not self._service.ended:
                for key, _ in self._selector.select(TICK):
                    key.data()
                self._service.tick()
        finally:
            self._selector.close()
            for connection in self._connections:
                connection.close()

    def _serve(self, connection: socket.socket | None) -> None:
        if connection is None:
            return
        connection.settimeout(_SENDING)
        self._connections.add(connection)
        lines = Lines()
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(connection, lines))

    def _read(self, connection: socket.socket, lines: Lines) -> None:
        try:
            data = connection.recv(_PIECE)
            for line in lines.feed(data):
                connection.sendall(line_of(self._answer(line).encode()))
        except MessageError as error:
            _log.warning("a connection was ended: %s", error)
            data = b""
        except OSError:  # it is gone, or does not take its answer
            data = b""
        if not data:
            self._hang_up(connection)

    def _answer(self, line: str) -> Answer:
        try:
            request = Request.decode(line)
        except MessageError as error:
            return Answer(
                0,
                Trouble(
                    "unknown",
                    f"the service cannot read this request: {error}",
                    "run the manager module and the service of one release",
                ),
            )
        return Answer(request.number, self._service.answer(request.ask))

    def _hang_up(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        self._connections.discard(connection)
        connection.close()
        if connection is self._lifeline:
            # without its parent it ends
            _log.info("the other end is closed")
            self._service.end()
