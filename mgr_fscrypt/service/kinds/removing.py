"""The kind `rm`: a subtree goes, top and all."""

from ...ceph.errors import NotFoundError
from ...ceph.interface import Mount
from ...engine import FileSystem, Keyring
from ...messages.job import JobWish
from ...messages.subtree_job import REMOVE, RemoveOptions, RemoveResult, as_result
from ..jobs import Controls, JobFailedError, Outcome
from .place import Reach
from .subtree_place import decoded, encoded, known_facts, options_of, require_no_data

BURST, PAUSE = 200, 0.1
"""After so many entries so many seconds pass: MDSs have others to serve, and purge what was removed."""
_BEGUN, _EMPTIED = "begun", "emptied"


class Remove:
    """A `Kind`."""

    name = REMOVE
    changes = True
    lasting = False

    def __init__(self, reach: Reach) -> None:
        """`reach` connects."""
        self._reach = reach

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        options_of(RemoveOptions, wish.options)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        options = options_of(RemoveOptions, wish.options)
        path = encoded(wish.path)
        with self._reach() as place, FileSystem(place.mount, Keyring()) as files:
            mount = place.mount
            try:
                counted = _counted(mount, path)
                self._require_same(mount, files, path, options)
            except NotFoundError:
                if controls.cursor != _EMPTIED:
                    # somebody moved it, maybe: its gate and its record are not to go
                    raise
                # an earlier run ended right after its last step
                return Outcome(as_result(RemoveResult(0, 0)))
            if options.dry_run:
                files.require_removable(path, contents=options.contents)
                return Outcome(as_result(counted))
            controls.save(_BEGUN)
            pace = _Pace(controls, counted.files + counted.directories + 1)
            removed = files.remove_subtree(
                path,
                contents=options.contents,
                inode=options.inode,
                proceed=pace,
                last=lambda: controls.save(_EMPTIED),
            )
        return Outcome(as_result(RemoveResult(removed.files, removed.directories)))

    def _require_same(self, mount: Mount, files: FileSystem, path: bytes, options: RemoveOptions) -> None:
        require_no_data(mount, path)
        facts = known_facts(files, path)
        if facts.inode != options.inode:
            raise JobFailedError(
                f"the subtree at {decoded(path)} has inode {facts.inode}, not {options.inode} as it is registered; "
                "nothing was changed",
                remedy="look what it is (`ceph fscrypt subtree adopt`), after `ceph fscrypt subtree forget`",
            )


class _Pace:
    """Called before each step: asks whether to go on, tells how far it is, and lets time pass now and then."""

    def __init__(self, controls: Controls, total: int) -> None:
        self._controls = controls
        self._total = total
        self._done = 0

    def __call__(self) -> None:
        self._controls.progress(self._done, max(self._total, self._done), "entries")
        self._done += 1
        if self._done % BURST == 0:
            self._controls.wait(PAUSE)


def _counted(mount: Mount, path: bytes) -> RemoveResult:
    files = int(mount.getxattr(path, "ceph.dir.rfiles"))
    # the top counts itself
    directories = int(mount.getxattr(path, "ceph.dir.rsubdirs"))
    return RemoveResult(files, max(directories - 1, 0))
