"""Cuts a sample out of a full vector file: ``python3 -m qa.vectors.sample FULL.json SAMPLE.json.xz FRACTION|shapes``.

Directories, cases and snapshots stay, so that everything left can still be checked; of files, symlinks and
names a seeded part is taken. Counters of the whole go. ``ext4.json.xz`` and ``cephfs.json.xz`` were cut with
0.27 and 0.29 from what Linux 6.18 wrote on ext4, and Linux 7.2 on CephFS 18.2.7 and 20.2.4. ``shapes.json.xz`` has
all files of the latter that ``shapes.py`` knows how to make again, of one key with each of the two ciphers: their
contexts, contents and sizes, and the digests of their objects.
"""

import json
import lzma
import random
import stat
import sys
from pathlib import Path
from typing import Any

from .shapes import RECIPES

SEED = 20260101
SHAPED_CASES = ("key32-pad32", "cbc128-pad16")


def sample(vectors: dict[str, Any], fraction: float) -> dict[str, Any]:
    """The same shape with fewer records."""
    chance = random.Random(SEED)
    for case in vectors.get("cases", []):
        _thin_case(case, fraction, chance)
    vectors.pop("checked_by_generator", None)
    for run in vectors.get("runs", []):
        run["entries"] = [
            entry for entry in run["entries"] if stat.S_ISDIR(entry["mode"]) or chance.random() < fraction
        ]
        run.pop("checked", None)
        run.pop("notes", None)
    return vectors


def shapes(vectors: dict[str, Any]) -> dict[str, Any]:
    """Only the files that were truncated or have holes; of their objects the sizes and digests."""
    for run in vectors["runs"]:
        run["cases"] = [case for case in run["cases"] if case["name"] in SHAPED_CASES]
        keys = [case["id"] for case in run["cases"]]
        run["entries"] = [
            entry
            for entry in run["entries"]
            if bytes.fromhex(entry["plain"]).decode(errors="replace") in RECIPES
            and any(key in entry["dir_auth"] for key in keys)
        ]
        for entry in run["entries"]:
            for found in entry["objects"].values():
                found.pop("hex", None)
        for other in ("checked", "notes", "snapshots"):
            run.pop(other, None)
    return vectors


def _thin_case(case: dict[str, Any], fraction: float, chance: random.Random) -> None:
    for kind in ("files", "symlinks"):
        case[kind] = [record for record in case[kind] if chance.random() < fraction]
    paths = {bytes.fromhex(record["path"]) for kind in ("dirs", "files", "symlinks") for record in case[kind]}
    for directory in case["dirs"]:
        path = bytes.fromhex(directory["path"])
        directory["entries"] = [
            entry
            for entry in directory["entries"]
            if (path + b"/" + bytes.fromhex(entry["plain"])).lstrip(b"/") in paths
            or chance.random() < fraction
        ]


def main(full: str, target: str, fraction: str) -> None:
    """Read, cut, write."""
    vectors = json.loads(Path(full).read_bytes())
    chosen = shapes(vectors) if fraction == "shapes" else sample(vectors, float(fraction))
    text = json.dumps(chosen, separators=(",", ":"))
    Path(target).write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main(*sys.argv[1:])
