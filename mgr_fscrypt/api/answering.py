"""What both doors do alike: a request never ends in an error that nobody told, and a page is a reply."""

from collections.abc import Callable
from logging import Logger

from dashboard_ui.pages import Pages
from dashboard_ui.visit import Page

from .arguments import decoded
from .exchange import Reply
from .problems import ProblemError


def answered(work: Callable[[], Reply], log: Logger) -> Reply:
    """What work gives, or why it does not; of a mistake of ours a client learns that it was one, and the log all."""
    try:
        return work()
    except ProblemError as problem:
        return problem.reply()
    except Exception:
        log.exception("a request failed by a mistake of this module")
        return ProblemError(500, "internal error", "report it with this minute of the manager's log").reply()


def asset(pages: Pages, path: str) -> Reply:
    """A file that pages need. Raises `ProblemError`: there is none.

    Args:
        pages: have it.
        path: as it was sent, below the place of the assets.
    """
    found = pages.asset(decoded(path))
    if found is None:
        raise ProblemError(404, "there is no such file")
    return shown(found)


def shown(page: Page) -> Reply:
    """A page as it is sent."""
    body = page.body
    return Reply(page.status, body.encode() if isinstance(body, str) else body, page.headers)
