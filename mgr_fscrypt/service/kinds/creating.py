"""The kind `create`: a directory becomes an encrypted subtree."""

import errno
from collections.abc import Callable
from contextlib import closing

from ...ceph.interface import Mount
from ...engine import FileMode, FileSystem, Keyring, Mode, Prospect, RefusedError, State, Wish, policy_of
from ...engine.foreign import CSI, METADATA
from ...engine.paths import joined
from ...messages.job import JobWish
from ...messages.subtree_job import CREATE, DONE, EMPTY, MISSING, CreateOptions, CreateResult, as_result
from ..jobs import Controls, JobFailedError, Outcome
from .place import Reach
from .subtree_place import (
    data_of,
    decoded,
    encoded,
    known_facts,
    opened,
    options_of,
    require_full_size,
    require_no_volume,
)

_FOUND = {State.MISSING: MISSING, State.EMPTY: EMPTY, State.DONE: DONE}
_CONTENTS = {mode.title: mode for mode in (Mode.AES_256_XTS, Mode.AES_128_CBC)}


class Create:
    """A `Kind`. Its steps are `FileSystem.make_subtree`'s: what a killed run has done is met by the next one."""

    name = CREATE
    changes = True
    lasting = False

    def __init__(self, reach: Reach) -> None:
        """`reach` connects."""
        self._reach = reach

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        options_of(CreateOptions, wish.options)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        options = options_of(CreateOptions, wish.options)
        policy = policy_of(bytes.fromhex(options.key), options.padding, _CONTENTS[options.contents])
        with self._reach() as place:
            mount = place.mount
            path = _place(mount, encoded(wish.path), subvolume=options.subvolume)
            asked = Wish(
                policy,
                FileMode(options.mode),
                options.namespace or None,
                make=not options.subvolume,
            )
            if options.dry_run:
                with FileSystem(mount, Keyring()) as files:
                    found = _told(mount, path, lambda: files.prospect(path, asked))
                return _outcome(mount, path, found, None)
            with controls.key(policy.key) as key, opened(mount, key) as files:
                require_full_size(key)
                controls.check()
                found = _told(mount, path, lambda: files.make_subtree(path, asked))
                return _outcome(mount, path, found, files)


def _place(mount: Mount, path: bytes, *, subvolume: bool) -> bytes:
    if subvolume:
        return data_of(mount, path)
    require_no_volume(mount, path)
    return path


def _told(mount: Mount, path: bytes, act: Callable[[], Prospect]) -> Prospect:
    """Do it; what others have encrypted there is named where it is in the way."""
    try:
        return act()
    except RefusedError as error:
        if error.errno == errno.ENOTEMPTY and _csi_at(mount, path):
            raise JobFailedError(
                f"{decoded(path)} is a volume of ceph-csi, which encrypts {decoded(CSI)} in it and keeps its keys in "
                f"{decoded(METADATA)}; nothing was changed",
                remedy=f"register that one: `ceph fscrypt subtree adopt FS {decoded(joined(path, CSI))}`",
            ) from error
        raise


def _csi_at(mount: Mount, path: bytes) -> bool:
    with closing(mount.scandir(path)) as entries:
        return any(each.name == CSI for each in entries)


def _outcome(mount: Mount, path: bytes, found: Prospect, files: FileSystem | None) -> Outcome:
    warnings = found.warnings
    if path.endswith(b"/" + CSI):
        warnings += (
            "ceph-csi gives this directory a policy of its own when it mounts the volume, and fails where it finds "
            "another one.",
        )
    facts = None if files is None else known_facts(files, path)
    return Outcome(
        as_result(
            CreateResult(
                path=decoded(mount.absolute(path)),
                found=_FOUND[found.state],
                namespace=found.namespace,
                warnings=warnings,
                facts=facts,
            )
        )
    )
