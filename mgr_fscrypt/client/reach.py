"""What dies with a key, and what its end does not reach."""

import os
from collections.abc import Iterator
from contextlib import suppress

from ..ceph.access import Access
from ..ceph.connect import connect
from ..ceph.errors import CephError
from ..ceph.mount import CephMount
from ..keys.audit import Audit
from ..keys.lockbox import Lockbox
from .advice import shown
from .times import moment


def what_dies(access: Access, audit: Audit, box: Lockbox) -> Iterator[str]:
    """A line for each subtree under a key, with its snapshots, and for each copy of the key that is known of."""
    yield from _subtrees(access, box)
    for record in audit.records():
        if record.act == "export-bundle" and box.key in record.key and record.result == "done":
            yield f"out of reach: the bundle that {record.who} wrote on {moment(record.at)}"
        if record.act == "recover" and box.key in record.key and record.result == "done":
            yield f"out of reach: the key itself, which {record.who} wrote into a file on {moment(record.at)}"
    yield "within a minute: services, and mounts by --open, wipe it from memory; open files go on until they are closed"
    yield "out of reach: mounts by --key, programs and kernels' keyrings that have it unlocked: lock them there"
    yield "out of reach: backups of the pool, what key managers keep of old versions, and key files that people made"


def _subtrees(access: Access, box: Lockbox) -> Iterator[str]:
    with connect(access) as mount:
        try:
            name = mount.cluster.file_system().name
            paths = list(_paths_under(mount, name, box.key))
        except CephError as error:
            yield f"what dies with key {box.name} is not known, the manager does not tell: {error.strerror}"
            return
        for path in paths:
            snapshots = ", ".join(_snapshots(mount, path))
            yield f"dies with key {box.name}: {shown(path)}" + (
                f", snapshots {snapshots}" if snapshots else ""
            )
        if not paths:
            yield f"no subtree under key {box.name} is registered with the manager; others may be there"


def _paths_under(mount: CephMount, fs_name: str, key: str) -> Iterator[str]:
    """The subtrees under a key that the manager knows, page by page. Raises CephError."""
    place: dict[str, str] = {}
    while True:
        page = mount.cluster.command("fscrypt subtree ls", fs=fs_name, master_key=key, **place)
        yield from (each["path"] for each in page["subtrees"])
        if page["following"] is None:
            return
        place = {"after": page["following"]}


def _snapshots(mount: CephMount, path: str) -> Iterator[str]:
    with suppress(CephError):
        for entry in mount.scandir(os.fsencode(path).rstrip(b"/") + b"/.snap"):
            yield shown(entry.name)
