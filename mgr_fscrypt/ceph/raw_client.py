"""libcephfs's C interface, for what its Python binding lacks: with clients of its own, since the binding hides its."""

import ctypes
from typing import Any

from .access import Access
from .errors import error_of


class RawClient:
    """A client that is configured as `access` says, and mounts nothing by itself. Whoever makes it closes it.

    Args:
        subject: what errors tell it was for.
        metadata: what those that list sessions see, beside what `access` announces.
    """

    def __init__(self, access: Access, subject: str, **metadata: str) -> None:
        self._library = ctypes.CDLL("libcephfs.so.2")
        self._pointer = ctypes.c_void_p()
        self._subject = subject
        self._rados: tuple[ctypes.CDLL, ctypes.c_void_p] | None = None
        self._create(access.entity)
        try:
            self.call("ceph_conf_read_file", access.conf_file.encode() or None)
            settings = access.options | {"client_metadata": access.announced(**metadata)}
            for name, value in settings.items():
                self.call("ceph_conf_set", name.encode(), value.encode())
            self.call("ceph_init")
            if access.file_system is not None:
                self.call("ceph_select_filesystem", access.file_system.encode())
        except BaseException:
            self.close()
            raise

    def call(self, name: str, *arguments: Any) -> int:
        """A function that takes the client first, and answers with the negative errno where it fails."""
        return self._check(name, getattr(self._library, name)(self._pointer, *arguments))

    def pointer_from(self, name: str) -> ctypes.c_void_p:
        """A function that takes the client and answers with a pointer."""
        function = getattr(self._library, name)
        function.restype = ctypes.c_void_p
        return ctypes.c_void_p(function(self._pointer))

    def run(self, name: str) -> None:
        """A function that takes the client and answers with nothing."""
        getattr(self._library, name)(self._pointer)

    def close(self) -> None:
        """End it; what is mounted is unmounted before."""
        self.run("ceph_release")
        if self._rados is not None:
            library, pointer = self._rados
            library.rados_shutdown(pointer)

    def _create(self, entity: str) -> None:
        kind, _, name = entity.partition(".")
        ours = ctypes.byref(self._pointer)
        if kind == "client":
            self._check("ceph_create", self._library.ceph_create(ours, name.encode()))
            return
        # as in `mount`: another kind of entity comes with the configuration of librados, which connects to nothing
        library, pointer = ctypes.CDLL("librados.so.2"), ctypes.c_void_p()
        made = library.rados_create2(ctypes.byref(pointer), b"ceph", entity.encode(), ctypes.c_uint64(0))
        self._check("rados_create2", made)
        self._check("ceph_create_from_rados", self._library.ceph_create_from_rados(ours, pointer))
        self._rados = library, pointer

    def _check(self, name: str, code: int) -> int:
        if code < 0:
            raise error_of(-code, name, self._subject)
        return code
