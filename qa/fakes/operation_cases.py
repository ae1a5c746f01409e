"""Every operation in every state, as doc/operations.md says: for the fake and for a real cluster alike."""

import errno
import fcntl
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mgr_fscrypt.ceph.interface import Kind, Mount, RangeLock
from mgr_fscrypt.engine import FileMode, FileSystem, Keyring
from mgr_fscrypt.engine.acls import ACCESS_ACL
from mgr_fscrypt.engine.errors import ENOKEY
from mgr_fscrypt.format import AUTH_XATTR, MasterKey

from . import acls
from .engine_cases import remove

PAGE = Path(__file__).resolve().parents[2] / "doc" / "operations.md"
KEY, OTHER = MasterKey(bytes(range(64))), MasterKey(bytes(range(1, 65)))
DONE = ("done", "lease", "as stored")
DATA = b"contents" * 700
SIZE = len(DATA)


@dataclass(frozen=True)
class Scene:
    """A subtree with a file, an empty directory and a link, by the names that its user sees."""

    files: FileSystem
    top: bytes
    file: bytes
    directory: bytes
    link: bytes
    second: bytes
    """Another file."""
    elsewhere: bytes
    """A subtree of another policy."""
    as_stored: bool

    @property
    def new(self) -> bytes:
        return self.top + b"/new"


def _is(found: object, expected: object) -> None:
    assert found == expected


def _read(scene: Scene) -> None:
    with scene.files.open(scene.file) as file:
        _is(file.pread(SIZE + 9, 0)[8:], DATA[8:])


def _write(flags: int) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        with scene.files.open(scene.file, flags) as file:
            file.pwrite(b"CONTENTS", 4096)
            _is(file.size, SIZE + 8 if flags & os.O_APPEND else SIZE)

    return act


def _truncate(scene: Scene) -> None:
    with scene.files.open(scene.file, os.O_RDWR) as file:
        file.truncate(5000)
    _is(scene.files.stat(scene.file).size, 5000)


def _fallocate(mode: int) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        with scene.files.open(scene.file, os.O_RDWR) as file:
            file.fallocate(mode, 4100, 100)
            _is(file.pread(102, 4099), DATA[4099:4100] + bytes(100) + DATA[4200:4201])

    return act


def _seek(scene: Scene) -> None:
    with scene.files.open(scene.file) as file:
        _is((file.seek(5, os.SEEK_DATA), file.seek(5, os.SEEK_HOLE)), (5, SIZE))


def _make(scene: Scene) -> None:
    with scene.files.create(scene.new) as file:
        file.pwrite(DATA, 0)
    with scene.files.open(scene.new) as file:
        _is(file.pread(SIZE, 0), DATA)


def _make_and_go_on(scene: Scene) -> None:
    with scene.files.create(scene.new) as file:
        file.pwrite(DATA, 0)
        file.fsync()
        file.pwrite(b"more", SIZE)


def _list(scene: Scene) -> None:
    names = {entry.name for entry in scene.files.scandir(scene.top)}
    _is(b"file" not in names, scene.as_stored)


def _readlink(scene: Scene) -> None:
    _is(scene.files.readlink(scene.link) != b"target", scene.as_stored)


def _mkdir(scene: Scene) -> None:
    scene.files.mkdir(scene.new)
    _is(scene.files.stat(scene.new).kind, Kind.DIRECTORY)


def _symlink(scene: Scene) -> None:
    scene.files.symlink(b"there", scene.new)
    _is(scene.files.readlink(scene.new), b"there")


def _link(scene: Scene) -> None:
    scene.files.link(scene.file, scene.new)
    _is(scene.files.stat(scene.new).nlink, 2)


def _rename(scene: Scene) -> None:
    scene.files.rename(scene.file, scene.new)
    _is(scene.files.exists(scene.file), False)


def _rename_over(scene: Scene) -> None:
    scene.files.rename(scene.file, scene.second)
    _is(scene.files.stat(scene.second).size, SIZE)


def _gone(path: Callable[[Scene], bytes], act: Callable[[Scene], None]) -> Callable[[Scene], None]:
    def both(scene: Scene) -> None:
        act(scene)
        _is(scene.files.exists(path(scene)), False)

    return both


def _chmod(scene: Scene) -> None:
    scene.files.chmod(scene.file, 0o640)
    _is(scene.files.stat(scene.file).permissions, 0o640)


def _chown(scene: Scene) -> None:
    scene.files.chown(scene.file, 7, 8)
    found = scene.files.stat(scene.file)
    _is((found.uid, found.gid), (7, 8))


def _utimens(scene: Scene) -> None:
    scene.files.utimens(scene.file, 1e9, 2e9)
    found = scene.files.stat(scene.file)
    _is((found.atime, found.mtime), (1e9, 2e9))


def _special(scene: Scene) -> None:
    scene.files.mknod(scene.new, stat.S_IFIFO | 0o640)
    _is(stat.S_ISFIFO(scene.files.stat(scene.new).kind_bits), True)


def _list_attributes(scene: Scene) -> None:
    _is(scene.files.listxattr(scene.file), [])
    _is(len(scene.files.getxattr(scene.file, AUTH_XATTR)), 48)


def _set_attribute(scene: Scene) -> None:
    scene.files.setxattr(scene.file, "user.a", b"1")
    _is(scene.files.getxattr(scene.file, "user.a"), b"1")
    scene.files.removexattr(scene.file, "user.a")
    _is(scene.files.listxattr(scene.file), [])


