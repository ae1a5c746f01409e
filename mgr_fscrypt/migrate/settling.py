"""What a crash left: an exchange that was begun is finished or undone, by what is where."""

import errno

from ..ceph.interface import Mount
from ..engine import RefusedError
from .places import Places
from .record import Journal, Record, State
from .turns import Turns


class Settling:
    """For the holder of the turn."""

    def __init__(self, mount: Mount, places: Places, turns: Turns, journal: Journal) -> None:
        self._mount = mount
        self._places = places
        self._turns = turns
        self._journal = journal

    def settled(self) -> Record | None:
        """The record, after an exchange of whoever died was finished or undone; None where nothing is migrated.

        What is where decides, not what the record says was intended. Between the two renames of a cut-over it is
        finished, since what stands beside was verified and nobody could reach what it was copied from; between those
        of a rollback as well. The same is done for one who slept past the end of its lease and made one rename more
        than it was allowed to.

        Raises:
            RefusedError: the record is of another file system, or of another path.
            DamagedError: the trees are where nothing of ours puts them.
        """
        self._turns.require()
        record = self._journal.read()
        if record is None:
            return None
        if record.cluster != self._mount.identity():
            raise RefusedError(
                errno.ESTALE,
                "its record is of another cluster or file system: this is a copy of it",
                self._places.path,
                remedy=f"Remove {self._places.hidden.decode(errors='replace')} if the copy is complete without it.",
            )
        if record.path != path_of_all(self._mount, self._places.path):
            raise RefusedError(
                errno.ESTALE,
                f"its record is of {record.path}",
                self._places.path,
                remedy="Move the directories above back to where they were when it was begun.",
            )
        if not record.new and record.state not in (State.COPYING, State.CANCELLING):
            raise self._places.elsewhere(record)
        if record.state in (State.CANCELLING, State.PURGING):
            return self._in_use(record)
        return self._exchanged(record)

    def _exchanged(self, record: Record) -> Record:
        places = self._places
        match (record.state, *places.trees):
            case ((State.CUTTING | State.UNDOING), record.source, 0, record.new):
                return self._journal.enter(record, State.COPYING)
            case ((State.CUTTING | State.UNDOING), record.new, record.source, 0):
                return self._journal.enter(record, State.DONE)
            case ((State.CUTTING | State.DONE), 0, record.source, record.new):
                self._turns.renamed((places.new, places.path))
                return self._journal.enter(record, State.DONE)
            case ((State.UNDOING | State.COPYING), 0, record.source, record.new):
                self._turns.renamed((places.old, places.path))
                return self._journal.enter(record, State.COPYING)
            case (State.COPYING, record.source, 0, _) | (State.DONE, _, record.source, 0):
                return record
            case _:
                raise places.elsewhere(record)

    def _in_use(self, record: Record) -> Record:
        """While something is removed: the tree that is kept is at the path. One who slept past the end of its lease may
        have moved it to where its own exchange would have."""
        places, renamed = self._places, self._turns.renamed
        match (record.state, *places.trees):
            case (State.CANCELLING, 0, record.source, (0 | record.new)) | (State.PURGING, 0, record.new, 0):
                renamed((places.old, places.path))
            case State.CANCELLING, 0, 0, _ if places.number(places.going) == record.source:
                renamed((places.going, places.path))
            case State.PURGING, 0, (0 | record.source), record.new:
                renamed((places.new, places.path))
            case (State.CANCELLING, record.source, 0, _) | (
                State.PURGING,
                record.new,
                (0 | record.source),
                0,
            ):
                pass
            case _:
                raise places.elsewhere(record)
        return record


def path_of_all(mount: Mount, path: bytes) -> str:
    """A path as records have it: in the whole file system."""
    return mount.absolute(path).decode("utf-8", "surrogateescape")
