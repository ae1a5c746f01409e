"""Long names through a mount by the kernel: what `--kernel-mount` gives the engine (engine/kernel_names.py)."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..format import Context
from .kernel_keys import KernelKeys, Presence


class MountedNames:
    """Names below a directory that the kernel has mounted, and which is the root of our own mount.

    The kernel's session is a client like any other: gates that keep kernels out keep it out, too.
    """

    def __init__(self, top: Path) -> None:
        self._top = os.fsencode(top)

    def make_empty(self, path: bytes, context: Context, name: bytes, *, directory: bool) -> int:
        """See `KernelNames.make_empty`. For its owner alone."""
        with self._opened(path, context) as parent:
            if directory:
                os.mkdir(name, 0o700, dir_fd=parent)
                return os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino
            made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=parent)
            try:
                return os.fstat(made).st_ino
            finally:
                os.close(made)

    def rename(self, path: bytes, context: Context, old: bytes, new: bytes) -> None:
        """See `KernelNames.rename`."""
        with self._opened(path, context) as parent:
            os.rename(old, new, src_dir_fd=parent, dst_dir_fd=parent)

    @contextmanager
    def _opened(self, path: bytes, context: Context) -> Iterator[int]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._top + path, flags)
        try:
            keys = KernelKeys(descriptor)
            # a directory's nonce is random: no other one has it, in no cluster
            if keys.policy() != context.policy or keys.nonce() != context.nonce:
                raise OSError(errno.ESTALE, "another directory is there")
            if keys.status(context.policy.key).presence is not Presence.PRESENT:
                raise OSError(errno.ENOKEY, "it is locked")
            yield descriptor
        finally:
            os.close(descriptor)
