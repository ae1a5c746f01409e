"""What was done, told by the page that follows: in its address, sealed so that nobody else can put words there."""

import hashlib
import hmac

from .visit import Visit

LONGEST = 1000
"""Characters that are told."""


def sealed(visit: Visit, said: str) -> dict[str, str]:
    """The parameters of an address that tell it."""
    short = said[:LONGEST] or "done"
    return {"said": short, "seal": _seal(visit.csrf, short)}


def told(visit: Visit) -> str:
    """What the page before this one said; empty where somebody else wrote it into the address."""
    said = visit.query.get("said", "")
    return (
        said
        if said and hmac.compare_digest(_seal(visit.csrf, said), _ascii(visit.query.get("seal", "")))
        else ""
    )


def _seal(csrf: str, said: str) -> str:
    """Nobody but this session has its token."""
    return hmac.new(csrf.encode(), said.encode(errors="replace"), hashlib.sha256).hexdigest()[:32]


def _ascii(text: str) -> str:
    """`compare_digest` takes no other."""
    return text if text.isascii() else ""
