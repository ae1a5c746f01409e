"""Where a job about a subtree works: its path, and whether that is a place for it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from ...ceph.errors import NotFoundError
from ...ceph.interface import Mount, lies_at_or_below
from ...ceph.subvolumes import VOLUMES, Subvolume, SubvolumeError, subvolume_at
from ...engine import FileSystem, Keyring
from ...format import NEW_KEY_SIZE, MasterKey
from ...messages import MessageError, SubtreeFacts
from ...messages.subtree_job import read
from ...subtree_facts import facts_of
from ..jobs import JobFailedError, RefusedWishError

T = TypeVar("T")
_DEEP = 3
"""Names of `/volumes/GROUP/NAME`."""


def options_of(kind: type[T], options: Mapping[str, Any]) -> T:
    """What a wish says; raises `RefusedWishError` where that is something else."""
    try:
        return read(kind, options, "options")
    except MessageError as error:
        raise RefusedWishError(
            str(error), remedy="run the manager module and the service of one release"
        ) from error


@contextmanager
def opened(mount: Mount, *keys: MasterKey) -> Iterator[FileSystem]:
    """The file system with these keys, for a ``with`` block: nothing of it has them after that."""
    keyring = Keyring()
    for key in keys:
        keyring.add(key)
    try:
        with FileSystem(mount, keyring) as files:
            yield files
    finally:
        for key in keys:
            keyring.remove(key.identifier)


def require_full_size(key: MasterKey) -> None:
    """Raises `JobFailedError` for a short key that was adopted: what is new takes none."""
    if len(key) != NEW_KEY_SIZE:
        raise JobFailedError(
            f"the key {key.identifier.hex()} has {len(key)} bytes: a new subtree takes one of {NEW_KEY_SIZE}; nothing "
            "was changed",
            remedy="make one with `cephfs-fscrypt key create NAME --with kms`",
        )


def encoded(path: str) -> bytes:
    """A path as the mount takes it."""
    return path.encode()


def decoded(path: bytes) -> str:
    """A path as messages have it."""
    return path.decode(errors="backslashreplace")


def known_facts(files: FileSystem, path: bytes) -> SubtreeFacts:
    """Those of a subtree that is there. Raises `JobFailedError`."""
    try:
        facts = facts_of(files, path)
    except MessageError as error:
        raise JobFailedError(
            f"it is encrypted in a way that we do not write: {error}",
            remedy="only kernel clients can use it",
        ) from error
    if facts is None:
        raise JobFailedError(
            "it is not encrypted; nothing was changed",
            remedy="look at the path: `ceph fscrypt subtree ls`",
            code=5,
        )
    return facts


def data_of(mount: Mount, base: bytes) -> bytes:
    """The data directory of the subvolume with this directory.

    Raises:
        JobFailedError: there is none, or its data directory is no place for a policy.
    """
    try:
        found = _subvolume(mount, base)
    except NotFoundError as error:
        raise JobFailedError(
            "there is no such subvolume; nothing was changed", remedy="see `ceph fs subvolume ls`", code=5
        ) from error
    _require_ready(found)
    _require_snapshots_above(found)
    return found.path


def require_no_volume(mount: Mount, path: bytes) -> None:
    """Is it a directory that Ceph's volumes module does not need as it is?

    Raises:
        JobFailedError: it is that of a subvolume or holds one, or the data directory of one whose snapshots lie in it.
    """
    if not lies_at_or_below(path, VOLUMES):
        return
    names = path.split(b"/")[1:]
    if len(names) < _DEEP:
        raise JobFailedError(
            f"{decoded(path)} holds subvolumes, which Ceph's volumes module has to read; nothing was changed",
            remedy="encrypt a subvolume: --subvolume NAME",
        )
    base = b"/" + b"/".join(names[:_DEEP])
    try:
        found = _subvolume(mount, base)
    except NotFoundError:
        return
    if path == found.path:
        _require_snapshots_above(found)
    elif lies_at_or_below(found.path, path):
        raise JobFailedError(
            f"{decoded(path)} is the directory of a subvolume, whose data lies in {decoded(found.path)}; nothing was "
            "changed",
            remedy="encrypt its data: --subvolume NAME",
        )


def require_no_data(mount: Mount, path: bytes) -> None:
    """Raises `JobFailedError` for the data directory of a subvolume, which is not to be removed."""
    names = path.split(b"/")[1:]
    if not lies_at_or_below(path, VOLUMES) or len(names) < _DEEP:
        return
    try:
        found = _subvolume(mount, b"/" + b"/".join(names[:_DEEP]))
    except NotFoundError:
        return
    if lies_at_or_below(found.path, path):
        raise JobFailedError(
            "it is the data directory of a subvolume; nothing was changed",
            remedy="remove the subvolume: `ceph fs subvolume rm`, then `ceph fscrypt subtree forget`",
        )


def _subvolume(mount: Mount, base: bytes) -> Subvolume:
    try:
        return subvolume_at(mount, base)
    except SubvolumeError as error:
        raise JobFailedError(f"{error}; nothing was changed", remedy=error.remedy) from error


def _require_ready(found: Subvolume) -> None:
    if found.state != "complete":
        raise JobFailedError(
            f'the subvolume is "{found.state}"; nothing was changed',
            remedy="wait until `ceph fs subvolume info` says complete",
        )


def _require_snapshots_above(found: Subvolume) -> None:
    """The volumes module makes snapshots by plain names, which an encrypted directory cannot have."""
    if found.version >= 2:
        return
    kind = "a legacy subvolume" if found.version == 0 else "of version 1"
    raise JobFailedError(
        f"{decoded(found.path)} is the data of a subvolume that is {kind}: its snapshots lie in that directory itself, "
        "and Ceph's volumes module could not make or find one there any more; nothing was changed",
        remedy="make a new subvolume (`ceph fs subvolume create`), encrypt that one, and copy the data there with "
        "`cephfs-fscrypt put`; or encrypt a directory in it: PATH/NAME",
    )
