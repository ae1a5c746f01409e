"""What a kernel with the key does in a subtree of engine mode, which is not meant for it (doc/gating.md keeps
it out), what the engine makes of that, and what `fsck` names."""

import errno
import json
import os
from collections.abc import Callable
from contextlib import closing

from mgr_fscrypt.format import raw_size
from qa.load.doors import Door, EngineDoor
from qa.load.program import run

from .place import KINDS, MOUNTED, Place
from .reading import errno_of
from .tally import Tally
from .trees import data_of

SUBTREE = "/intruded"
SIZE = 9000
FILES = (
    *("read", "written", "appended", "emptied", "cut to nothing", "cut to 1", "cut to 5000", "grown"),
    *("given a mode", "renamed", "moved", "linked", "removed", "replaced"),
)
_HARMED = {
    "cut to nothing": "size-too-large",
    "cut to 1": "odd-size",
    "cut to 5000": "odd-size",
    "grown": "odd-size",
}
"""A kernel cuts and grows what it takes for plain files by their paths, as any client without encryption does."""
_MADE = ("made", "directory of a kernel/made", "replaced")


def intrude(place: Place, tally: Tally) -> None:
    """Act by act, then the judgement of `fsck`, then the remedy that it names."""
    tally.begin("a kernel with the key in a subtree of engine mode")
    place.create(SUBTREE, KINDS[0])
    with place.engine() as files:
        files.mkdir(f"{SUBTREE}/below")
        for name in FILES:
            with files.create(f"{SUBTREE}/{name}") as file:
                file.pwrite(data_of(name, SIZE), 0)
    door = place.door(SUBTREE)
    names = sorted([*(name.encode() for name in FILES), b"below"])
    tally.compare("names", sorted(door.names(b"")), names)
    tally.compare("size that the kernel sees", door.stat(b"read").size, raw_size(SIZE))
    for act, action, promised in _acts(door):
        found = errno_of(action)
        tally.compare(act, errno.errorcode.get(found, "done"), promised)
    tally.compare(
        "exit code of mkfifo", place.guest.ask("run", ["mkfifo", f"{MOUNTED}{SUBTREE}/pipe"]), (0, "")
    )
    place.unmount()
    findings = {name: {word} for name, word in _HARMED.items()} | {name: {"mixed-mode"} for name in _MADE}
    tally.compare("findings of fsck", place.fsck(SUBTREE), findings)
    _compare_contents(place, tally)
    _hold(place, tally)


def _acts(door: Door) -> list[tuple[str, Callable[[], object], str]]:
    return [
        ("open to read", lambda: door.open(b"read", os.O_RDONLY), "EPERM"),
        ("open to write", lambda: door.open(b"written", os.O_RDWR), "EPERM"),
        ("open to append", lambda: door.open(b"appended", os.O_WRONLY | os.O_APPEND), "EPERM"),
        ("open with O_TRUNC", lambda: door.open(b"emptied", os.O_WRONLY | os.O_TRUNC), "EPERM"),
        ("truncate to 0 by path", lambda: door.truncate(b"cut to nothing", 0), "done"),
        ("truncate to 1 by path", lambda: door.truncate(b"cut to 1", 1), "done"),
        ("truncate to 5000 by path", lambda: door.truncate(b"cut to 5000", 5000), "done"),
        ("truncate to 20000 by path", lambda: door.truncate(b"grown", 20000), "done"),
        ("chmod", lambda: door.chmod(b"given a mode", 0o600), "done"),
        ("rename in a directory", lambda: door.rename(b"renamed", b"renamed by a kernel"), "done"),
        ("rename to another directory", lambda: door.rename(b"moved", b"below/moved"), "EXDEV"),
        ("link", lambda: door.link(b"linked", b"linked too"), "EXDEV"),
        ("unlink", lambda: door.unlink(b"removed"), "done"),
        ("create", lambda: _make(door, b"made"), "done"),
        ("mkdir", lambda: door.mkdir(b"directory of a kernel"), "done"),
        ("create there", lambda: _make(door, b"directory of a kernel/made"), "done"),
        ("symlink", lambda: door.symlink(b"target", b"link"), "done"),
        ("create to rename", lambda: _make(door, b"new"), "done"),
        ("rename over a file", lambda: door.rename(b"new", b"replaced"), "done"),
    ]


def _make(door: Door, path: bytes) -> None:
    with closing(door.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)) as handle:
        handle.pwrite(data_of("by a kernel", SIZE), 0)


def _compare_contents(place: Place, tally: Tally) -> None:
    """What was not harmed is as it was; what was is refused, or as long as it is now; what the kernel made is read."""
    moved = {"renamed": "renamed by a kernel"}
    with place.engine(guarded=True) as files:
        door = EngineDoor(files, SUBTREE.encode())
        for name in (name for name in FILES if name not in ("removed", "replaced")):
            where = moved.get(name, name).encode()
            if name in ("cut to 1", "cut to 5000"):
                tally.compare(
                    f"{name}: open", errno_of(lambda at=where: door.open(at, os.O_RDONLY)), errno.EUCLEAN
                )
            else:
                data = b"" if name == "cut to nothing" else data_of(name, SIZE)
                tally.compare(f"{name}: content", _read(door, where), data)
        for name in _MADE:
            tally.compare(f"{name}: content", _read(door, name.encode()), data_of("by a kernel", SIZE))
        tally.compare("link of a kernel", door.readlink(b"link"), b"target")


def _read(door: Door, path: bytes) -> bytes:
    with closing(door.open(path, os.O_RDONLY)) as handle:
        return handle.pread(2 * SIZE, 0)


def _hold(place: Place, tally: Tally) -> None:
    """`hold`, the remedy of what is mixed, gives all their mode but those that were cut, and says so."""
    answer = run("subtree", "hold", SUBTREE, "--evict", "--json")
    told = json.loads(answer.stdout.decode().splitlines()[-1])
    tally.compare("exit code of hold", answer.returncode, 1)
    tally.compare("files that hold changed", told["changed"], len(_MADE))
    tally.compare("problems that it names", told["problems"], 2)
    left = {name: {word} for name, word in _HARMED.items() if word == "odd-size"}
    tally.compare("findings of fsck after hold", place.fsck(SUBTREE), left)
    with place.engine() as files, files.open(f"{SUBTREE}/made", os.O_RDWR) as file:
        file.pwrite(b"engine", SIZE)
        tally.compare("the engine writes what the kernel made", file.pread(9, SIZE - 3)[3:], b"engine")
