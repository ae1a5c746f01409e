"""Clients that know nothing of encryption: libcephfs and ceph-fuse, each in a process of its own."""

import errno
import os
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path

from qa.facts.client import Clients

from .place import Place
from .remote import Remote

_SECONDS = 30.0
OLD, NEW = b"old " * 16, b"new " * 16


class Stray(ABC):
    """One such client, which is mounted. What the cluster refuses is an `OSError` or a `facts.client.RefusedError`."""

    session: int
    """The number under which the MDS knows it."""
    process: int

    @abstractmethod
    def write(self, path: str) -> None:
        """Write something that has reached the OSD when it returns."""

    @abstractmethod
    def read(self, path: str) -> None:
        """Read what is stored."""

    @abstractmethod
    def truncate(self, path: str) -> None:
        """Make a file empty."""

    @abstractmethod
    def unlink(self, path: str) -> None:
        """Remove a file."""

    @abstractmethod
    def soil(self, path: str) -> int:
        """Write `OLD` durably into a new file, and `NEW` over it without waiting for that; gives its inode."""

    @abstractmethod
    def flush(self) -> None:
        """Wait until that has reached the OSD."""

    @abstractmethod
    def end(self) -> None:
        """Unmount, whatever became of it; a second time does nothing."""

    def pause(self) -> None:
        """Stop the process: it notices nothing of what happens from now on."""
        os.kill(self.process, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.process, signal.SIGCONT)


class LibraryStray(Stray):
    """A program on libcephfs."""

    def __init__(self, place: Place, clients: Clients, root: str = "/") -> None:
        key = place.cluster.ceph("auth", "get-key", f"client.{place.stray}")
        # what is not waited for stays in its buffers, however slow the machine is
        self._client = clients.open(place.stray, root=root, key=key, client_oc_max_dirty_age="300")
        self._clients = clients
        self.session = self._client.session
        self.process = self._client.process
        self._soiled = -1

    def write(self, path: str) -> None:
        handle = self._client.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        self._client.write(handle, b"plaintext", 0)
        self._client.fsync(handle, 0)
        self._client.close(handle)

    def read(self, path: str) -> None:
        handle = self._client.open(path, os.O_RDONLY, 0)
        try:
            self._client.read(handle, 0, 100)
        finally:
            self._client.close(handle)

    def truncate(self, path: str) -> None:
        self._client.truncate(path, 0)

    def unlink(self, path: str) -> None:
        self._client.unlink(path)

    def soil(self, path: str) -> int:
        self._soiled = self._client.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        self._client.write(self._soiled, OLD, 0)
        self._client.fsync(self._soiled, 0)
        inode = int(self._client.stat(path).st_ino)
        self._client.write(self._soiled, NEW, 0)
        return inode

    def flush(self) -> None:
        self._client.fsync(self._soiled, 0)

    def end(self) -> None:
        # the rest is ended with the others
        if self._client.alive:
            self._clients.end(self._client)


class FuseStray(Stray):
    """ceph-fuse."""

    def __init__(self, place: Place, folder: Path, root: str = "/") -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="fuse-", dir=folder))
        self._cluster = place.cluster
        pid = self._directory.with_suffix(".pid")
        found = subprocess.run(
            [
                *("ceph-fuse", "-c", str(place.cluster.directory / "ceph.conf"), "--id", place.stray),
                *("-k", str(place.keyring(place.stray, folder)), f"--pid-file={pid}", "-r", root),
                *("--client_oc_max_dirty_age=300", str(self._directory)),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        if found.returncode:
            raise PermissionError(
                errno.EPERM, f"ceph-fuse ended with {found.returncode}: {found.stderr[-500:]}"
            )
        self.process = int(pid.read_text())
        self.session = next(
            each["id"]
            for each in place.cluster.ceph_json("tell", "mds.cephfs:0", "session", "ls")
            if each["client_metadata"].get("mount_point") == str(self._directory)
        )
        self._remote = Remote()
        self._soiled = -1
        self._ended = False

    def write(self, path: str) -> None:
        handle = self._remote.call("open", self._at(path), os.O_CREAT | os.O_RDWR, 0o666)
        try:
            self._remote.call("pwrite", handle, b"plaintext", 0)
            self._remote.call("fsync", handle)
        finally:
            self._close(handle)

    def read(self, path: str) -> None:
        handle = self._remote.call("open", self._at(path), os.O_RDONLY)
        try:
            self._remote.call("pread", handle, 100, 0)
        finally:
            self._close(handle)

    def truncate(self, path: str) -> None:
        self._remote.call("truncate", self._at(path), 0)

    def unlink(self, path: str) -> None:
        self._remote.call("unlink", self._at(path))

    def soil(self, path: str) -> int:
        self._soiled = self._remote.call("open", self._at(path), os.O_CREAT | os.O_RDWR, 0o666)
        self._remote.call("pwrite", self._soiled, OLD, 0)
        self._remote.call("fsync", self._soiled)
        self._remote.call("pwrite", self._soiled, NEW, 0)
        return int(self._remote.call("fstat", self._soiled).st_ino)

    def flush(self) -> None:
        self._remote.call("fsync", self._soiled)

    def end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self.resume()
        self._remote.end()
        subprocess.run(["umount", "-l", self._directory], check=True)
        give_up = time.monotonic() + _SECONDS
        while Path(f"/proc/{self.process}").exists() and time.monotonic() < give_up:
            time.sleep(0.1)
        if Path(f"/proc/{self.process}").exists():
            os.kill(self.process, signal.SIGKILL)
            self._cluster.ceph("tell", "mds.cephfs:0", "client", "evict", f"id={self.session}")

    def _close(self, handle: int) -> None:
        try:
            self._remote.call("close", handle)
        except OSError as error:
            # what could not be written is told once more
            if error.errno not in (errno.EPERM, errno.ESHUTDOWN, errno.ENOTCONN, errno.EIO):
                raise

    def _at(self, path: str) -> str:
        return f"{self._directory}/{path.lstrip('/')}"
