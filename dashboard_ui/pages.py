"""The pages as a door sees them: a visit in, a page out."""

import mimetypes
from pathlib import Path

from .rendering import Renderer
from .visit import Page, Visit

HERE = Path(__file__).resolve().parent
FOLDERS = (HERE / "static", HERE / "assets")
"""Where files without a login lie: our own, and what `npm run build` made of packages of others."""

_OVERVIEW = {"overview": "status", "subtrees": "subtree ls"}


class Pages:
    """All pages. One is enough for a process; it keeps nothing of a visit.

    Args:
        folders: where assets lie.
    """

    def __init__(self, folders: tuple[Path, ...] = FOLDERS) -> None:
        self._files = {file.name: file for folder in folders if folder.is_dir() for file in folder.iterdir()}
        self._renderer = Renderer(assets=frozenset(self._files))

    def respond(self, visit: Visit) -> Page:
        """Give the page for a visit; what is posted is done by it.

        Never raises because of what was asked.
        """
        if visit.path != "/":
            return self._renderer.page(visit, "lost.html", status=404)
        answers = {name: visit.caller.call(command, {}) for name, command in _OVERVIEW.items()}
        return self._renderer.page(visit, "overview.html", answers)

    def asset(self, path: str) -> Page | None:
        """Give a static file, for the part of the address after ``assets/``; None where there is none."""
        file = self._files.get(path)
        if file is None:
            return None
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        text = "; charset=utf-8" if kind.startswith("text/") else ""
        return Page(200, file.read_bytes(), {"Content-Type": kind + text, "Cache-Control": "max-age=3600"})

    def login(
        self, *, base: str, csrf: str, nonce: str, trouble: str = "", link: str = "", back: str = "/"
    ) -> Page:
        """Give the page with the form that a token is typed into; it posts to `base`/login.

        Fields: ``csrf``, ``token`` (or ``link``, where one was followed), ``back``.

        Args:
            base, csrf, nonce: as of a `visit.Visit`.
            trouble: why the last attempt failed; one line.
            link: the one-time secret of a link that was followed: then a button takes the place of the token.
            back: where to go afterwards, below `base`.
        """
        values = {"base": base, "csrf": csrf, "nonce": nonce, "trouble": trouble, "link": link, "back": back}
        return self._renderer.bare("login.html", values, status=403 if trouble else 200)
