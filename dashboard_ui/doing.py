"""Forms: what was typed becomes an operation; what it says is shown, or told by the page that follows."""

import errno
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from .acts import Act, Values
from .rendering import Renderer
from .telling import sealed
from .visit import Answer, Arguments, Page, Visit

LONGEST = 4096
"""Characters that a field takes."""
_TYPED = "typed"
_STATUS = {
    errno.ENOENT: 404,
    errno.EEXIST: 409,
    errno.EBUSY: 409,
    errno.EACCES: 403,
    errno.EAGAIN: 503,
    errno.ESTALE: 412,
}
_DIGITS = 16
_LOOKED_THROUGH = 200
_TOLD = 3
"""Newest records of the audit in which those about one thing are looked for, and how many of them are told."""


@dataclass(frozen=True)
class _Typed:
    """What was typed: as it was, as the command takes it, and what is wrong with it, by field."""

    values: Values
    arguments: Arguments
    wrong: Values = field(default_factory=dict)


class Doing:
    """Serves the forms of acts.

    Args:
        renderer: makes pages.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def form(self, visit: Visit, act: Act) -> Page:
        """The form, with fields filled in that the address has."""
        values = {each.name: visit.query[each.name] for each in act.fields if each.name in visit.query}
        typed = _typed(act, values, complete=False)
        return self._page(visit, act, typed, tag=visit.caller.tag(act.command, typed.arguments))

    def posted(self, visit: Visit, act: Act) -> Page:
        """Do it, or rehearse it; the form again where something is wrong."""
        values = {name: each.strip() for name, each in visit.form.items()}
        typed = _typed(act, values, complete=True)
        tag = visit.form.get("tag", "")
        if "rehearse" in visit.form and act.rehearsal:
            said = None if typed.wrong else visit.caller.call(act.rehearsal, _rehearsal(act, typed.arguments))
            return self._page(visit, act, typed, rehearsed=said, status=422 if typed.wrong else 200, tag=tag)
        wrong = {**typed.wrong, **_mistyped(act, values)}
        if wrong:
            return self._page(visit, act, _Typed(values, typed.arguments, wrong), status=422, tag=tag)
        arguments = dict(typed.arguments)
        if act.confirm:
            arguments["confirm"] = values[_TYPED]
        caller = visit.caller
        answer = caller.call_if(act.command, arguments, tag) if tag else caller.call(act.command, arguments)
        if answer.code == 0 and act.once:
            return self._page(visit, act, typed, shown=(answer.value or {}).get(act.once), status=201)
        if answer.code == 0:
            return Page(303, "", {"Location": visit.base + _followed(visit, act, values, answer)})
        if answer.code == errno.EOPNOTSUPP:
            # what takes a key, or what opens one: the line for a client
            line = (answer.value or {}).get("line")
            return self._page(visit, act, typed, line=line, refused=None if line else answer)
        changed = _acts_meanwhile(visit, typed.arguments) if answer.code == errno.ESTALE else None
        status = _STATUS.get(answer.code, 422)
        return self._page(visit, act, typed, refused=answer, changed=changed, status=status, tag=tag)

    def _page(
        self,
        visit: Visit,
        act: Act,
        typed: _Typed,
        *,
        status: int = 200,
        rehearsed: Answer | None = None,
        refused: Answer | None = None,
        line: str | None = None,
        shown: str | None = None,
        changed: Sequence[Mapping[str, Any]] | None = None,
        tag: str = "",
    ) -> Page:
        values: dict[str, Any] = {
            "act": act,
            "typed": typed.values,
            "wrong": typed.wrong,
            "rehearsed": rehearsed,
            "refused": refused,
            "client_line": line,
            "shown": shown,
            "changed": changed,
            "tag": tag,
            "loaded": _loaded(visit),
            "anew": {
                each.name: typed.values[each.name] for each in act.fields if typed.values.get(each.name)
            },
            "cli": visit.caller.line(act.command, typed.arguments),
            "allowed": visit.caller.may(act.command),
        }
        return self._renderer.page(visit, "act.html", values, status=status)


def _typed(act: Act, values: Values, *, complete: bool) -> _Typed:
    """Read fields as the command takes them.

    Args:
        act: whose fields.
        values: what was typed.
        complete: whether what is missing is wrong.
    """
    arguments: dict[str, str | int | bool] = {}
    wrong: dict[str, str] = {}
    for each in act.fields:
        text = values.get(each.name, "")
        if not text:
            if each.required and complete:
                wrong[each.name] = "This is needed."
        elif len(text) > LONGEST:
            # what is cut would mean something else: some of those who are to be admitted
            wrong[each.name] = f"This is too long: {LONGEST} characters at most."
        elif each.kind == "flag":
            arguments[each.name] = True
        elif each.kind == "number" or (each.kind == "choice" and text.isdecimal()):
            if text.isascii() and text.isdecimal() and len(text) < 16:
                arguments[each.name] = int(text)
            else:
                wrong[each.name] = "This has to be a number, 0 or more."
        elif each.kind == "choice" and text not in each.choices:
            wrong[each.name] = "This is none of the choices."
        else:
            # a word that is there and empty is not one that is left out
            arguments[each.name] = "" if text == '""' else text
    return _Typed(values, arguments, wrong)


def _mistyped(act: Act, values: Values) -> Values:
    if act.typed and values.get(_TYPED, "") != values.get(act.typed, ""):
        return {_TYPED: f"This is not what it is called: {values.get(act.typed, '')}"}
    return {}


def _loaded(visit: Visit) -> int:
    """When the form was loaded, in seconds since the epoch."""
    text = visit.form.get("loaded", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _DIGITS else int(time.time())


def _acts_meanwhile(visit: Visit, arguments: Arguments) -> Sequence[Mapping[str, Any]]:
    """The newest records of what was done to that which a form is about, since it was loaded.

    None where nobody may see them, or it changed by itself: what is known of its key, or how far it is being made.
    """
    loaded = _loaded(visit)
    answer = visit.caller.call("audit ls", {"limit": _LOOKED_THROUGH})
    words = [str(arguments[name]) for name in ("fs", "path", "job") if name in arguments]
    found = [
        act
        for act in (answer.value or {}).get("acts", ())
        if act["code"] == 0 and act["at"] >= loaded and all(word in act["about"] for word in words)
    ]
    return found[:_TOLD]


def _rehearsal(act: Act, arguments: Arguments) -> Arguments:
    return {**arguments, "dry_run": True} if act.rehearsal == act.command else arguments


def _followed(visit: Visit, act: Act, values: Values, answer: Answer) -> str:
    """The page that follows what was done, below the base: the job, where one was begun; with what was said."""
    home = act.way_home(values)
    begun = answer.value or {}
    if isinstance(begun.get("job"), dict) and not all(values.get(name) for name in act.kept):
        # that of a subtree whose path nobody knows yet
        begun = begun["job"]
    # what is done to a job is shown by its page, and all jobs of a migration by that of the migration
    shown = act.command.partition(" ")[0] == "job" or act.home == "/migrations/show"
    if not shown and {"id", "kind", "state"} <= begun.keys():
        home = f"/jobs/show?{urlencode({'job': begun['id']})}"
    sign = "&" if "?" in home else "?"
    return f"{home}{sign}{urlencode(sealed(visit, answer.status))}"
