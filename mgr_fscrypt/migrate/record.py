"""What is known of a migration beyond the two trees: one attribute of its hidden directory,
`trusted.fscrypt.migration`.

It is JSON, replaced as a whole, and durable before what it announces is begun. It names no file below the top, so it
tells nothing that the directory's own name does not.
"""

import errno
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import Enum
from hashlib import sha256
from typing import Any

from ..ceph.errors import NoAttributeError, NotFoundError
from ..ceph.interface import Mount
from ..engine import DamagedError
from ..engine.paths import joined

RECORD = "trusted.fscrypt.migration"
HIDDEN = b".fscrypt-migration-"
_VERSION = 1


class Direction(Enum):
    """From what to what."""

    ENCRYPT = "encrypt"
    REENCRYPT = "re-encrypt"
    DECRYPT = "decrypt"


class State(Enum):
    """How far it is."""

    COPYING = "copying"
    """The source is in place; the new tree grows beside it."""
    CUTTING = "cutting over"
    """The new tree is verified, and is about to take the place of the source: whoever comes finishes or undoes it."""
    DONE = "done"
    """The new tree is in place; the old one is in the trash."""
    UNDOING = "rolling back"
    """The old tree is about to take its place again."""
    CANCELLING = "cancelling"
    """The source is in place; the new tree is going."""
    PURGING = "purging"
    """The new tree is in place; the old one is going."""


@dataclass(frozen=True)
class Record:
    """One migration.

    Attributes:
        cluster: of the cluster and the file system.
        path: of the source, in the whole file system.
        source: the number of the source's top.
        new: the number of the new tree's top; 0 until it is there.
        anchors: the number of the directory with the names that files with several are known by; 0 until it is there.
        key: identifier of the key of the new tree, or of the source where it is decrypted.
        plan: the plan that it was started with.
        gap: seconds without anything at the path, measured at the last cut-over.
        verified: entries that were compared before it.
        trash: of the old tree, when that began (`trees.fingerprint`): another one since then says that it was written.
        manifest: digest of the manifest that the last verification wrote (`manifest`); empty until there is one.
        namespace: that was asked for; empty: none.
        passes, copied, size: of all runs; files and bytes.
        keep: seconds that the trash is to be kept from the cut-over on; 0: until somebody purges it.
        kept_until: when it may go, in seconds since 1970; 0: nobody said so.
        excluded: the numbers of what is left out (`excluding`), in ascending order.
    """

    cluster: str
    path: str
    direction: Direction
    source: int
    key: str
    plan: str
    state: State = State.COPYING
    new: int = 0
    anchors: int = 0
    gap: float = 0.0
    verified: int = 0
    trash: str = ""
    manifest: str = ""
    passes: int = 0
    copied: int = 0
    size: int = 0
    keep: int = 0
    kept_until: int = 0
    namespace: str = ""
    excluded: tuple[int, ...] = ()

    def keeping(self, seconds: int, now: float) -> "Record":
        """The record where the trash is to be kept so long, from now on where there is one."""
        until = int(now) + seconds if seconds and self.state is State.DONE else 0
        return replace(self, keep=seconds, kept_until=until)

    def due(self, now: float) -> bool:
        """Has the time of the trash come? So it has where its purge was begun."""
        return self.state is State.PURGING or (self.state is State.DONE and 0 < self.kept_until <= now)

    def encode(self) -> bytes:
        """As it is stored."""
        value = asdict(self) | {
            "version": _VERSION,
            "state": self.state.value,
            "direction": self.direction.value,
        }
        return json.dumps(value).encode()

    @classmethod
    def decode(cls, stored: bytes) -> "Record":
        """Raises `ValueError`: it is none, or one of a later version."""
        value: Any = json.loads(stored)
        if not isinstance(value, dict) or value.pop("version", None) != _VERSION:
            raise ValueError("a record of another version")
        try:
            value["state"], value["direction"] = State(value["state"]), Direction(value["direction"])
            value["excluded"] = tuple(value.get("excluded", ()))
            return cls(**value)
        except (KeyError, TypeError) as error:
            raise ValueError(str(error)) from error


def hidden_of(path: bytes) -> bytes:
    """The hidden directory of a migration of what lies at `path`: beside it, so in the same file system and quota."""
    above, _, name = path.rpartition(b"/")
    return joined(above or b"/", HIDDEN + sha256(name).hexdigest()[:16].encode())


def no_migration(path: bytes) -> NotFoundError:
    """What is to be raised where there is none."""
    return NotFoundError(errno.ENOENT, "no migration is under way, or kept to be rolled back", path)


class Journal:
    """The record in its place. `require_turn` is called before each change of it."""

    def __init__(self, mount: Mount, hidden: bytes, require_turn: Callable[[], None]) -> None:
        self._mount = mount
        self._hidden = hidden
        self._require_turn = require_turn

    def read(self) -> Record | None:
        """None where there is no migration.

        Raises:
            DamagedError: what is there is no record.
        """
        try:
            return Record.decode(self._mount.getxattr(self._hidden, RECORD))
        except (NotFoundError, NoAttributeError):
            return None
        except ValueError as error:
            raise DamagedError(
                errno.EUCLEAN,
                f"{RECORD} is no record that this version knows: {error}",
                self._hidden,
                remedy="Use the version that made it. Nothing was changed.",
            ) from error

    def write(self, record: Record) -> Record:
        """Durable when it returns."""
        self._require_turn()
        self._mount.setxattr(self._hidden, RECORD, record.encode())
        self._mount.sync()
        return record

    def enter(self, record: Record, state: State) -> Record:
        """The record in another state, durably."""
        return self.write(replace(record, state=state))
