"""Messages between a guard and its child: one plain value and some bytes each, over a stream socket.

The value is marshalled, which is fast and knows Python's own types only; both ends are this program, run by one
interpreter. The bytes are apart from it, so that they are not copied once more.
"""

import marshal
import socket
import struct
from typing import Any

_HEAD = struct.Struct("<II")


def send(connection: socket.socket, value: Any, data: bytes = b"") -> None:
    """Send one message.

    Raises:
        OSError: the other end is gone. It cannot have read the whole message.
    """
    body = marshal.dumps(value)
    parts = [_HEAD.pack(len(body), len(data)), body, data]
    sent = connection.sendmsg(parts)
    if sent < _HEAD.size + len(body) + len(data):
        connection.sendall(memoryview(b"".join(parts))[sent:])


def receive(connection: socket.socket) -> tuple[Any, bytes]:
    """The next message.

    Raises:
        EOFError: the other end is gone.
    """
    length, more = _HEAD.unpack(_exactly(connection, _HEAD.size))
    value = marshal.loads(_exactly(connection, length))  # noqa: S302 - from our own process
    return value, _exactly(connection, more) if more else b""


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        try:
            part = connection.recv(length - len(data), socket.MSG_WAITALL)
        except ConnectionError as error:
            raise EOFError from error
        if not part:
            raise EOFError
        # nearly always all of it at once, and then it is not copied
        data = data + part if data else part
    return data
