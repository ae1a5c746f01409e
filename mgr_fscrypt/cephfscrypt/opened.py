"""Streams as fsspec wants them: with a place in a transaction, and for who reads, in another process."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..ceph.errors import NotFoundError
from ..ceph.interface import Kind
from ..client.remote import sibling
from .client import Client
from .links import real_path
from .streams import Reader, Updater, Writer


@dataclass(frozen=True)
class PendingFile:
    """A file of a transaction: written beside the one that it will be, and renamed over it in the end.

    A program that dies before leaves it there, under a name that begins with `.fscrypt-`.
    """

    client: Client
    goal: str
    beside: str
    permissions: int
    new: bool

    @classmethod
    def to_be(cls, client: Client, path: str, mode: str, permissions: int) -> "PendingFile":
        """For `path`, opened with `mode`; links are followed now. The `permissions` are of one that is new.

        Raises:
            ValueError: to append is nothing that could be taken back.
            FileExistsError, IsADirectoryError: what is there is in the way.
        """
        if "a" in mode:
            raise ValueError("a transaction cannot append: read the file, and write it anew")
        goal = real_path(client, path)
        try:
            found = client.stat(goal)
        except NotFoundError:
            found = None
        if found is not None and "x" in mode:
            raise FileExistsError(errno.EEXIST, "it is there already", goal)
        if found is not None and found.kind is not Kind.FILE:
            raise IsADirectoryError(errno.EISDIR, "not a regular file", goal)
        beside = os.fsdecode(sibling(os.fsencode(goal)))
        kept = permissions if found is None else found.permissions
        return cls(client, goal, beside, kept, "x" in mode)

    def commit(self) -> None:
        """It takes its place, at once and whole. Raises as `FileSystem.rename`, FileExistsError where it was to be new;
        nothing is left of it then."""
        try:
            if self.new:
                self.client.link(self.beside, self.goal)
            else:
                self.client.rename(self.beside, self.goal)
        finally:
            self.discard()

    def discard(self) -> None:
        """Nothing is left of it."""
        with suppress(NotFoundError):
            self.client.unlink(self.beside)


class _Opened:
    """What fsspec wants of open files."""

    raw: Any
    close: Callable[[], None]
    tell: Callable[[], int]

    def begin(self, fs: Any, path: str, pending: PendingFile | None) -> None:
        """Say where it belongs."""
        self.fs = fs
        self.path = path
        self._pending = pending

    @property
    def autocommit(self) -> bool:
        """Does it go without a transaction?"""
        return self._pending is None

    @property
    def size(self) -> int:
        """The real size as it is stored now."""
        return int(self.raw.size())

    @property
    def full_name(self) -> str:
        """As a URL."""
        return str(self.fs.unstrip_protocol(self.path))

    def commit(self) -> None:
        """Of a transaction: close it, and have it take its place."""
        self.close()
        if self._pending is not None:
            self._pending.commit()

    def discard(self) -> None:
        """Of a transaction: close it, and have nothing left of it."""
        try:
            self.close()
        finally:
            if self._pending is not None:
                self._pending.discard()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.raw.writable():
            raise TypeError("a file that is written stays in its process")
        return _again, (self.fs, self.path, self.tell())

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        return self.__reduce__()


class OpenedReader(_Opened, Reader):
    """A stream of fsspec's that is read."""


class OpenedWriter(_Opened, Writer):
    """A stream of fsspec's that is written."""


class OpenedUpdater(_Opened, Updater):
    """A stream of fsspec's that is read and written."""


def _again(fs: Any, path: str, position: int) -> Any:
    opened = fs.open(path, "rb")
    opened.seek(position)
    return opened
