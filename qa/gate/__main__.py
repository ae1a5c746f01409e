"""`python -m qa.gate --client KIND [--json]`: the proof on the cluster of this chamber; exit code 1 on a difference."""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from mgr_fscrypt.control.text import table
from qa.facts.client import Clients
from qa.fakes.engine_cases import SECRET
from qa.lab.cluster import Cluster

from .place import Place, befriended, made
from .story import Connect, Row, Steady, Story
from .strays import FuseStray, LibraryStray, Stray

KINDS = ("libcephfs", "ceph-fuse", "engine")
_TITLES = ("RUNG", "CLIENT", "ACT", "PROMISED", "SEEN", "")


def main() -> int:
    """Tell what was seen, beside what is promised."""
    parser = argparse.ArgumentParser(prog="qa/run gate")
    parser.add_argument("--client", choices=KINDS, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = prove(options.client)
    if options.json:
        found = [asdict(row) | {"ok": row.ok} for row in rows]
        sys.stdout.write(f"{json.dumps({'client': options.client, 'rows': found}, indent=2)}\n")
    else:
        sys.stdout.write(f"{_shown(rows)}\n")
    return 0 if all(row.ok for row in rows) else 1


def prove(kind: str) -> list[Row]:
    """All rungs against one kind of client. Of our engine only what it does itself is told."""
    # something has to be kept out while our engine works
    strays = "libcephfs" if kind == "engine" else kind
    cluster = Cluster.current()
    cluster.enable_module("fscrypt")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = folder / "key"
        key.write_bytes(SECRET)
        key.chmod(0o600)
        with (
            made(cluster, key) as place,
            befriended(place, folder) as friend,
            Steady(friend, place) as steady,
            _strays(strays, place, folder) as connect,
        ):
            story = Story(place, friend, connect, strays, steady)
            story.isolated()
            story.fenced()
            story.excluded()
    return [row for row in story.rows if kind != "engine" or row.who == "engine"]


@contextmanager
def _strays(kind: str, place: Place, folder: Path) -> Iterator[Connect]:
    with Clients(place.cluster) as clients, ExitStack() as ending:

        def connect(root: str) -> Stray:
            made = (
                FuseStray(place, folder, root) if kind == "ceph-fuse" else LibraryStray(place, clients, root)
            )
            ending.callback(made.end)
            return made

        yield connect


def _shown(rows: list[Row]) -> str:
    cells = [
        (
            row.rung,
            row.who,
            row.act,
            row.promised,
            f"{row.seen} {row.detail}".strip(),
            "" if row.ok else "DIFFERS",
        )
        for row in rows
    ]
    bad = sum(not row.ok for row in rows)
    return f"{table(_TITLES, cells)}\n{len(rows)} acts, {bad} not as promised"


if __name__ == "__main__":
    sys.exit(main())
