"""A directory of very many entries, and a client that lists it as a stream.

`python -m qa.load.listing fill TOP FIRST STOP` makes entries, `python -m qa.load.listing list TOP COUNT` lists them,
`python -m qa.load.listing plain TOP` does so with libcephfs alone: in processes of their own, so that several make at
once, and those that list can be weighed.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring, NameKind
from mgr_fscrypt.format import AUTH_XATTR, Context, MasterKey, Names

from .memory import peak_of

ROOT = Path(__file__).resolve().parents[2]
SECRET = bytes(range(64))
MOST_MEMORY = 256 << 20
"""Bytes of the whole process that lists, with Python and libcephfs."""
OF_OURS = 32 << 20
"""Bytes by which it may exceed a process that lists with libcephfs alone. That one trims its inodes once a second only,
however few it is told to keep: up to 270 MiB by itself where a directory is large enough (run on 20.2)."""
FIRST_ENTRY = 2.0
"""Seconds until the first entry is there, however many follow."""
_MAKERS = 3


@dataclass(frozen=True)
class Listed:
    """What one client came to: entries that were there, names that were not to be there or came twice, seconds until
    the first and the last, and bytes of its process at most."""

    entries: int
    wrong: int
    first: float
    last: float
    memory: int

    def __str__(self) -> str:
        return (
            f"{self.entries} entries in {self.last:.1f} s, the first after {self.first:.2f} s, "
            f"with {self.memory >> 20} MiB at most"
        )


def fill(files: FileSystem, top: str, count: int) -> None:
    """Make a subtree of so many empty files. They are made with their stored names, by a plain client: what is listed
    are names."""
    files.mkdir(top)
    files.create_subtree(top, MasterKey(SECRET).identifier)
    files.sync()
    bounds = [count * maker // _MAKERS for maker in range(_MAKERS + 1)]
    makers = [
        subprocess.Popen(_command("fill", top, first, stop), cwd=ROOT) for first, stop in pairwise(bounds)
    ]
    codes = [maker.wait() for maker in makers]
    if any(codes):
        raise RuntimeError("the entries could not be made")


def listed(top: str, count: int) -> Listed:
    """List it with the engine, in a process of its own."""
    done = subprocess.run(
        _command("list", top, count), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return Listed(**json.loads(done.stdout))


def listed_plain(top: str) -> int:
    """List it with libcephfs alone, in a process of its own; the bytes of that at most."""
    done = subprocess.run(_command("plain", top), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def judge(found: Listed, count: int, most: int = MOST_MEMORY) -> str | None:
    """What is wrong with it, or None; `most` is how many bytes it may take."""
    if found.entries != count or found.wrong:
        return f"{found.entries} of {count} entries, and {found.wrong} others"
    if found.memory > most:
        return f"it took {found.memory >> 20} MiB"
    return None


def _name(number: int) -> bytes:
    return b"entry number %d" % number


def _command(verb: str, top: str, *numbers: int) -> list[str]:
    return [sys.executable, "-m", __name__, verb, top, *map(str, numbers)]


def _fill(top: bytes, first: int, stop: int) -> None:
    with connect(Access()) as mount:
        names = Names(MasterKey(SECRET), Context.decode_auth(mount.getxattr(top, AUTH_XATTR)))
        for number in range(first, stop):
            stored = top + b"/" + names.encode(_name(number)).dname
            mount.close(mount.open(stored, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _list(top: bytes, count: int) -> Listed:
    keyring = Keyring()
    keyring.add(MasterKey(SECRET))
    with connect(Access()) as mount, FileSystem(mount, keyring) as files:
        met, wrong, first, begun = bytearray(count), 0, 0.0, time.monotonic()
        for entry in files.scandir(top):
            first = first or time.monotonic() - begun
            number = int(entry.name.rpartition(b" ")[2]) if entry.name_kind is NameKind.DECRYPTED else count
            if number >= count or met[number] or entry.name != _name(number):
                wrong += 1
            else:
                met[number] = 1
        last = time.monotonic() - begun
    return Listed(sum(met), wrong, first, last, peak_of(os.getpid()))


def _list_plain(top: bytes) -> int:
    with connect(Access()) as mount:
        for _ in mount.scandir(top):
            pass
    return peak_of(os.getpid())


if __name__ == "__main__":
    verb, where, *given = sys.argv[1:]
    if verb == "fill":
        _fill(os.fsencode(where), *map(int, given))
    elif verb == "plain":
        print(_list_plain(os.fsencode(where)))
    else:
        print(json.dumps(asdict(_list(os.fsencode(where), *map(int, given)))))
