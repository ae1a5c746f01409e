"""The pages as a door sees them: a visit in, a page out."""

import mimetypes
from pathlib import Path

from .acts import BY_ADDRESS
from .doing import Doing
from .rendering import Renderer
from .views import VIEWS
from .visit import Page, Visit

HERE = Path(__file__).resolve().parent
FOLDERS = (HERE / "static", HERE / "assets")
"""Where files lie that nobody has to be logged in for: our own, and what `dashboard_ui.build` made of others'."""
_READ = ("GET", "HEAD")


class Pages:
    """All pages. One is enough for a process; it keeps nothing of a visit.

    Args:
        folders: where assets lie.
    """

    def __init__(self, folders: tuple[Path, ...] = FOLDERS) -> None:
        self._files = {file.name: file for folder in folders if folder.is_dir() for file in folder.iterdir()}
        self._renderer = Renderer(assets=frozenset(self._files))
        self._doing = Doing(self._renderer)

    def respond(self, visit: Visit) -> Page:
        """Give the page for a visit; what is posted is done by it.

        Never raises because of what was asked.
        """
        act = BY_ADDRESS.get(visit.path)
        if act is not None and visit.method == "POST":
            return self._doing.posted(visit, act)
        if visit.method not in _READ:
            allowed = {"Allow": "GET, HEAD" if act is None else "GET, HEAD, POST"}
            return self._renderer.page(visit, "lost.html", status=405, headers=allowed)
        if act is not None:
            return self._doing.form(visit, act)
        view = VIEWS.get(visit.path)
        if view is None:
            return self._renderer.page(visit, "lost.html", status=404)
        shown = view(visit)
        if shown.text is not None:
            kept = {
                "Content-Type": "application/json",
                "Content-Disposition": 'attachment; filename="errors.json"',
            }
            return Page(200, shown.text, kept)
        return self._renderer.page(visit, shown.template, shown.values)

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

    def outside(self, *, base: str, login: str, back: str) -> Page:
        """Give the page for somebody whom another one has to let in first; it waits for that, and goes on.

        Args:
            base: as of a `visit.Visit`. ``login`` below it is to redirect whoever was let in, and nobody else.
            login: where that is done.
            back: where to go on afterwards.
        """
        return self._renderer.bare("outside.html", {"base": base, "login": login, "back": back}, status=401)
