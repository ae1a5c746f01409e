"""Messages on a stream: one line of UTF-8 each. JSON as we write it has no line break inside."""

from collections.abc import Iterator

from .strict import MessageError

LONGEST = 256 << 10
"""Bytes of a line: the status of a service with a thousand keys fits twice."""


class Lines:
    """Takes bytes as they come, and gives whole lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that these bytes complete.

        Raises:
            MessageError: a line is too long, or no UTF-8. The stream is of no use from there on.
        """
        self._rest += data
        while (end := self._rest.find(b"\n")) >= 0:
            line = bytes(self._rest[:end])
            del self._rest[: end + 1]
            self._require_short(len(line))
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                msg = "a line must be UTF-8"
                raise MessageError(msg) from error
        self._require_short(len(self._rest))

    def _require_short(self, length: int) -> None:
        if length > LONGEST:
            msg = f"a line must be at most {LONGEST} bytes"
            raise MessageError(msg)


def line_of(text: str) -> bytes:
    """A message as its line.

    Raises:
        MessageError: it is too long.
    """
    data = text.encode()
    if len(data) > LONGEST:
        msg = f"a line must be at most {LONGEST} bytes, not {len(data)}"
        raise MessageError(msg)
    return data + b"\n"
