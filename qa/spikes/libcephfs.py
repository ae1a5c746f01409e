"""The part of libcephfs's C interface that Python's binding lacks: delegations and the reclaim of sessions."""

import ctypes
import errno
import os
from collections.abc import Callable

_STATX_ROOM = 512
"""More than `struct ceph_statx` of any release."""
_RECALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
WRITE_DELEGATION = 2
_NO_DELEGATION = 0
RESET = 1
"""CEPH_RECLAIM_RESET: end the other session; the only kind that the MDS supports."""


class LibcephfsError(OSError):
    """A call answered with an error; `errno` is Ceph's."""


def _check(code: int, call: str) -> int:
    if code < 0:
        raise LibcephfsError(-code, f"{call}: {errno.errorcode.get(-code, code)}")
    return code


class RawMount:
    """One mount made through the C interface."""

    def __init__(
        self, entity: str = "client.admin", session_uuid: str | None = None, key: str | None = None
    ) -> None:
        self._library = ctypes.CDLL("libcephfs.so.2", use_errno=True)
        self._library.ceph_mount_perms.restype = ctypes.c_void_p
        self._mount = ctypes.c_void_p()
        self._call("ceph_create", ctypes.byref(self._mount), entity.removeprefix("client.").encode())
        self._call("ceph_conf_read_file", self._mount, os.environ["CEPH_CONF"].encode())
        if key is not None:
            self._call("ceph_conf_set", self._mount, b"key", key.encode())
        if session_uuid is not None:
            self._call("ceph_init", self._mount)
            self._library.ceph_set_uuid(self._mount, session_uuid.encode())
        self._call("ceph_mount", self._mount, None)
        self._permissions = ctypes.c_void_p(self._library.ceph_mount_perms(self._mount))
        self._recalls: dict[int, object] = {}

    def open(self, path: str, flags: int) -> ctypes.c_void_p:
        """A handle of the low-level interface; Python's flags are Linux's, which this call takes."""
        inode, handle = ctypes.c_void_p(), ctypes.c_void_p()
        room = ctypes.create_string_buffer(_STATX_ROOM)
        self._call(
            "ceph_ll_walk", self._mount, path.encode(), ctypes.byref(inode), room, 0, 0, self._permissions
        )
        self._call("ceph_ll_open", self._mount, inode, flags, ctypes.byref(handle), self._permissions)
        return handle

    def close(self, handle: ctypes.c_void_p) -> None:
        self._call("ceph_ll_close", self._mount, handle)

    def read(self, handle: ctypes.c_void_p, offset: int, length: int) -> bytes:
        room = ctypes.create_string_buffer(length)
        count = self._call(
            "ceph_ll_read", self._mount, handle, ctypes.c_int64(offset), ctypes.c_uint64(length), room
        )
        return room.raw[:count]

    def write(self, handle: ctypes.c_void_p, offset: int, data: bytes) -> None:
        size = ctypes.c_uint64(len(data))
        self._call("ceph_ll_write", self._mount, handle, ctypes.c_int64(offset), size, data)

    def fsync(self, handle: ctypes.c_void_p) -> None:
        self._call("ceph_ll_fsync", self._mount, handle, 0)

    def allow_delegations(self, seconds: int) -> None:
        self._call("ceph_set_deleg_timeout", self._mount, seconds)

    def delegate(self, handle: ctypes.c_void_p, recalled: Callable[[], None]) -> bool:
        """Ask for an exclusive delegation; False if the MDS has not left us the capabilities."""
        callback = _RECALL(lambda _handle, _private: recalled())
        code = self._library.ceph_ll_delegation(self._mount, handle, WRITE_DELEGATION, callback, None)
        if code == -errno.EAGAIN:
            return False
        _check(code, "ceph_ll_delegation")
        assert handle.value is not None
        self._recalls[handle.value] = callback
        return True

    def undelegate(self, handle: ctypes.c_void_p) -> None:
        nothing = _RECALL(lambda _handle, _private: None)
        self._call("ceph_ll_delegation", self._mount, handle, _NO_DELEGATION, nothing, None)

    def reset(self, session_uuid: str) -> None:
        """End the session of that uuid (`ceph_start_reclaim` with RESET, then `ceph_finish_reclaim`)."""
        self._call("ceph_start_reclaim", self._mount, session_uuid.encode(), RESET)
        self._library.ceph_finish_reclaim(self._mount)

    def unmount(self) -> None:
        self._call("ceph_unmount", self._mount)
        self._call("ceph_release", self._mount)

    def _call(self, name: str, *arguments: object) -> int:
        return _check(getattr(self._library, name)(*arguments), name)
