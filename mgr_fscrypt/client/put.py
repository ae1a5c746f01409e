"""``put``: local files, directories and links into an encrypted subtree."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from ..ceph.errors import ExistsError, NotFoundError
from ..ceph.interface import Kind
from ..engine import FileSystem, LockedError
from ..format import TARGET_MAX
from .advice import copying, shown
from .connection import Connection
from .local import Local, given_permissions, open_source, walk
from .outcome import Exit, Failure
from .progress import Progress, size_text
from .remote import basename, joined, parent, sibling
from .report import Reporter

PIECE = 4 << 20
"""Bytes of a file that are in memory at once: an object of the default layout."""


@dataclass
class Plan:
    """What a look at the sources found, before anything is written.

    Args:
        entries: files, directories and links.
        size: bytes in the files.
        skipped: what the engine cannot hold: sockets, FIFOs, devices.
        too_long: what has a name, or is a link with a target, that the format cannot hold.
    """

    entries: int = 0
    size: int = 0
    skipped: list[Path] = field(default_factory=list)
    too_long: list[Path] = field(default_factory=list)


def put(
    connection: Connection,
    reporter: Reporter,
    sources: list[Path],
    target: bytes,
    *,
    replace: bool,
    dry_run: bool,
) -> Exit:
    """Copy sources into a directory, or one source to a new name."""
    connection.require_keys()
    trees = _targets(connection.files, sources, target)
    plan = Plan()
    for source, goal in trees:
        longest = _longest_name(connection.files, goal)
        for each in walk(source, goal):
            _consider(plan, each, longest)
            if dry_run and not each.leaving:
                reporter.answer(
                    {"would": "make", "path": shown(each.target), "from": shown(each.path)},
                    f"would make {shown(each.target)} from {shown(each.path)}",
                )
    if plan.too_long:
        raise Failure(
            Exit.REFUSED,
            f"{len(plan.too_long)} names or targets are too long to be encrypted, the first is of "
            f"{shown(plan.too_long[0])}",
            remedy=f"shorten names to {longest} bytes, targets of links to {TARGET_MAX}",
        )
    for path in plan.skipped:
        reporter.note(f"skipped {shown(path)}: not a file, directory or symbolic link")
    value: dict[str, object] = {"entries": plan.entries, "bytes": plan.size, "skipped": len(plan.skipped)}
    if dry_run:
        reporter.answer(
            {"would": "put", **value}, f"would put {plan.entries} entries, {size_text(plan.size)}"
        )
        return Exit.DONE
    copied = _Putting(connection.files, reporter.progress_stream, plan.size, replace=replace)
    progress = copied.run(trees)
    value |= {"seconds": round(progress.seconds, 3), "bytes": progress.bytes, "entries": progress.entries}
    reporter.summary(
        {"put": shown(target), **value},
        f"put {progress.entries} entries, {size_text(progress.bytes)} in {progress.seconds:.1f} s "
        f"({size_text(progress.rate)}/s)",
    )
    return Exit.DIFFERS if plan.skipped else Exit.DONE


def _targets(files: FileSystem, sources: list[Path], target: bytes) -> list[tuple[Path, bytes]]:
    """Say where each source goes: into an existing directory under its own name, else to the name itself."""
    is_directory = files.exists(target) and files.stat(target).kind is Kind.DIRECTORY
    if len(sources) > 1 and not is_directory:
        raise Failure(
            Exit.USAGE,
            f"{shown(target)} is no directory, and there are {len(sources)} sources",
            remedy="name a directory that exists",
        )
    if not is_directory:
        return [(sources[0], target)]
    return [(source, joined(target, os.fsencode(source.absolute().name))) for source in sources]


def _longest_name(files: FileSystem, goal: bytes) -> int:
    """Give the bytes of the longest name that can be made beside a goal, which is to be encrypted."""
    directory = parent(goal)
    found = files.subtree(directory)
    if found.policy is None:
        raise Failure(
            Exit.REFUSED,
            f"{shown(directory)} is not encrypted, and nothing is ever written in plain",
            remedy="make an encrypted directory with `cephfs-fscrypt subtree create`",
        )
    if not found.unlocked:
        raise LockedError(directory, found.policy.key)
    return files.statfs(directory).longest_name


def _consider(plan: Plan, each: Local, longest: int) -> None:
    if each.leaving:
        return
    mode = each.status.st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
        plan.skipped.append(each.path)
        return
    plan.entries += 1
    plan.size += each.status.st_size if stat.S_ISREG(mode) else 0
    # not Path.readlink, which would tidy the target up
    target = os.fsencode(os.readlink(each.path)) if stat.S_ISLNK(mode) else b""  # noqa: PTH115
    if len(basename(each.target)) > longest or len(target) > TARGET_MAX:
        plan.too_long.append(each.path)


class _Putting:
    """The copying itself; hard links among the sources stay links of each other."""

    def __init__(self, files: FileSystem, stream: TextIO | None, total: int, *, replace: bool) -> None:
        self._files = files
        self._replace = replace
        self._buffer = bytearray(PIECE)
        self._linked: dict[tuple[int, int], bytes] = {}
        self._progress = Progress(stream, total)

    def run(self, trees: list[tuple[Path, bytes]]) -> Progress:
        with copying(self._progress):
            for source, goal in trees:
                for each in walk(source, goal):
                    self._copy(each)
            self._files.sync()
        return self._progress

    def _copy(self, each: Local) -> None:
        mode = each.status.st_mode
        if each.leaving:
            # only now: a mode without write permission, and times that entries do not touch any more
            self._files.chmod(each.target, given_permissions(mode))
            self._set_times(each)
            return
        if stat.S_ISDIR(mode):
            self._directory(each.target)
        elif stat.S_ISLNK(mode):
            self._put_in_place(each, self._link)
        elif stat.S_ISREG(mode):
            self._put_in_place(each, self._file_or_hard_link)
        else:
            return
        self._progress.entry()

    def _directory(self, target: bytes) -> None:
        try:
            # ours alone until all is in it
            self._files.mkdir(target, 0o700)
        except ExistsError:
            if self._files.stat(target).kind is not Kind.DIRECTORY:
                raise

    def _put_in_place(self, each: Local, make: Callable[[Local, bytes], None]) -> None:
        """Make a new name, or, where one may be replaced, make another one and rename it over."""
        if not (self._replace and self._files.exists(each.target)):
            make(each, each.target)
            return
        if self._files.stat(each.target).kind is Kind.DIRECTORY:
            # CephFS would let an empty one go (doc/facts.md F12)
            raise Failure(
                Exit.REFUSED,
                f"{shown(each.target)} is a directory, and {shown(each.path)} is not",
                remedy="remove or rename one of them",
            )
        beside = sibling(each.target)
        try:
            make(each, beside)
            self._files.rename(beside, each.target)
        except BaseException:
            with suppress(NotFoundError):
                self._files.unlink(beside)
            raise

    def _link(self, each: Local, target: bytes) -> None:
        # not Path.readlink, which would tidy the target up
        link = os.readlink(each.path)  # noqa: PTH115
        self._files.symlink(os.fsencode(link), target)
        self._set_times(each, target)

    def _file_or_hard_link(self, each: Local, target: bytes) -> None:
        status = each.status
        inode = (status.st_dev, status.st_ino)
        if inode in self._linked:
            self._files.link(self._linked[inode], target)
            return
        self._file(each, target)
        if status.st_nlink > 1:
            self._linked[inode] = each.target

    def _file(self, each: Local, target: bytes) -> None:
        # a new file that an exception ends removes itself
        with (
            open_source(each) as source,
            self._files.create(target, given_permissions(each.status.st_mode)) as new,
        ):
            offset = 0
            while count := source.readinto(self._buffer):
                new.pwrite(memoryview(self._buffer)[:count], offset)
                offset += count
                self._progress.advance(count)
        self._set_times(each, target)

    def _set_times(self, each: Local, target: bytes | None = None) -> None:
        self._files.utimens(target or each.target, each.status.st_atime, each.status.st_mtime)
