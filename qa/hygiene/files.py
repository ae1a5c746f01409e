"""Search files: logs, what programs printed, caches, core dumps, a monitor's store."""

from collections.abc import Iterable
from pathlib import Path

from .forms import Leak, Needles, Searched

_PIECE = 8 << 20


def search_files(kind: str, tops: Iterable[Path], needles: Needles) -> Searched:
    """Search files, and all regular files below directories; names of files, too."""
    items = size = 0
    leaks = set[Leak]()
    for file in _below(tops):
        try:
            with file.open("rb") as opened:
                kept = b""
                while piece := opened.read(_PIECE):
                    size += len(piece)
                    # a secret may lie across two pieces
                    data = kept + piece
                    leaks.update(needles.found_in(data, str(file)))
                    kept = data[-needles.longest :]
        except FileNotFoundError:
            # daemons remove files as they go
            continue
        items += 1
        leaks.update(needles.found_in(str(file).encode("utf-8", "surrogateescape"), f"name of {file}"))
    return Searched(kind, items, size, frozenset(leaks))


def _below(tops: Iterable[Path]) -> Iterable[Path]:
    for top in tops:
        if top.is_dir():
            yield from (file for file in top.rglob("*") if file.is_file() and not file.is_symlink())
        else:
            yield top
