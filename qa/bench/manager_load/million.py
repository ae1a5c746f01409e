"""A million subtrees in the manager's own database, as many clusters of container volumes have them; and a history."""

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import astuple, fields
from itertools import islice

from mgr_fscrypt.control.history import BYTES, OLDEST
from mgr_fscrypt.store import (
    COARSE,
    COARSE_KEPT,
    FINE,
    FINE_KEPT,
    Joined,
    Key,
    KeyTable,
    LocalDatabase,
    Subtree,
)
from qa.lab.cluster import Cluster

SUBTREES = 1_000_000
SHARED_KEYS = 1_000
OWN_KEYS = 50_000
"""Subtrees that have a key of their own; the others share."""
GROUPS = 1_000
TENANTS = 100
CURVES = 8
"""Of each figure of the history."""
_AT_ONCE = 50_000


class ManagerDatabase(LocalDatabase):
    """The database of the module `fscrypt`, through libcephsqlite; ceph-mgr must not have it open."""

    def __init__(self) -> None:
        # SQLite knows the file system `ceph` from then on
        with sqlite3.connect(":memory:") as loader:
            loader.enable_load_extension(True)
            loader.load_extension("libcephsqlite.so")
        self._connection = sqlite3.connect(
            "file:///.mgr:fscrypt/main.db?vfs=ceph", uri=True, isolation_level=None
        )
        # as ceph-mgr's own class does
        for pragma in (
            "JOURNAL_MODE = PERSIST",
            "PAGE_SIZE = 65536",
            "TEMP_STORE = memory",
            # but for this, in MiB times -1024: rows of one key lie far apart in its index
            "CACHE_SIZE = -262144",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.row_factory = sqlite3.Row


def path_of(number: int) -> str:
    return f"/volumes/group-{number * GROUPS // SUBTREES:04}/csi-vol-{number:07}"


def key_of(number: int) -> str:
    """The key of a subtree; of keys that are shared, their numbers come first."""
    key = SHARED_KEYS + number if number < OWN_KEYS else number % SHARED_KEYS
    return _identifier(key)


def _identifier(key: int) -> str:
    return hashlib.sha256(str(key).encode()).hexdigest()[:32]


def keys() -> Iterator[Key]:
    for key in range(SHARED_KEYS + OWN_KEYS):
        identifier = _identifier(key)
        state = "disabled" if key % 100 == 0 else "active"
        yield Key(
            1,
            identifier,
            f"key-{key}",
            f"tenant-{key % TENANTS}",
            state,
            1,
            1,
            0,
            0,
            0,
            (("kms", "tenant", 1, 1),),
            1,
        )


def subtrees(fscid: int, count: int) -> Iterator[Subtree]:
    for number in range(count):
        mode = "kernel" if number % 50 == 0 else "engine"
        yield Subtree(
            fscid,
            path_of(number),
            "cephfs",
            (1 << 40) + number,
            mode,
            "AES-256-XTS",
            "AES-256-CBC-CTS",
            32,
            key_of(number),
            1_900_000_000,
        )


def samples(now: int) -> Iterator[tuple[str, int, int, str, float, int]]:
    """Rows of the history of two figures, as long as it is kept, with as many curves as it may have."""
    for span, kept in ((FINE, FINE_KEPT), (COARSE, COARSE_KEPT)):
        for at in range((now - kept) // span * span + span, now // span * span, span):
            for curve in range(CURVES):
                for what in (BYTES.name, OLDEST.name):
                    yield what, span, at, f"cephfs-{curve}", float(at % 977 + curve), 1


def fill(cluster: Cluster, count: int = SUBTREES) -> None:
    """Have the module know so many subtrees of the file system `cephfs`; it is away meanwhile. Twice is once."""
    (system,) = cluster.ceph_json("fs", "dump")["filesystems"]
    cluster.wait("the module's database", lambda: "SUBTREES" in cluster.ceph("fscrypt", "status"))
    if str(count) in cluster.ceph("fscrypt", "status"):
        return
    cluster.ceph("mgr", "module", "disable", "fscrypt")
    database = ManagerDatabase()
    try:
        joined = Joined(database)
        with joined.whole():
            for key in keys():
                KeyTable(joined).put(key)
        made = subtrees(system["id"], count)
        places = ", ".join("?" for _ in fields(Subtree))
        for _ in range(0, count, _AT_ONCE):
            with database.transaction() as db:
                rows = (astuple(each) for each in islice(made, _AT_ONCE))
                db.executemany(f"INSERT INTO Subtree VALUES ({places})", rows)  # noqa: S608 - our own
        with database.transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO Measured (what, span, at, about, value, n) VALUES (?, ?, ?, ?, ?, ?)",
                samples(int(time.time())),
            )
    finally:
        database.close()
    cluster.enable_module("fscrypt")
    cluster.wait("the module", lambda: str(count) in cluster.ceph("fscrypt", "status"))
