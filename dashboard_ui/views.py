"""What each page asks, and the template that shows it. Nothing here changes anything."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .plots import days_of, plotted
from .visit import Answer, Visit

PAGE = 100
"""Rows on a page."""
COUNTED = 1000
"""Keys that the overview counts; it says so where there are more."""
DAY = 86_400
_AGES = ((30, "up to 30 days"), (90, "up to 90 days"), (365, "up to a year"), (None, "older"))
_SOON = 30 * DAY
_SORTED = ("path", "fs_name", "mode", "contents", "registered")
_UNDER_WAY = ("queued", "running", "pausing", "paused", "waiting", "cancelling")


@dataclass(frozen=True)
class View:
    """What is shown: a template and its values. With `text` it is a file to keep, and no page."""

    template: str
    values: Mapping[str, Any]
    text: str | None = None


Shown = Callable[[Visit], View]


def _asked(visit: Visit, *names: str) -> dict[str, str | int | bool]:
    """Parameters of the address that go to a command as they are."""
    return {name: visit.query[name] for name in names if visit.query.get(name)}


def _rows(answer: Answer, name: str) -> Sequence[Mapping[str, Any]]:
    rows: Sequence[Mapping[str, Any]] = (answer.value or {}).get(name) or ()
    return rows


def _history(visit: Visit, title: str, figures: Mapping[str, str]) -> Mapping[str, Any]:
    """How something was over time: figures by what their curves are called."""
    days = days_of(visit.query.get("days", ""))
    answers = {
        name: visit.caller.call("history", {"what": what, "days": days}) for name, what in figures.items()
    }
    return {
        "title": title,
        "plot": plotted(answers),
        "answer": next((each for each in answers.values() if each.code), Answer(0, "")),
        "lines": [visit.caller.line("history", {"what": what, "days": days}) for what in figures.values()],
    }


def overview(visit: Visit) -> View:
    """Counts, and what somebody should see to."""
    call = visit.caller.call
    keys = call("key ls", {"limit": COUNTED})
    jobs = call("job ls", {})
    clients = call("client ls", {"limit": COUNTED})
    found = _rows(keys, "keys")
    now = time.time()
    return View(
        "overview.html",
        {
            "overview": call("status", {}),
            "keys": keys,
            "states": Counter(key["state"] for key in found).most_common(),
            "ages": _ages(found, now),
            "expiring": [key for key in found if key["expires"] and key["expires"] < now + _SOON],
            "drills": [key for key in found if key["drill_due"] and key["drill_due"] < now],
            "kms": call("kms ls", {}),
            "clients": clients,
            "verdicts": Counter(each["verdict"] for each in _rows(clients, "clients")),
            "jobs": jobs,
            "under_way": [job for job in _rows(jobs, "jobs") if job["state"] in _UNDER_WAY],
            "failed": [job for job in _rows(jobs, "jobs") if job["state"] == "failed"],
            "gates": call("gate show", {}),
            "service": call("service status", {}),
            "curves": [
                _history(visit, "Encrypted bytes, by file system", {"": "bytes"}),
                _history(visit, "Encrypted subtrees, by file system", {"": "subtrees"}),
            ],
            "now": now,
        },
    )


def _ages(keys: Iterable[Mapping[str, Any]], now: float) -> list[tuple[str, int]]:
    """How many keys that can be used are how old."""
    counted: Counter[str] = Counter()
    for key in keys:
        if key["state"] != "destroyed":
            days = (now - key["created"]) / DAY
            counted[next(name for most, name in _AGES if most is None or days <= most)] += 1
    return [(name, counted[name]) for _, name in _AGES]


def doctor(visit: Visit) -> View:
    """All that encryption depends on."""
    return View("doctor.html", {"report": visit.caller.call("doctor", _asked(visit, "fs"))})


def subtrees(visit: Visit) -> View:
    """The list, with filters; the rows of the page in the order that is asked for."""
    filters = ("fs", "mode", "master_key", "tenant", "state", "below", "text", "after")
    answer = visit.caller.call("subtree ls", {**_asked(visit, *filters), "limit": PAGE})
    rows, sort = list(_rows(answer, "subtrees")), visit.query.get("sort", "")
    if sort.removeprefix("-") in _SORTED:
        rows.sort(key=lambda row: row[sort.removeprefix("-")], reverse=sort.startswith("-"))
    return View(
        "subtrees.html", {"answer": answer, "rows": rows, "sort": sort, "file_systems": _file_systems(visit)}
    )


def subtree(visit: Visit) -> View:
    """One subtree: its policy, its key, its gate; or how far it is being made."""
    named = _asked(visit, "fs", "path")
    answer = visit.caller.call("subtree show", named)
    story = (answer.value or {}).get("creation")
    job = visit.caller.call("job show", {"job": story["job"]}) if story else None
    return View("subtree.html", {"answer": answer, "gate": visit.caller.call("gate show", named), "job": job})


def scanned(visit: Visit) -> View:
    """What the newest scan found, beside the register."""
    return View(
        "scanned.html", {"answer": visit.caller.call("subtree scanned", _asked(visit, "fs", "after"))}
    )


def keys(visit: Visit) -> View:
    """Keys, and those of tenants."""
    named = _asked(visit, "fs", "after")
    return View(
        "keys.html",
        {
            "answer": visit.caller.call("key ls", {**named, "limit": PAGE}),
            "tenants": visit.caller.call("tenant ls", {**_asked(visit, "fs"), "limit": PAGE}),
            "curves": [
                _history(
                    visit,
                    "Age of keys that can be used, in days",
                    {"oldest": "oldest-key", "mean": "mean-key"},
                )
            ],
            "file_systems": _file_systems(visit),
            "now": time.time(),
        },
    )


def key(visit: Visit) -> View:
    """One key: what opens it, its dates, where it is used."""
    named = _asked(visit, "fs", "key")
    answer = visit.caller.call("key show", named)
    used = None
    if answer.code == 0:
        identifier = (answer.value or {})["identifier"]
        used = visit.caller.call(
            "subtree ls", {**_asked(visit, "fs"), "master_key": identifier, "limit": PAGE}
        )
    return View(
        "key.html", {"answer": answer, "used": used, "wish": _wish(visit, answer), "now": time.time()}
    )


def _wish(visit: Visit, key: Answer) -> Mapping[str, Any] | None:
    """Who asked for the end of a key, and who approved; None: nobody did."""
    if key.code or not visit.caller.may("key destruction ls"):
        return None
    value = key.value or {}
    wishes = _rows(visit.caller.call("key destruction ls", {"limit": COUNTED}), "destructions")
    ours = (value["fs_name"], value["identifier"])
    return next((each for each in wishes if (each["fs_name"], each["key_identifier"]) == ours), None)


def kms(visit: Visit) -> View:
    """Key managers."""
    return View(
        "kms.html",
        {
            "answer": visit.caller.call("kms ls", _asked(visit, "fs")),
            "curves": [_history(visit, "Time that key managers took, in milliseconds", {"": "kms"})],
            "file_systems": _file_systems(visit),
        },
    )


def clients(visit: Visit) -> View:
    """Sessions and what each can do."""
    answer = visit.caller.call("client ls", {**_asked(visit, "fs", "after"), "limit": PAGE})
    counted = Counter(each["verdict"] for each in _rows(answer, "clients"))
    return View("clients.html", {"answer": answer, "verdicts": counted, "file_systems": _file_systems(visit)})


def client(visit: Visit) -> View:
    """One session."""
    arguments = _asked(visit, "fs")
    session = visit.query.get("session", "")
    if session.isascii() and session.isdecimal() and len(session) < 19:
        arguments["session"] = int(session)
    return View("client.html", {"answer": visit.caller.call("client explain", arguments)})


def gates(visit: Visit) -> View:
    """Gates, all or one."""
    return View("gates.html", {"answer": visit.caller.call("gate show", _asked(visit, "fs", "path"))})


def jobs(visit: Visit) -> View:
    """Migrations and other long work."""
    return View(
        "jobs.html",
        {
            "answer": visit.caller.call("job ls", {**_asked(visit, "after"), "limit": PAGE}),
            "curves": [_history(visit, "Entries that migrations got done a second", {"": "migrated"})],
        },
    )


def job(visit: Visit) -> View:
    """One job."""
    return View("job.html", {"answer": visit.caller.call("job show", _asked(visit, "job"))})


def migration(visit: Visit) -> View:
    """The newest job about a migration."""
    return View("job.html", {"answer": visit.caller.call("migrate status", _asked(visit, "fs", "path"))})


def job_errors(visit: Visit) -> View:
    """What a job met, as a file."""
    answer = visit.caller.call("job show", _asked(visit, "job"))
    if answer.code:
        return View("job.html", {"answer": answer})
    return View("", {}, json.dumps((answer.value or {})["errors"], indent=2) + "\n")


def audit(visit: Visit) -> View:
    """Records, newest first; those of a page that have a text in them."""
    after = visit.query.get("after", "")
    arguments: dict[str, str | int | bool] = {"limit": PAGE}
    if after.isascii() and after.isdecimal() and len(after) < 19:
        arguments["after"] = int(after)
    answer = visit.caller.call("audit ls", arguments)
    wanted = visit.query.get("text", "").casefold()
    rows = [act for act in _rows(answer, "acts") if wanted in " ".join(map(str, act.values())).casefold()]
    return View("audit.html", {"answer": answer, "rows": rows})


def audit_verified(visit: Visit) -> View:
    """Whether the chain is whole."""
    known = _asked(visit, "after")
    return View("verified.html", {"answer": visit.caller.call("audit verify", known)})


def settings(visit: Visit) -> View:
    """The engine service, where options are set, who has access, and who is logged in."""
    call, may = visit.caller.call, visit.caller.may
    access = (
        call("api access ls", {**_asked(visit, "after"), "limit": PAGE}) if may("api access ls") else None
    )
    return View(
        "settings.html",
        {
            "service": call("service status", {}),
            "overview": call("status", {}),
            "doors": call("api show", {}),
            "access": access,
            "sessions": call("api session ls", {"limit": PAGE}) if may("api session ls") else None,
        },
    )


def _file_systems(visit: Visit) -> Sequence[str]:
    return [each["name"] for each in _rows(visit.caller.call("status", {}), "file_systems")]


VIEWS: Mapping[str, Shown] = {
    "/": overview,
    "/doctor": doctor,
    "/subtrees": subtrees,
    "/subtrees/show": subtree,
    "/subtrees/scanned": scanned,
    "/keys": keys,
    "/keys/show": key,
    "/kms": kms,
    "/clients": clients,
    "/clients/show": client,
    "/gates": gates,
    "/jobs": jobs,
    "/jobs/show": job,
    "/jobs/errors": job_errors,
    "/migrations/show": migration,
    "/audit": audit,
    "/audit/verify": audit_verified,
    "/settings": settings,
}
