"""The way back to what was wanted when nobody was logged in: the page, or the form with what was typed."""

from urllib.parse import urlencode

from .arguments import fields
from .exchange import Request
from .problems import ProblemError

LONGEST = 8000
"""Characters of an address that is gone back to; of a form that has more, what was typed is left out."""
_NOT_TYPED = ("csrf", "tag", "loaded", "typed", "rehearse")
"""Fields of a form that belong to its session, or that somebody is to mean anew."""


def way_back(request: Request) -> str:
    """The address to go on with after the login. It only shows: a form that was sent is not sent again."""
    query = request.query
    if request.method == "POST":
        try:
            sent = fields(request.body.decode("ascii"))
        except (ProblemError, UnicodeError):
            sent = {}
        query = urlencode({name: each for name, each in sent.items() if name not in _NOT_TYPED})
    address = f"{request.path}?{query}" if query else request.path
    return address if len(address) <= LONGEST else request.path
