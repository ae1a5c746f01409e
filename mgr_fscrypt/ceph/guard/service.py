"""The child's side of the calls: what is asked on a socket is done by a mount."""

import os
import socket
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Protocol

from ..errors import CephError
from ..interface import Entry, Mount, Session
from . import frames, values
from .process import CONNECT, DONE, END, MISTAKE, REFUSED

_AS_THEY_ARE = (
    "identity",
    "require_writable",
    "close",
    "ftruncate",
    "punch",
    "fsync",
    "fchmod",
    "fchown",
    "futimens",
    "fgetxattr",
    "fsetxattr",
    "fremovexattr",
    "capabilities",
    "listxattr",
    "getxattr",
    "setxattr",
    "removexattr",
    "chmod",
    "chown",
    "utimens",
    "mkdir",
    "mknod",
    "rmdir",
    "unlink",
    "rename",
    "link",
    "symlink",
    "readlink",
    "alternate_names",
    "sync",
)
"""Calls whose arguments and results are plain values."""

Call = Callable[..., tuple[object, bytes]]


class Paged(Mount, Protocol):
    """A mount whose directories can be read on from any place."""

    def entries_from(self, path: bytes, place: int, count: int) -> tuple[list[Entry], int | None]:
        """As `CephMount.entries_from`."""


def calls_of(mount: Paged) -> Mapping[str, Call]:
    """What a parent may ask of `mount`: name -> a function from plain arguments to a plain value and bytes."""

    def as_it_is(name: str) -> Call:
        method = getattr(mount, name)
        return lambda *arguments: (method(*arguments), b"")

    def opened(path: bytes, flags: int, mode: int) -> tuple[object, bytes]:
        fd = mount.open(path, flags, mode)
        return (fd, mount.fstat(fd).ino), b""

    def written(fd: int, offset: int, *, data: bytes = b"") -> tuple[object, bytes]:
        mount.pwrite(fd, data, offset)
        return None, b""

    def listed(path: bytes, place: int, count: int) -> tuple[object, bytes]:
        entries, after = mount.entries_from(path, place, count)
        return ([values.of_entry(each) for each in entries], after), b""

    def sessions() -> tuple[object, bytes]:
        return [values.of_fields(each) for each in mount.sessions()], b""

    def evicted(session: values.Plain) -> tuple[object, bytes]:
        mount.evict(Session(*session))
        return None, b""

    own: dict[str, Call] = {
        "open": opened,
        "pread": lambda fd, length, offset: (None, mount.pread(fd, length, offset)),
        "pwrite": written,
        "fstat": lambda fd: (values.of_fields(mount.fstat(fd)), b""),
        "stat": lambda path: (values.of_fields(mount.stat(path)), b""),
        "identify": lambda path: (values.of_fields(mount.identify(path)), b""),
        "statfs": lambda path: (values.of_fields(mount.statfs(path)), b""),
        "layout": lambda path: (values.of_fields(mount.layout(path)), b""),
        "entries_from": listed,
        "sessions": sessions,
        "evict": evicted,
    }
    return {name: as_it_is(name) for name in _AS_THEY_ARE} | own


def serve(control: socket.socket, mount: Paged) -> None:
    """Do what the parent asks until it says that this is the end; without a parent end the process."""
    calls = calls_of(mount)
    while True:
        try:
            said, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        except ConnectionError:
            os._exit(1)
        if said == END:
            return
        if said != CONNECT:
            os._exit(1)
        connection = socket.socket(fileno=descriptors[0])
        threading.Thread(target=_answer, args=(connection, calls), daemon=True).start()


def _answer(connection: socket.socket, calls: Mapping[str, Call]) -> None:
    """One call after the other, as long as the connection is there."""
    while True:
        try:
            (name, arguments), data = frames.receive(connection)
        except EOFError:
            connection.close()
            return
        outcome: tuple[int, object]
        found = b""
        try:
            value, found = calls[name](*arguments, data=data) if data else calls[name](*arguments)
            outcome = DONE, value
        except CephError as error:
            outcome = REFUSED, values.of_error(error)
        except Exception:  # noqa: BLE001 - the parent raises it
            outcome = MISTAKE, traceback.format_exc()
        frames.send(connection, outcome, found)
