"""Templates into pages: one environment, in which every value is escaped and every name has to exist."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .visit import Page, Visit

HERE = Path(__file__).resolve().parent
HTML = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}


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
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["moment"] = moment
        self._environment.globals["assets"] = assets

    def page(
        self, visit: Visit, template: str, values: Mapping[str, Any] | None = None, *, status: int = 200
    ) -> Page:
        """Give the page of a visit."""
        return self.bare(template, {"visit": visit, "base": visit.base, **(values or {})}, status=status)

    def bare(self, template: str, values: Mapping[str, Any], *, status: int = 200) -> Page:
        """Give a page that nobody has to be logged in for."""
        return Page(status, self._environment.get_template(template).render(values), HTML)


def moment(seconds: float) -> str:
    """A point in time for a person, in UTC."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
