"""How large a request may be, at both doors: what is larger is refused before it is read, by whomever it was sent."""

from collections.abc import Callable, Mapping

from .problems import ProblemError

LONGEST_BODY = 1 << 20
"""Bytes of a request's body: what `ceph fscrypt apply` takes of resources at once, and more than all else needs."""
LONGEST_HEAD = 32 << 10
"""Bytes of an address with its headers."""
_DIGITS = 9


def body_length(headers: Mapping[str, str]) -> int:
    """Bytes of a body, as its headers say.

    Args:
        headers: by names in lower case.

    Raises:
        ProblemError: it is too large, or they do not say it: what is sent in chunks has lines of any length between.
    """
    if headers.get("transfer-encoding"):
        raise ProblemError(
            411, "the length of the body was not said before, nothing was changed", "send Content-Length"
        )
    said = headers.get("content-length", "") or "0"
    if not (said.isascii() and said.isdecimal()):
        raise ProblemError(400, "Content-Length is no number, nothing was changed")
    if len(said) > _DIGITS or int(said) > LONGEST_BODY:
        raise ProblemError(
            413, "the body is too large, nothing was changed", f"send {LONGEST_BODY} bytes at most"
        )
    return int(said)


def received(place: str, headers: Mapping[str, str], read: Callable[[int], bytes]) -> bytes:
    """The body of a request that is not too large.

    Args:
        place: the address, as it was sent.
        headers: by names in lower case.
        read: gives so many bytes of the body; fewer, where it ends before. Raises OSError: it does not come.

    Raises:
        ProblemError: it is too large, or not all there: of a document a part is one, too.
    """
    if len(place) > LONGEST_HEAD:
        raise ProblemError(414, "the address is too long, nothing was changed")
    if len(place) + sum(len(name) + len(value) for name, value in headers.items()) > LONGEST_HEAD:
        raise ProblemError(431, "the headers are too large, nothing was changed")
    length = body_length(headers)
    try:
        body = read(length) if length else b""
    except OSError:
        # nothing came for too long, or the client is gone
        body = b""
    if len(body) < length:
        raise ProblemError(400, "the body ended before its end, nothing was changed")
    return body
