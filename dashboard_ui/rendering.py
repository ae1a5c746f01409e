"""Templates into pages: one environment, in which every value is escaped and every name has to exist."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .acts import BY_COMMAND
from .jobs import asked, outcome, title
from .plots import HEIGHT, SPANS, WIDTH, days_of
from .tables import by_column
from .telling import told
from .visit import Page, Visit
from .words import moment, number, size, span

HERE = Path(__file__).resolve().parent
HTML = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}
_PLACES = (
    ("/", "Overview"),
    ("/subtrees", "Subtrees"),
    ("/keys", "Keys"),
    ("/kms", "Key managers"),
    ("/clients", "Clients"),
    ("/gates", "Gates"),
    ("/jobs", "Migrations and jobs"),
    ("/audit", "Audit"),
    ("/doctor", "Doctor"),
    ("/settings", "Settings"),
)
"""The navigation: addresses, and what they are called."""


class Renderer:
    """Makes pages of templates.

    Args:
        assets: names of the static files that there are.
    """

    def __init__(self, *, assets: frozenset[str]) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            # those of one release belong together
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "moment": moment,
            "span": span,
            "number": number,
            "size": size,
            "title_of": title,
            "asked": asked,
            "outcome": outcome,
            "by_column": by_column,
        }
        self._environment.globals |= {
            "assets": assets,
            "places": _PLACES,
            "acts": BY_COMMAND,
            "address": address,
            "spans": SPANS,
            "days_of": days_of,
            "drawing": (WIDTH, HEIGHT),
        }

    def page(
        self,
        visit: Visit,
        template: str,
        values: Mapping[str, Any] | None = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Page:
        """Give the page of a visit."""
        given = values or {}
        home = given["act"].home if "act" in given else visit.path
        shown = {"visit": visit, "base": visit.base, "said": told(visit), "here": _place(home)}
        page = self.bare(template, {**shown, **given}, status=status)
        return Page(page.status, page.body, {**page.headers, **(headers or {})})

    def bare(self, template: str, values: Mapping[str, Any], *, status: int = 200) -> Page:
        """Give a page that nobody has to be logged in for."""
        return Page(status, self._environment.get_template(template).render(values), HTML)


def _place(path: str) -> str:
    """The entry of the navigation that a page belongs to."""
    first = path.strip("/").partition("/")[0]
    return "/jobs" if first == "migrations" else f"/{first}"


def address(path: str, values: Mapping[str, Any] | None = None, **more: object) -> str:
    """An address below the base, with what has a value as its parameters."""
    given = {name: each for name, each in {**(values or {}), **more}.items() if each not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path
