"""Search the manager module's database, as SQL: pages cut what they hold, so its bytes alone prove nothing.

libcephsqlite keeps a database in objects NAME.0000000000000000 and on, one after the other (`SimpleRADOSStriper`);
read without its lock, since the manager holds that for as long as it runs. Nothing may write meanwhile.
"""

import sqlite3
import tempfile
from pathlib import Path

import rados

from .forms import Needles, Searched

_POOL, _NAMESPACE, _NAME = ".mgr", "fscrypt", "main.db."
_PIECE = 4 << 20


def search_database(cluster: rados.Rados, needles: Needles) -> Searched:
    """Search all rows of all tables."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "main.db")
        file.write_bytes(_read(cluster))
        connection = sqlite3.connect(file)
        try:
            lines = [line.encode("utf-8", "surrogateescape") for line in connection.iterdump()]
        finally:
            connection.close()
    leaks = {leak for line in lines for leak in needles.found_in(line, f"database: {line[:60]!r}")}
    return Searched("manager database", len(lines), sum(map(len, lines)), frozenset(leaks))


def _read(cluster: rados.Rados) -> bytes:
    with cluster.open_ioctx(_POOL) as ioctx:
        ioctx.set_namespace(_NAMESPACE)
        data = b""
        for name in sorted(entry.key for entry in ioctx.list_objects() if entry.key.startswith(_NAME)):
            offset = 0
            while piece := ioctx.read(name, _PIECE, offset):
                data += piece
                offset += len(piece)
        return data
