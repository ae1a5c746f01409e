"""A stand-in for a kernel mount of CephFS: ext4 on a loop device, whose fscrypt is the same kernel code (fs/crypto).

What differs from CephFS is beside the point of those who use it: where the context is kept and what blocks are.
"""

import errno
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mgr_fscrypt.format import Policy

_SET_POLICY = 2 << 30 | 12 << 16 | ord("f") << 8 | 19
"""FS_IOC_SET_ENCRYPTION_POLICY: _IOR('f', 19, struct fscrypt_policy_v1), which takes a v2 policy as well."""
_SIZE = "32M"


class UnavailableError(Exception):
    """This machine cannot do it; the message says what it lacks."""


@contextmanager
def mounted(*, encrypt: bool = True) -> Iterator[Path]:
    """Give the mount point of a new, empty ext4 that every user may reach; unmounted and gone afterwards.

    Raises:
        UnavailableError: no root, no mkfs.ext4, no loop device, or no fscrypt in the kernel.
    """
    if os.geteuid() != 0:
        raise UnavailableError("mounting needs root")
    folder = Path(tempfile.mkdtemp(prefix="ext4-"))
    folder.chmod(0o755)
    image, place = folder / "image", folder / "mount"
    place.mkdir()
    try:
        _do("truncate", f"--size={_SIZE}", str(image))
        _do("mkfs.ext4", "-q", *(["-O", "encrypt"] if encrypt else []), str(image))
        _do("mount", "-o", "loop", str(image), str(place))
        try:
            yield place
        finally:
            _do("umount", str(place))
    finally:
        shutil.rmtree(folder)


def make_encrypted(directory: Path, policy: Policy) -> None:
    """Make a directory that every user may use, under a policy whose key the kernel has.

    Raises:
        UnavailableError: the kernel has no fscrypt.
    """
    directory.mkdir()
    directory.chmod(0o777)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _SET_POLICY, policy.encode())
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP):
            raise UnavailableError("this kernel has no fscrypt") from error
        raise
    finally:
        os.close(descriptor)


def _do(*command: str) -> None:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UnavailableError(f"there is no {command[0]}") from error
    if answer.returncode != 0:
        raise UnavailableError(f"`{' '.join(command)}`: {answer.stderr.strip()[-200:]}")
