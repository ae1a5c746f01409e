"""Cuts a sample out of a full vector file: ``python3 -m qa.vectors.sample FULL.json SAMPLE.json.xz FRACTION``.

Directories, cases and snapshots stay, so that everything left can still be checked; of files, symlinks and
names a seeded part is taken. Counters of the whole go. ``ext4.json.xz`` and ``cephfs.json.xz`` were cut with
0.27 and 0.29 from what Linux 6.18 wrote on ext4, and Linux 7.2 on CephFS 18.2.7 and 20.2.4.
"""

import json
import lzma
import random
import stat
import sys
from pathlib import Path
from typing import Any

SEED = 20260101


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
    text = json.dumps(sample(json.loads(Path(full).read_bytes()), float(fraction)), separators=(",", ":"))
    Path(target).write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main(*sys.argv[1:])
