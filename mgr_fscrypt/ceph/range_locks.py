"""fcntl(2)'s locks on ranges of bytes: CephFS's own, which every client obeys (doc/facts.md P7).

Only the C interface has calls for them, so they belong to a client and a session beside the mount's. It opens what is
locked, by its inode number: the file counts as shared then, and is written in turns (doc/engine-xattr.md, Leases).
"""

import ctypes
import fcntl
import os
import threading

from .access import Access
from .interface import RangeLock
from .raw_client import RawClient


class _InodeNumber(ctypes.Structure):
    """`struct inodeno_t` of libcephfs."""

    _fields_ = (("value", ctypes.c_uint64),)


class _Flock(ctypes.Structure):
    """`struct flock` of Linux on 64 bits."""

    _fields_ = (
        ("l_type", ctypes.c_short),
        ("l_whence", ctypes.c_short),
        ("l_start", ctypes.c_int64),
        ("l_len", ctypes.c_int64),
        ("l_pid", ctypes.c_int32),
    )


class RangeLocks:
    """All that one mount has locked. Calls may come from several threads."""

    def __init__(self, access: Access, session: str) -> None:
        """Mount, with a session that announces the uuid `session`."""
        self._client = RawClient(access, "locks", uuid=session)
        try:
            self._client.call("ceph_mount", access.root)
        except BaseException:
            self._client.close()
            raise
        self._user = self._client.pointer_from("ceph_mount_perms")
        self._files: dict[int, ctypes.c_void_p] = {}
        self._turn = threading.Lock()

    @property
    def addresses(self) -> str:
        """As `LibCephFS.get_addrs` tells them."""
        text = ctypes.c_char_p()
        self._client.call("ceph_getaddrs", ctypes.byref(text))
        return (text.value or b"").decode()

    def set(self, ino: int, lock: RangeLock, owner: int) -> None:
        """Take a lock, change it, or give it back (F_UNLCK). `WouldBlockError` where another owner has some of it."""
        with self._turn:
            self._client.call("ceph_ll_setlk", self._file(ino), _encoded(lock), ctypes.c_uint64(owner), 0)

    def blocker(self, ino: int, lock: RangeLock, owner: int) -> RangeLock | None:
        """A lock of another owner that is in the way of this one."""
        asked = _encoded(lock)
        with self._turn:
            self._client.call("ceph_ll_getlk", self._file(ino), asked, ctypes.c_uint64(owner))
        found = asked.contents
        if found.l_type == fcntl.F_UNLCK:
            return None
        return RangeLock(found.l_type, found.l_start, found.l_len, found.l_pid)

    def forget(self, ino: int) -> None:
        """Give everything back that is locked in a file."""
        with self._turn:
            file = self._files.pop(ino, None)
            if file is not None:
                self._client.call("ceph_ll_close", file)

    def end(self) -> None:
        """Give everything back, and unmount."""
        for ino in list(self._files):
            self.forget(ino)
        self._client.run("ceph_unmount")
        self._client.close()

    def _file(self, ino: int) -> ctypes.c_void_p:
        file = self._files.get(ino)
        if file is None:
            inode, file = ctypes.c_void_p(), ctypes.c_void_p()
            self._client.call("ceph_ll_lookup_inode", _InodeNumber(ino), ctypes.byref(inode))
            try:
                self._client.call("ceph_ll_open", inode, os.O_RDONLY, ctypes.byref(file), self._user)
            finally:
                self._client.call("ceph_ll_put", inode)
            self._files[ino] = file
        return file


def _encoded(lock: RangeLock) -> "ctypes._Pointer[_Flock]":
    return ctypes.pointer(_Flock(lock.kind, os.SEEK_SET, lock.start, lock.length, lock.process))
