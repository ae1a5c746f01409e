"""Jobs in words: what one is called, what was asked of it, and what came of it."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .acts import ACTS
from .words import moment, number, size, span

LISTED = 5
"""Things of a list that are shown; of further ones their number is."""
NOUNS: Mapping[str, str] = {
    "create": "Creation",
    "release": "Release to kernel clients",
    "hold": "Return to engine mode",
    "rm": "Removal",
    "adopt": "Registration",
    "verify": "Verification",
    "scan": "Scan",
    "migrate-plan": "Plan for a migration",
    "migrate": "Migration",
    "migrate-verify": "Verification of the migration",
    "migrate-rollback": "Rollback of the migration",
    "migrate-purge": "Purge of the old tree",
    "migrate-cancel": "Cancellation of the migration",
    "migrate-look": "Look at what is left of the migration",
}
"""What each kind of job is to a directory."""
Shown = Callable[[Any], str]


@dataclass(frozen=True)
class Fact:
    """One thing that is known.

    Args:
        term: what it is.
        shown: for a person; more than one of a list, of which these are the first.
        more: how many of the list are not shown.
    """

    term: str
    shown: tuple[str, ...]
    more: int = 0


@dataclass(frozen=True)
class Group:
    """What belongs together.

    Args:
        heading: what it is about; empty: the job itself.
        facts: about that.
    """

    heading: str
    facts: tuple[Fact, ...]


def title(job: Mapping[str, Any]) -> str:
    """What a job is called."""
    kind = job["kind"]
    noun = NOUNS.get(kind) or _worded(kind)
    return f"{noun} of {job['path']}{' (dry run)' if job['options'].get('dry_run') else ''}"


def asked(options: Mapping[str, Any]) -> Group:
    """What was asked for, as the forms call it; what was left as it is by default says nothing."""
    said = [
        _fact(_LABELS.get(name) or _worded(name), _SHOWN.get(name, _text), value)
        for name, value in options.items()
        if value and value != -1
    ]
    return Group("", tuple(said))


def outcome(result: Mapping[str, Any]) -> Iterator[Group]:
    """What came of a job."""
    return _groups("", "", result)


def _groups(heading: str, within: str, values: Mapping[str, Any]) -> Iterator[Group]:
    order = {name: place for place, name in enumerate(TERMS)}
    names = sorted(values, key=lambda name: order.get(f"{within}.{name}", order.get(name, len(order))))
    inner = {
        name for name in names if isinstance(values[name], dict) and values[name] and name not in _COUNTS
    }
    facts = [(*_known(name, within), values[name]) for name in names if name not in inner]
    if facts:
        yield Group(heading, tuple(_fact(*each) for each in facts))
    for name in names:
        if name in inner:
            yield from _groups(_known(name, within)[0], name, values[name])


def _known(name: str, within: str) -> tuple[str, Shown]:
    """What a field is called, and how it is shown; `within` an object it may have a meaning of its own."""
    own = f"{within}.{name}"
    term = TERMS.get(own) or TERMS.get(name) or _worded(name)
    return term, _SHOWN.get(own if own in TERMS else name, _text)


def _fact(term: str, shown: Shown, value: Any) -> Fact:
    match value:
        case dict():
            parts = [f"{_text(count)} {_worded(word, small=True)}" for word, count in value.items()]
        case list():
            parts = [shown(each) for each in value]
        case _:
            parts = [shown(value)]
    return Fact(term, tuple(parts[:LISTED]) or ("none",), max(0, len(parts) - LISTED))


def _worded(name: str, *, small: bool = False) -> str:
    words = name.replace("_", " ").replace("-", " ")
    return words if small else words[:1].upper() + words[1:]


def _text(value: Any) -> str:
    match value:
        case None:
            return "not known"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return number(value) if math.isfinite(value) else str(value)
        case dict():
            told = {
                name: _SHOWN.get(name, _text)(each) for name, each in value.items() if each not in ("", [])
            }
            return "; ".join(f"{_worded(name, small=True)}: {each}" for name, each in told.items())
        case list():
            return ", ".join(map(_text, value)) or "none"
        case _:
            return str(value) or "none"


def _measured(shown: Callable[[float], str], nothing: str = "") -> Shown:
    """Show a number so; `nothing` in the place of 0."""

    def told(value: Any) -> str:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return _text(value)
        return shown(value) if value or not nothing else nothing

    return told


def _meant(meanings: Mapping[str, str]) -> Shown:
    """Show a word by its meaning."""
    return lambda value: meanings.get(value, value) if isinstance(value, str) else _text(value)


def _brief(seconds: float) -> str:
    """A length of time that may be very short."""
    if seconds >= 60:
        return span(seconds)
    return f"{number(seconds)} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


_LABELS = {each.name: each.label for act in ACTS for each in act.fields}
_COUNTS = ("severities", "findings")
TERMS: Mapping[str, str] = {
    # of a migration, and how it stands
    "problems": "Could not be done",
    "written": "Written into the old tree since it was copied",
    "evicted": "Clients that were cut off",
    "standing": "How it stands",
    "direction": "Direction",
    "state": "State",
    "passes": "Passes over the old tree",
    "copied": "Files copied",
    "standing.verified": "Entries compared before the exchange",
    "gap": "Time with nothing at the path",
    "kept_until": "The old tree is kept until",
    "left_out": "Left out",
    "source": "Inode of the old tree",
    # of what compares both trees
    "same": "The same in both trees",
    "differ": "Different",
    "missing": "Missing in the new tree",
    "extra": "In the new tree alone",
    "error": "Could not be compared",
    # of what looks at a subtree, or for subtrees
    "entries": "Entries looked at",
    "subtrees": "Encrypted subtrees",
    "mixed": "Of these with what does not belong there",
    "busy": "Not judged, since others were at work on them",
    "severities": "Findings by severity",
    "findings": "Findings by kind",
    "first": "The first of them",
    # of what makes, changes or removes one
    "path": "Path",
    "found": "What was there",
    "refusal": "Why it cannot be registered",
    "verified": "Names decrypt with its key",
    "csi": "Where ceph-csi encrypts",
    "metadata": "Metadata of google/fscrypt",
    "changed": "Files changed",
    "unchanged": "Files that were so already",
    "files": "Files",
    "directories": "Directories",
    "bytes": "Contents",
    "snapshots": "Snapshots",
    "clients": "Clients that can reach it",
    "namespace": "RADOS namespace",
    "warnings": "Warnings",
    "advice": "Advice",
    # of a subtree that is there
    "facts": "The subtree",
    "inode": "Inode",
    "mode": "Mode",
    "policy": "Its policy",
    "policy.contents": "Cipher of contents",
    "policy.names": "Cipher of names",
    "padding": "Padding of names",
    "key": "Master key",
    "key_identifier": "Master key",
}
"""What fields of results are called, in the order in which people read them."""
_SHOWN: Mapping[str, Shown] = {
    "state": _meant(
        {
            "": "over",
            "copying": "the old tree is in place, the new one grows",
            "done": "the new tree is in place, the old one in the trash",
            "purging": "the new tree is in place, the old one is going",
        }
    ),
    "found": _meant({"missing": "nothing", "empty": "an empty directory", "done": "just such a subtree"}),
    "gap": _measured(_brief),
    "kept_until": _measured(moment, "no day was set"),
    "bytes": _measured(size),
    "bytes_per_second": _measured(size),
    "keep_trash": _measured(span),
    "inode": str,
    "source": str,
}
"""How fields are shown that are more than words and counts."""
