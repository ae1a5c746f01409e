"""A guard's child with a CephFS in memory, which dies when its plan says so.

Run as `python -m qa.fakes.guard_child DIRECTORY NUMBER`. DIRECTORY has `plan.json` (`Plan`), and gets `calls`, where
each child writes a line for each call before it does it. The children of one guard do not share what they change: each
begins with the files of the plan.
"""

import errno
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mgr_fscrypt.ceph.errors import UnreachableError
from mgr_fscrypt.ceph.guard import frames, values
from mgr_fscrypt.ceph.guard.process import DONE, REFUSED
from mgr_fscrypt.ceph.guard.service import serve
from mgr_fscrypt.ceph.interface import Entry
from mgr_fscrypt.ceph.prctl import end_with_parent, keep_out_of_core_dumps
from qa.fakes.ceph import FakeCluster, FakeMount


@dataclass
class Plan:
    """The n-th child dies at its `deaths[n]`-th call, counted from 1, before it does it; at 0 before it is ready;
    None or no number: never. With `away` no child is let in. `files` are there in this order, so that their inode
    numbers are known."""

    deaths: list[int | None] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=lambda: {"/f": "contents", "/g": "others"})
    away: bool = False

    def write(self, directory: Path) -> None:
        """Let it be what the next children do."""
        (directory / "plan.json").write_text(json.dumps(asdict(self)))


class PagedMount(FakeMount):
    """Places in a directory are numbers of entries."""

    def entries_from(self, path: bytes, place: int, count: int) -> tuple[list[Entry], int | None]:
        entries = list(self.scandir(path))
        after = place + count
        return entries[place:after], after if after < len(entries) else None


class MortalMount:
    """Writes each call down, and dies at one of them."""

    def __init__(self, mount: PagedMount, calls: Path, number: int, death: int | None) -> None:
        self._mount = mount
        self._calls = calls
        self._number = number
        self._left = death

    def __getattr__(self, name: str) -> Callable[..., object]:
        method = getattr(self._mount, name)

        def call(*arguments: object) -> object:
            with self._calls.open("a") as calls:
                calls.write(f"{self._number} {name}\n")
            if self._left is not None:
                self._left -= 1
                if self._left == 0:
                    os.abort()
            return method(*arguments)

        return call


def main() -> None:
    directory, control = Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    end_with_parent()
    keep_out_of_core_dumps()
    (_, session, dead), _ = frames.receive(control)
    plan = Plan(**json.loads((directory / "plan.json").read_text()))
    with (directory / "children").open("a") as children:
        children.write(f"{session} {' '.join(dead)}\n")
    number = len((directory / "children").read_text().splitlines())
    death = plan.deaths[number - 1] if number <= len(plan.deaths) else None
    if death == 0:
        sys.stderr.write("terminate called\n")
        os.abort()
    if plan.away:
        frames.send(control, (REFUSED, values.of_error(UnreachableError(errno.ETIMEDOUT, "nobody there"))))
        return
    mount = PagedMount(FakeCluster())
    for name, text in plan.files.items():
        fd = mount.open(name.encode(), os.O_CREAT | os.O_RDWR, 0o644)
        mount.pwrite(fd, text.encode(), 0)
        mount.setxattr(name.encode(), "user.name", name.encode())
        mount.close(fd)
    mount.symlink(b"target", b"/link")
    frames.send(control, (DONE, (f"address {number}", "pool")))
    serve(control, MortalMount(mount, directory / "calls", number, death))
    frames.send(control, None)


if __name__ == "__main__":
    main()
