"""What runs in the guest: does what it is asked for, one thing after the other, until it is told to end."""

import ctypes
import fcntl
import os
import subprocess
from multiprocessing.connection import Listener
from pathlib import Path

from mgr_fscrypt.format import Policy
from qa.fakes.encrypted_ext4 import make_encrypted
from qa.load.doors import Handle, PathDoor
from qa.load.tree import Found, Path_, walk

PORT = 7000
_SYNCIO = 0x9705
"""_IO(0x97, 5)."""
_libc = ctypes.CDLL(None, use_errno=True)


class Agent:
    """The guest's own hands. Answers and errors go back by pickle: both ends are of one checkout."""

    def __init__(self) -> None:
        self._handles: dict[int, Handle] = {}
        self._next = 0

    def mount(self, source: str, place: str, options: str) -> None:
        """Mount a CephFS by the kernel."""
        Path(place).mkdir(exist_ok=True)
        if _libc.mount(source.encode(), place.encode(), b"ceph", 0, options.encode()):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), place)

    def unmount(self, place: str) -> None:
        """Unmount it; what was written is written."""
        if _libc.umount2(place.encode(), 0):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), place)

    def run(self, words: list[str], stdin: bytes = b"") -> tuple[int, str]:
        """Run a program; its exit code and what it said."""
        done = subprocess.run(
            words, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def drop_caches(self) -> None:
        """What is read next comes from the cluster."""
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")

    def forget_names(self) -> None:
        """What is named next is looked up in the cluster."""
        Path("/proc/sys/vm/drop_caches").write_text("2")

    def walk(self, top: str) -> dict[Path_, Found]:
        """All below a directory."""
        return dict(walk(PathDoor(Path(top))))

    def names(self, top: str, directory: bytes) -> list[bytes]:
        """As `Door.names`, all at once."""
        return list(PathDoor(Path(top)).names(directory))

    def open(self, top: str, path: bytes, flags: int) -> int:
        """As `Door.open`: the number of a handle."""
        self._next += 1
        self._handles[self._next] = PathDoor(Path(top)).open(path, flags)
        return self._next

    def of_handle(self, number: int, act: str, *arguments: object) -> object:
        """An act of a handle, or its size."""
        found = getattr(self._handles[number], act)
        return found(*arguments) if callable(found) else found

    def close(self, number: int) -> None:
        """The handle is gone."""
        self._handles.pop(number).close()

    def of_door(self, top: str, act: str, *arguments: object) -> object:
        """Any other act of a door."""
        return getattr(PathDoor(Path(top)), act)(*arguments)

    def encrypt(self, directory: str, policy: bytes) -> None:
        """Make a directory under a policy whose key the kernel has."""
        make_encrypted(Path(directory), Policy.decode(policy))

    def write_uncached(self, path: str, data: bytes, offset: int) -> None:
        """Write past the page cache (CEPH_IOC_SYNCIO)."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.ioctl(descriptor, _SYNCIO)
            os.pwrite(descriptor, data, offset)
        finally:
            os.close(descriptor)

    def snapshot(self, directory: str, name: str) -> None:
        """Take a snapshot of a directory."""
        Path(directory, ".snap", name).mkdir()


def main() -> None:
    """Serve one client."""
    agent = Agent()
    with Listener(("0.0.0.0", PORT)) as listener, listener.accept() as client:  # noqa: S104 - a wire of two ends
        while True:
            act, arguments = client.recv()
            try:
                client.send((True, getattr(agent, act)(*arguments)))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                client.send((False, error))


if __name__ == "__main__":
    main()
