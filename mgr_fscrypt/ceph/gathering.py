"""What libcephfs gathers of its own log, in memory, for the report of a crash that only Ceph's daemons write.

By default each call leaves lines there that are never shown, and wakes the thread that keeps them: a third of what a
mount takes of a CPU to make or read small files (run on 20.2.4). What a configuration file asks for stays as it is.
"""

from typing import Any

_USUAL = {"debug_client": "0/5", "debug_objectcacher": "0/5", "debug_objecter": "0/1"}
_NOTHING = "0/0"


def gather_nothing(library: Any) -> None:
    """For a `cephfs.LibCephFS` before it is mounted: log what goes wrong, and gather nothing beside it."""
    for name, usual in _USUAL.items():
        if library.conf_get(name) == usual:
            library.conf_set(name, _NOTHING)
