"""What is not wanted any more goes: the trash by `purge`, the new tree by `cancel`.

Both want the tree that is kept at the path, by its inode; they rename what is to go to a place of its own first, remove
that alone, and stop where they meet the inode of the tree that is kept.
"""

import errno
from collections.abc import Callable

from ..ceph.errors import CephError
from ..ceph.interface import Mount
from ..engine import BusyError, RefusedError
from .clearing import remove_marks, remove_tree, require_no_snapshots
from .excluding import left_in
from .pace import Limits, Pace
from .places import Places
from .record import Journal, Record, State
from .trees import PlainTree, fingerprint, remove_all
from .turns import Turns


class Removing:
    """For the holder of the turn. Each may be called again after an interruption. `go_on` is called before each
    entry; entries are removed no faster than files may be copied, and in the same window."""

    def __init__(
        self,
        mount: Mount,
        places: Places,
        turns: Turns,
        journal: Journal,
        go_on: Callable[[], None],
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._mount = mount
        self._places = places
        self._turns = turns
        self._journal = journal
        self._go_on = go_on

    def purge(self, record: Record, *, lose_changes: bool, lose_excluded: bool) -> None:
        """Raises as `migration.Migration.purge`."""
        places = self._places
        if record.state is not State.PURGING:
            require_state(places, record, State.DONE, "it was not cut over", "use `migrate cancel`")
            places.require(record, record.new, record.source, 0)
            require_no_snapshots(self._mount, places.old, places.path, self._go_on)
            if not lose_excluded:
                self._require_none_left_out(record)
            if not lose_changes:
                self._require_unwritten(record)
            record = self._journal.enter(record, State.PURGING)
        if places.number(places.old):
            places.require(record, record.new, record.source, 0)
            self._set_aside(record, places.old)
        places.require(record, record.new, 0, 0)
        if places.number(places.gone) not in (0, record.source):
            raise places.elsewhere(record)
        remove_tree(self._mount, places.gone, places.path, self._paced(), kept=record.new)
        places.require(record, record.new, 0, 0)
        remove_marks(self._mount, places.path, self._paced())
        self._leave(record)

    def cancel(self, record: Record) -> None:
        """Raises as `migration.Migration.cancel`."""
        places = self._places
        if record.state is not State.CANCELLING:
            require_state(places, record, State.COPYING, "it was cut over", "use `migrate rollback` first")
            places.require_source(record)
            record = self._journal.enter(record, State.CANCELLING)
        if places.number(places.work):
            places.require_source(record)
            self._set_aside(record, places.work)
        places.require_source(record)
        remove_tree(self._mount, places.gone, places.path, self._paced(), kept=record.source)
        self._leave(record)

    def _paced(self) -> Callable[[], None]:
        """`go_on`, but no more often than the limits say."""
        pace = Pace(self._limits, self._go_on)

        def go_on() -> None:
            self._go_on()
            pace.done(files=1)

        return go_on

    def _set_aside(self, record: Record, place: bytes) -> None:
        """Into the place from where it is removed, which is empty."""
        if self._places.number(self._places.gone):
            raise self._places.elsewhere(record)
        self._turns.renamed((place, self._places.gone))

    def _leave(self, record: Record) -> None:
        """Remove what is empty by now. What is not, another process has moved something into."""
        self._mount.sync()
        self._turns.require()
        try:
            if self._places.number(self._places.work):
                self._mount.rmdir(self._places.work)
            for left in (self._places.shards, self._places.manifest):
                remove_all(PlainTree(self._mount), left)
            self._mount.rmdir(self._places.hidden)
        except CephError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            raise self._places.elsewhere(record) from error
        self._mount.sync()

    def _require_none_left_out(self, record: Record) -> None:
        left = left_in(self._mount, self._places.old, frozenset(record.excluded), self._go_on)
        if left:
            raise BusyError(
                errno.EBUSY,
                f"{len(left)} were excluded, and are in the trash only, the first: {left[0].decode(errors='replace')}",
                self._places.path,
                remedy="Nothing was removed. Move them out of it, or purge with --lose-excluded.",
            )

    def _require_unwritten(self, record: Record) -> None:
        if (
            fingerprint(self._mount, self._places.old, self._go_on, frozenset(record.excluded))
            != record.trash
        ):
            raise BusyError(
                errno.EBUSY,
                f"the old tree was written after it was compared, by a client that nobody knew of: what it wrote is in "
                f"{self._places.old.decode(errors='replace')} only",
                self._places.path,
                remedy="Nothing was removed. Look at it (`migrate start` names the files), copy what is missed, and "
                "purge with --lose-changes.",
            )


def require_state(places: Places, record: Record, state: State, happened: str, remedy: str) -> None:
    """Raises `RefusedError`, EINVAL: it is in another state."""
    if record.state is not state:
        raise RefusedError(errno.EINVAL, happened, places.path, remedy=f"{remedy}. Nothing was changed.")
