"""Mount points and encrypted directories of mounts by the kernel, and what an errno of its fscrypt means there."""

import errno
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..format import Policy
from .advice import shown
from .kernel_keys import KernelKeys
from .kernel_mounts import PROC, KernelMount, mount_of, mounts_on
from .outcome import Exit, Failure

# fs/crypto/keyring.c: each user's claim is a key of this type, which only that user can see
_OWN_CLAIM = re.compile(r" \.fscrypt +([0-9a-f]{32})\.uid\.", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """An open directory of a mounted file system.

    Args:
        path: as it was given.
        mount: that it lies in.
        keys: of the file system.
        policy: of the directory; None when it is not encrypted.
    """

    path: Path
    mount: KernelMount
    keys: KernelKeys
    policy: Policy | None


@contextmanager
def opened(path: Path) -> Iterator[Place]:
    """Open a mount point, or an encrypted directory below one.

    Raises:
        Failure: it is neither, or its file system has no fscrypt.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        keys = KernelKeys(descriptor)
        mount = mount_of(descriptor)
        begins_here = path.resolve() == mount.place
        with explained(mount):
            policy = keys.policy() if begins_here else _policy_if_any(keys)
        if policy is None and not begins_here:
            raise Failure(
                Exit.REFUSED,
                f"{shown(path)} is neither a mount point nor encrypted: "
                f"it lies in the {mount.kind} that is mounted at {shown(mount.place)}",
                remedy="mount the file system first, or give its mount point or an encrypted directory",
            )
        yield Place(path, mount, keys, policy)
    finally:
        os.close(descriptor)


def _policy_if_any(keys: KernelKeys) -> Policy | None:
    """None also where there can be none: that the right file system is not mounted there is what is to be told."""
    try:
        return keys.policy()
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP):
            return None
        raise


def own_claims(keys: KernelKeys) -> list[bytes]:
    """Give the identifiers of the keys that the calling user has added to a file system."""
    # the list is of all file systems: each key is asked for in this one
    listed = _OWN_CLAIM.findall((PROC / "keys").read_text())
    names = dict.fromkeys(bytes.fromhex(name) for name in listed)
    return [name for name in names if keys.status(name).added_by_self]


def other_mounts(mount: KernelMount) -> list[str]:
    """Tell where else a file system is mounted, in all mount namespaces that the caller may look into."""
    places = dict.fromkeys(
        shown(one.place) + ("" if one.pid == os.getpid() else f" (of process {one.pid})")
        for one in mounts_on(mount.device)
        if one.number != mount.number
    )
    return list(places)


@contextmanager
def explained(mount: KernelMount) -> Iterator[None]:
    """Say plainly what an errno of the ioctls means."""
    try:
        yield
    except OSError as error:
        failure = _failure(error, mount)
        if failure is None:
            raise
        raise failure from error


def _failure(error: OSError, mount: KernelMount) -> Failure | None:
    where = f"{mount.kind} at {shown(mount.place)}"
    match error.errno:
        case errno.ENOTTY | errno.ENOSYS if mount.kind.startswith("fuse"):
            return Failure(
                Exit.REFUSED,
                f"{where} is served by a program, so the kernel encrypts nothing there and takes no key for it",
                remedy="give the key to that program (`cephfs-fscrypt mount --key FILE`), or mount with the kernel",
            )
        case errno.ENOTTY | errno.ENOSYS:
            return Failure(
                Exit.REFUSED,
                f"{where} has no fscrypt in this kernel (Linux {platform.release()})",
                remedy="CephFS has it from Linux 6.6 on; `cephfs-fscrypt mount` works with any kernel",
            )
        case errno.EOPNOTSUPP:
            return Failure(
                Exit.REFUSED,
                f"fscrypt is not enabled for the {where}",
                remedy="CephFS needs a kernel with CONFIG_FS_ENCRYPTION and an MDS of Ceph 18 or newer; "
                "ext4 its feature `encrypt` (`tune2fs -O encrypt DEVICE`)",
            )
        case errno.EACCES | errno.EPERM if error.filename is None:
            return Failure(
                Exit.REFUSED,
                f"the kernel lets only root do this to a key of the {where}",
                remedy="run it as root",
            )
        case errno.EDQUOT:
            return Failure(
                Exit.REFUSED,
                "you have added as many keys as the kernel lets you (/proc/sys/kernel/keys/maxkeys)",
                remedy="lock what you no longer need, or have root unlock it",
            )
        case errno.ENOKEY:
            return Failure(
                Exit.NOT_FOUND,
                f"the key is not in the {where} any more: somebody else has locked it meanwhile",
                remedy="see `cephfs-fscrypt status`",
            )
    return None