def _set_acl(scene: Scene) -> None:
    acl = acls.encode(
        (acls.OWNER, 6), (acls.USER, 4, 1000), (acls.GROUP, 0), (acls.MASK, 4), (acls.OTHERS, 0)
    )
    scene.files.setxattr(scene.file, ACCESS_ACL, acl)
    _is(scene.files.getxattr(scene.file, ACCESS_ACL), acl)
    _is(scene.files.stat(scene.file).permissions, 0o640)


def _lock(scene: Scene) -> None:
    with scene.files.open(scene.file) as one, scene.files.open(scene.file) as two:
        one.flock(fcntl.LOCK_EX)
        try:
            two.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        raise AssertionError("both have the lock")


def _lock_range(scene: Scene) -> None:
    with scene.files.open(scene.file) as file:
        file.lock_range(RangeLock(fcntl.F_WRLCK, 5, 10), 1)
        _is(file.range_blocker(RangeLock(fcntl.F_RDLCK, 0, 0), 2), RangeLock(fcntl.F_WRLCK, 5, 10))


OPERATIONS: dict[str, Callable[[Scene], None]] = {
    "stat": lambda scene: _is(scene.files.stat(scene.file).size, SIZE),
    "list a directory": _list,
    "read a link": _readlink,
    "read a file": _read,
    "open for writing": lambda scene: scene.files.open(scene.file, os.O_RDWR).close(),
    "write": _write(os.O_RDWR),
    "append": _write(os.O_RDWR | os.O_APPEND),
    "write durably (O_DIRECT, O_SYNC)": _write(os.O_RDWR | os.O_DIRECT | os.O_SYNC),
    "truncate": _truncate,
    "punch a hole": _fallocate(0x03),
    "zero a range": _fallocate(0x11),
    "find data and holes": _seek,
    "make and write a file": _make,
    "go on writing it after fsync": _make_and_go_on,
    "mkdir": _mkdir,
    "symlink": _symlink,
    "link": _link,
    "rename": _rename,
    "rename over a file": _rename_over,
    "rename to another policy": lambda scene: scene.files.rename(scene.directory, scene.elsewhere + b"/new"),
    "unlink": _gone(lambda scene: scene.file, lambda scene: scene.files.unlink(scene.file)),
    "rmdir": _gone(lambda scene: scene.directory, lambda scene: scene.files.rmdir(scene.directory)),
    "chmod": _chmod,
    "chown": _chown,
    "set times": _utimens,
    "make a special file": _special,
    "list, read extended attributes": _list_attributes,
    "set, remove an extended attribute": _set_attribute,
    "change an attribute that holds the encryption": lambda scene: scene.files.setxattr(
        scene.file, AUTH_XATTR, b""
    ),
    "set an ACL": _set_acl,
    "lock (flock)": _lock,
    "lock a range (fcntl)": _lock_range,
    "ask for the room that is left": lambda scene: _is(scene.files.statfs(scene.file).available > 0, True),
}
FENCED = "release, hold"
"""Judged by the tests of the modes, which know who else is there."""


def table() -> dict[tuple[str, str], str]:
    """What the page says, by operation and column."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in PAGE.read_text().splitlines()
        if line.startswith("|")
    ]
    columns = rows[0][1:]
    return {(row[0], column): cell for row in rows[2:] for column, cell in zip(columns, row[1:], strict=True)}


def check(mount: Mount, elsewhere: Mount, operation: str, column: str, said: str) -> None:
    """Do it, and hold what comes of it against the page."""
    with scene_of(mount, elsewhere, column) as scene:
        try:
            OPERATIONS[operation](scene)
        except OSError as error:
            found = "ENOKEY" if error.errno == ENOKEY else errno.errorcode[error.errno or errno.EIO]
        else:
            found = "done"
    expected = "done" if said in DONE else said
    assert found == expected, f"{operation}, {column}: {found}, but the page says {said}"


@contextmanager
def scene_of(mount: Mount, elsewhere: Mount, column: str) -> Iterator[Scene]:
    """The state that a column is about."""
    mode = FileMode.KERNEL if column.startswith("kernel") else FileMode.ENGINE
    base = b"/operations-" + uuid.uuid4().hex[:8].encode()
    top, other = base + b"/one", base + b"/other"
    locked = column.endswith("locked")
    with ExitStack() as stack:
        keyring, theirs = Keyring(), Keyring()
        files = stack.enter_context(FileSystem(mount, keyring, durable_close=True))
        for key in (KEY, OTHER):
            keyring.add(key)
            theirs.add(key)
        mount.mkdir(base, 0o755)
        stack.callback(remove, mount, base)
        for path, key in ((top, KEY), (other, OTHER)):
            mount.mkdir(path, 0o755)
            files.create_subtree(path, key.identifier, mode=mode)
        for name in (b"/file", b"/second"):
            with files.create(top + name) as file:
                file.pwrite(DATA if name == b"/file" else b"x", 0)
        files.mkdir(top + b"/directory")
        files.symlink(b"target", top + b"/link")
        names = {entry.stored: entry.name for entry in files.scandir(top)}
        if column.endswith("shared"):
            sharer = stack.enter_context(FileSystem(elsewhere, theirs, durable_close=True))
            shared = stack.enter_context(sharer.open(top + b"/file", os.O_RDWR))
            shared.pwrite(DATA[:8], 0)
        if locked:
            keyring.remove(KEY.identifier)
            keyring.remove(OTHER.identifier)
        seen = {names[entry.stored]: top + b"/" + entry.name for entry in files.scandir(top)}
        yield Scene(
            files,
            top,
            seen[b"file"],
            seen[b"directory"],
            seen[b"link"],
            seen[b"second"],
            other,
            as_stored=locked,
        )
