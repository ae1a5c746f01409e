"""`qa/run release`: the list before a release, as far as a program can go through it."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from configparser import RawConfigParser
from dataclasses import dataclass
from pathlib import Path

from mgr_fscrypt.store.schema import MIGRATIONS
from qa.manual import pages

from .cache import Cache

_BY_HAND = (
    "the changelog says what changed for users, in their words",
    "the threat model, guarantees and limits are still true",
    "names, formats and exit codes that were promised are as they were: doc/compatibility.md",
    "the manual was read as a new user would, from the README on",
)
_NOT_RECORDED = frozenset({"report", "state", "workers", "format", "migrate_growth", "__init__"})
"""Modules of qa/bench and qa/soak that leave no record of a release: parts of others, and what is measured by hand."""


@dataclass(frozen=True)
class Looked:
    """One line of the list; `wrong` is empty where it is as it should be."""

    what: str
    wrong: str = ""


def looked_at(root: Path, cache: Cache) -> list[Looked]:
    """Look at all of the list, in a checkout."""
    commit = _git(root, "describe", "--always", "--abbrev=12", "--exclude=*")
    return [
        Looked("nothing is changed and not committed", _git(root, "status", "--porcelain")),
        Looked("the version is the same everywhere", same_version(root)),
        Looked("the changelog has this version, with its day", dated(root)),
        Looked("this version has no tag yet", _git(root, "tag", "--list", f"v{version(root)}")),
        Looked("`qa/run test` has passed, all of it, on this commit", _passed(cache, commit)),
        Looked("every command of the manual was run as it stands", manual_record(root)),
        Looked("long runs and measurements have a record, and none that failed", records(root)),
        Looked("each step of the database's schema has its dump", schema_dumps(root)),
    ]


def tell(list_: Sequence[Looked]) -> int:
    """Print it, with what a person has to look at; 1 where something is missing."""
    for each in list_:
        lines = each.wrong.splitlines()
        sys.stdout.write(f"{'ok      ' if not lines else 'MISSING '} {each.what}\n")
        sys.stdout.writelines(f"          {line}\n" for line in lines[:10])
    for what in _BY_HAND:
        sys.stdout.write(f"by hand  {what}\n")
    return 1 if any(each.wrong for each in list_) else 0


def version(root: Path) -> str:
    """What setup.cfg says."""
    metadata = RawConfigParser()
    metadata.read(root / "setup.cfg")
    return metadata["metadata"]["version"]


def same_version(root: Path) -> str:
    """What is wrong with the places that name the version."""
    told = {
        "setup.cfg": version(root),
        "mgr_fscrypt/messages/release.py": _found(
            root / "mgr_fscrypt/messages/release.py", r'RELEASE = "([^"]+)"'
        ),
        "doc/openapi.json": json.loads((root / "doc/openapi.json").read_text())["info"]["version"],
    }
    return (
        "" if len(set(told.values())) == 1 else "\n".join(f"{name}: {found}" for name, found in told.items())
    )


def dated(root: Path) -> str:
    """What is wrong with the newest heading of the changelog."""
    heading = _found(root / "CHANGELOG.md", r"(?m)^## (.+)$")
    wanted = rf"{re.escape(version(root))}, \d{{4}}-\d\d-\d\d"
    return "" if re.fullmatch(wanted, heading) else f"its newest heading is {heading!r}"


def manual_record(root: Path) -> str:
    """What is wrong with the record of the manual's commands: a page that failed, or that is another one by now."""
    file = root / "doc/results/manual.json"
    if not file.exists():
        return "there is no doc/results/manual.json: `qa/run manual run`"
    told = {each["page"]: each for each in json.loads(file.read_text())["pages"]}
    wrong = [f"{name}: {line}" for name, each in told.items() for line in each["wrong"]]
    now = {page.name: page.digest() for page in pages.every(root)}
    changed = [name for name, digest in now.items() if told.get(name, {}).get("digest") != digest]
    return "\n".join([*wrong, *(f"{name} has changed since: `qa/run manual run`" for name in changed)])


def records(root: Path) -> str:
    """Which records of long runs and measurements are missing, or tell of failures."""
    kept = {file.stem: json.loads(file.read_text()) for file in (root / "doc/results").glob("*.json")}
    wanted = {file.stem for file in (root / "qa/soak").glob("[a-z]*.py")} - _NOT_RECORDED
    benches = {file.stem for file in (root / "qa/bench").glob("[a-z]*.py")} - _NOT_RECORDED
    wrong = [f"qa/run soak {name}: no record" for name in sorted(wanted - kept.keys())]
    wrong += [
        f"qa/run bench {name}: no record"
        for name in sorted(benches)
        if not {name, f"{name}_bench"} & kept.keys()
    ]
    return "\n".join([*wrong, *(f"doc/results/{name}.json tells of failures" for name in _failed(kept))])


def _failed(kept: Mapping[str, Mapping[str, object]]) -> list[str]:
    return sorted(name for name, record in kept.items() if record.get("failures"))


def schema_dumps(root: Path) -> str:
    """Which steps of the database's schema have no dump of the schema before them."""
    there = {int(file.stem.rpartition("-")[2]) for file in (root / "qa/vectors/store").glob("schema-*.sql")}
    return "\n".join(f"no schema-{number}.sql" for number in range(1, len(MIGRATIONS)) if number not in there)


def _passed(cache: Cache, commit: str) -> str:
    done = (cache.place("passed") / commit).exists()
    return "" if done else f"there is no such run of {commit} on this machine"


def _found(file: Path, pattern: str) -> str:
    found = re.search(pattern, file.read_text()) if file.exists() else None
    return found[1] if found else "none"


def _git(root: Path, *words: str) -> str:
    answer = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else answer.stderr.strip()
