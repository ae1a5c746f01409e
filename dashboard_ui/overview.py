"""The first page: what is encrypted, where, and by which key."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

# in ceph-mgr the package has another name, so only the types are named here
if TYPE_CHECKING:
    from mgr_fscrypt.control import Overview, SubtreePage

HERE = Path(__file__).resolve().parent


def overview_page(overview: "Overview", subtrees: "SubtreePage") -> str:
    """Give the page as one HTML document with its style sheet inside.

    Args:
        overview: the counts at the top.
        subtrees: the rows below; when there are more, the page says how to see them.
    """
    environment = Environment(
        loader=FileSystemLoader([HERE / "templates", HERE / "static"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    return environment.get_template("overview.html").render(overview=overview, page=subtrees)


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
