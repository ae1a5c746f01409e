"""Templates into pages: one environment, in which every value is escaped and every name has to exist."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .acts import BY_COMMAND
from .plots import HEIGHT, SPANS, WIDTH, days_of
from .telling import told
from .visit import Page, Visit

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
        self._environment.filters |= {"moment": moment, "span": span, "number": number, "pretty": pretty}
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


def moment(seconds: float) -> str:
    """A point in time for a person, in UTC; one that no calendar has as the number that it is."""
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s after 1970"


def span(seconds: float) -> str:
    """A length of time for a person, roughly."""
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count = int(abs(seconds) // size)
        if count:
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "no time"


def number(value: float) -> str:
    """A number for a person, in groups of three digits."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.3g}"


def pretty(value: object) -> str:
    """Plain JSON types as a text that people can read."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def address(path: str, values: Mapping[str, Any] | None = None, **more: object) -> str:
    """An address below the base, with what has a value as its parameters."""
    given = {name: each for name, each in {**(values or {}), **more}.items() if each not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path
