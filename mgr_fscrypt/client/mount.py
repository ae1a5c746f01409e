"""``mount``: an encrypted subtree as a local directory, through FUSE, until it is unmounted."""

import errno
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..ceph.access import Access
from ..engine import DiskCache, FileMode, KernelNames
from .advice import shown
from .arenas import share_memory
from .connection import opened
from .fuse_operations import FuseOperations
from .given_keys import GivenKeys
from .outcome import Exit, Failure
from .report import Reporter

_DEVICE = Path("/dev/fuse")


@dataclass(frozen=True)
class Serving:
    """What is mounted where: with a cache on disk or without, with a kernel for long names or without, and a file for
    what goes wrong later.

    `detached`: its terminal is left once the mount is there; until then it may ask for a secret.
    """

    subtree: bytes
    directory: Path
    cache: DiskCache | None
    kernel_names: KernelNames | None
    log: Path | None
    detached: bool


def mount(
    access: Access,
    keys: GivenKeys,
    reporter: Reporter,
    wanted: Serving,
) -> Exit:
    """Mount and serve, in this process; answers when the mount is gone and all that was written is durable.

    What is told of the mount is told once it is there. Files in kernel mode can make libcephfs abort at any time
    (doc/facts.md F4), so it is kept in a child process where they are; engine mode has none, and is faster without.

    Raises:
        Failure: the directory cannot be mounted on, or this host cannot do it.
    """
    subtree, place = wanted.subtree, wanted.directory.absolute()
    _require_mountable(place)
    share_memory()
    with opened(access, keys) as connection:
        found = connection.files.subtree(subtree)
    if found.mode is None:
        raise Failure(
            Exit.REFUSED,
            f"{shown(subtree)} is not encrypted",
            remedy=f"mount it with ceph-fuse, or make it a subtree: `cephfs-fscrypt subtree create {shown(subtree)}`",
        )
    read_only = found.mode is FileMode.KERNEL

    def ready() -> None:
        value = {
            "mounted": shown(place),
            "subtree": shown(subtree),
            "read_only": read_only,
            "unlocked": found.unlocked,
            "process": os.getpid(),
        }
        if wanted.detached:
            os.setsid()
        reporter.answer(value, in_words(value))
        sys.stdout.flush()

    logging.basicConfig(
        filename=wanted.log, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    with (
        opened(
            access, keys, cache=wanted.cache, guarded=read_only, kernel_names=wanted.kernel_names
        ) as connection,
        keys.watched(),
    ):
        _serve(FuseOperations(connection.files, subtree, ready), place, read_only=read_only)
    return Exit.DONE


def in_words(mounted: Mapping[str, object]) -> str:
    """What is told of a mount, for people."""
    words = f"mounted {mounted['subtree']} at {mounted['mounted']}, process {mounted['process']}"
    if mounted["read_only"]:
        words += "; read-only, since it is in kernel mode"
    if not mounted["unlocked"]:
        words += "; locked, since its key was not given: names are shown as they are stored"
    return words


def _serve(operations: FuseOperations, place: Path, *, read_only: bool) -> None:
    try:
        from . import fuse_library
    except (ImportError, OSError) as error:
        raise Failure(
            Exit.REFUSED,
            f"this host cannot mount: {error}",
            remedy="install libfuse 3 (fuse3) and the Python package mfusepy (extra `mount`)",
        ) from error
    # nothing of the caller's is held for as long as the mount lives
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir("/")
    try:
        fuse_library.serve(operations, place, read_only=read_only)
    except fuse_library.MountRefusedError as error:
        raise Failure(
            Exit.REFUSED,
            f"cannot mount at {shown(place)}: {error}",
            remedy="look at what libfuse said above, and at the rights on the directory and on /dev/fuse",
        ) from error
    finally:
        operations.close()


def _require_mountable(place: Path) -> None:
    try:
        empty = next(place.iterdir(), None) is None
    except FileNotFoundError as error:
        raise Failure(
            Exit.NOT_FOUND, f"there is no directory {shown(place)}", remedy="make it with `mkdir`"
        ) from error
    except NotADirectoryError as error:
        raise Failure(
            Exit.REFUSED, f"{shown(place)} is not a directory", remedy="name an empty directory"
        ) from error
    except OSError as error:
        dead = error.errno == errno.ENOTCONN
        raise Failure(
            Exit.REFUSED,
            f"cannot read {shown(place)}: {error.strerror}",
            remedy=f"a dead mount is there; run `umount {shown(place)}`" if dead else "look at its mode",
        ) from error
    if not empty:
        raise Failure(
            Exit.REFUSED,
            f"{shown(place)} is not empty: what is in it would be out of sight",
            remedy="name an empty directory",
        )
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        raise Failure(Exit.REFUSED, f"{_DEVICE} cannot be used here", remedy="load the kernel's fuse module")
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        raise Failure(
            Exit.REFUSED,
            "there is no fusermount3, which mounts for users that are not root",
            remedy="install fuse3",
        )
