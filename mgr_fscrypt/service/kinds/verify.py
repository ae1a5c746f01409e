"""Jobs that look for damage in an encrypted subtree, and change nothing."""

import math
from collections import Counter
from contextlib import closing
from typing import Any

from ...ceph.errors import NoAttributeError
from ...ceph.interface import Mount
from ...engine import FileSystem, Keyring
from ...engine.fsck import PATIENCE, Finding, Fsck, Severity
from ...messages.job import JobWish
from ..jobs import Controls, JobFailedError, Outcome, RefusedWishError
from .place import Place, Reach

FIRST = 30
"""Findings that the result names; it counts all."""
MOST_RATE = 1_000_000
_LONGEST = 200
"""Characters of a path that it tells: the end says more than the begin."""


class Verify:
    """A `Kind`: `fsck` of a subtree with its key, without a repair.

    It begins from the start when it is gone on with: where it was could only be told by names, and trees change.

    The option `rate` is how many entries a second it looks at, at most: a tree that people work on is to stay quick.

    Its result: `entries` that were looked at; `busy`, how many were in use and not judged; `severities` and `findings`,
    counts of each; `first`, the first findings by name.
    """

    name = "verify"
    changes = False
    lasting = False

    def __init__(self, reach: Reach, patience: float = PATIENCE) -> None:
        self._reach = reach
        self._patience = patience

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        if wish.options.keys() - {"rate"}:
            raise RefusedWishError("a verify has the option rate only", remedy="leave out the others")
        rate = wish.options.get("rate", 1)
        if not (type(rate) is int and 0 < rate <= MOST_RATE):
            raise RefusedWishError(f"rate must be from 1 to {MOST_RATE} entries a second")

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        path = wish.path.encode()
        with self._reach() as place:
            identifier = _key_of(place.mount, path)
            with controls.key(identifier) as key:
                keyring = Keyring()
                keyring.add(key)
                try:
                    with FileSystem(place.mount, keyring) as files:
                        run = files.fsck(path, place.objects, patience=self._patience)
                        return _looked(run, wish, controls, _entries(place, path))
                finally:
                    keyring.remove(identifier)


def _key_of(mount: Mount, path: bytes) -> bytes:
    """The identifier of the key of a subtree."""
    with FileSystem(mount, Keyring()) as files:
        above = path.rpartition(b"/")[0] or b"/"
        if path != b"/" and files.subtree(above).policy is not None:
            # its name is nothing that a record may hold
            raise JobFailedError(
                "it lies inside of an encrypted subtree", remedy="name the top directory of that one"
            )
        policy = files.subtree(path).policy
    if policy is None:
        raise JobFailedError(
            "the directory is not encrypted",
            remedy="see `ceph fscrypt subtree ls`, and forget what is registered and no longer there",
        )
    return policy.key


def _entries(place: Place, path: bytes) -> int | None:
    """How many are there, as far as the MDS knows by now."""
    try:
        return int(place.mount.getxattr(path, "ceph.dir.rentries"))
    except NoAttributeError:
        return None


def _looked(run: Fsck, wish: JobWish, controls: Controls, total: int | None) -> Outcome:
    pause = 1 / float(wish.options.get("rate", math.inf))
    codes: Counter[str] = Counter()
    severities: Counter[str] = Counter()
    first: list[dict[str, Any]] = []

    def step() -> None:
        controls.progress(run.entries, None if total is None else max(total, run.entries), "entries")
        controls.wait(pause)

    with closing(run.findings(step)) as findings:
        for finding in findings:
            controls.note(finding.code.word, finding.stored)
            codes[finding.code.word] += 1
            severities[finding.code.severity.value] += 1
            if len(first) < FIRST:
                first.append(_shown(finding))
    controls.progress(run.entries, run.entries, "entries")
    clean = not any(severities[each.value] for each in Severity if each is not Severity.NOTE)
    return Outcome(
        {
            "entries": run.entries,
            "busy": run.busy,
            "severities": dict(severities),
            "findings": dict(codes),
            "first": first,
        },
        code=0 if clean else 1,
    )


def _shown(finding: Finding) -> dict[str, Any]:
    """Without its detail and its path as people see it: records are no place for names."""
    return {
        "finding": finding.code.word,
        "severity": finding.code.severity.value,
        "stored": finding.stored.decode("ascii", "backslashreplace")[-_LONGEST:],
        "inode": finding.ino,
        "repairable": finding.repair is not None,
        "remedy": finding.code.remedy,
    }
