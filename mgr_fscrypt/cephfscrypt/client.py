"""The encrypted file system over a connection of its own."""

import ctypes
import errno
import io
import os
from contextlib import ExitStack, suppress
from typing import ClassVar, TypeVar
from weakref import WeakSet

from ..ceph.errors import NotFoundError
from ..ceph.guard.mount import GuardedMount
from ..ceph.interface import Kind
from ..ceph.mount import CephMount
from ..client.given_keys import GivenKeys
from ..engine import Attributes, DamagedError, File, FileSystem, Keyring
from ..format import MasterKey
from .links import following, real_path
from .streams import Raw, Stream, buffered, flags_of

_AnyStream = TypeVar("_AnyStream", bound=io.IOBase)


class Client(FileSystem):
    """A file system that `connect` reached: all that `FileSystem` is, and files as Python has them.

    What `FileSystem` offers takes paths from the mount's root, as text or bytes, and never follows a symbolic link;
    `stream`, `text` and `real_path` do, as `open` does.

    Calls may come from several threads. It does not outlive a `fork`: a child connects by itself. It is closed at
    the end of a `with` block, with the streams that are still open.
    """

    _alive: ClassVar["WeakSet[Client]"] = WeakSet()

    def __init__(
        self,
        mount: CephMount | GuardedMount,
        keys: GivenKeys,
        held: ExitStack,
        *,
        durable_close: bool = False,
    ) -> None:
        """`held` ends what it works with, when it is closed."""
        super().__init__(mount, keys.keyring, durable_close=durable_close)
        self._keys = keys
        self._held = held
        self._streams: WeakSet[io.IOBase] = WeakSet()
        self._alive.add(self)

    @property
    def keyring(self) -> Keyring:
        """The keys that are unlocked here. What is added opens at once; what is removed is locked at once, but for
        files that are open."""
        return self._keys.keyring

    @property
    def identity(self) -> str:
        """Of the cluster and the file system: no other one has the same."""
        return self._mount.identity()

    @property
    def key(self) -> MasterKey | None:
        """The key that `connect` was given as such."""
        return self._keys.key

    def stream(
        self, path: str, mode: str = "rb", *, buffering: int | None = None, permissions: int = 0o644
    ) -> Stream:
        """Open a file as Python does, in binary.

        >>> with files.stream("/vault/numbers", "wb") as stream:
        ...     stream.write(bytes(range(100)))
        100
        >>> with files.stream("/vault/numbers", "r+b") as stream:
        ...     stream.seek(10)
        ...     stream.write(b"ten")
        ...     stream.seek(-4, os.SEEK_END)
        ...     stream.read()
        10
        3
        96
        b'`abc'

        Of mode `a` each write goes to the end of the file, wherever that is by then. Mode `w` takes the place of what
        a program that died has left half made.

        Args:
            path: from the mount's root; links are followed.
            mode: a letter of `rwxa`, with `+` or without.
            buffering: bytes that are read or written at once where less is asked for.
            permissions: of a file that is made here.

        Raises:
            ValueError: there is no such mode.
            As `FileSystem.open`.
        """
        return self.kept(buffered(self.raw(path, mode, permissions), buffering))

    def raw(self, path: str, mode: str, permissions: int = 0o644) -> Raw:
        """As `stream`, without a buffer; who asks for it closes it."""
        flags = flags_of(mode)

        def opened(real: str) -> File:
            try:
                return self.open(real, flags, permissions)
            except DamagedError as error:
                if error.errno != errno.EBUSY or not flags & os.O_TRUNC:
                    raise
            # half made: who was at it died, or has lost to us as by any other who writes the file anew
            with suppress(NotFoundError):
                self.unlink(real)
            return self.open(real, flags, permissions)

        return Raw(following(self, path, opened), path, mode, flags)

    def kept(self, stream: _AnyStream) -> _AnyStream:
        """A stream that is closed with this client at the latest."""
        self._streams.add(stream)
        return stream

    def text(
        self,
        path: str,
        mode: str = "r",
        *,
        encoding: str = "utf-8",
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.TextIOWrapper:
        """Open a file as Python does, as text. Raises as `stream`.

        >>> with files.text("/vault/poem.txt", "w") as poem:
        ...     print("The servers see", "nothing of this.", sep="\\n", file=poem)
        >>> with files.text("/vault/poem.txt") as poem:
        ...     poem.readlines()
        ['The servers see\\n', 'nothing of this.\\n']
        """
        stream = self.stream(path, mode.replace("t", "", 1))
        wrapped = io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline=newline)
        # it closes what it wraps, which must not be closed before
        self._streams.discard(stream)
        return self.kept(wrapped)

    def real_path(self, path: str) -> str:
        """`path` without symbolic links; its last name need not be there. They lead nowhere out of the mount.

        >>> files.symlink("poem.txt", "/vault/latest")
        >>> files.real_path("/vault/latest")
        '/vault/poem.txt'

        Raises:
            RefusedError: ELOOP: too many links.
            NotFoundError: something on the way is not there.
        """
        return real_path(self, path)

    def followed(self, path: str) -> Attributes:
        """As `stat`, of what a link leads to."""
        found = following(self, path, self.stat)
        return self.stat(real_path(self, path)) if found.kind is Kind.SYMLINK else found

    def close(self) -> None:
        """Close what is open, have everything durable, and unmount; a second time does nothing.

        Raises what kept something from being written, once all is closed."""
        with self._held.pop_all() as held:
            held.callback(super().close)
            for stream in list(self._streams):
                held.callback(stream.close)

    @classmethod
    def keep_all(cls) -> None:
        """In a child that was just forked: have nothing of the parent's be freed, and so be flushed or unmounted. The
        child would wait for threads that are in the parent alone, and could not even exit."""
        for client in cls._alive:
            for each in (client, *client._streams):
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))


os.register_at_fork(after_in_child=Client.keep_all)
