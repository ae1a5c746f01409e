"""The random load on a tree finds what it is there to find."""

import errno
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from qa.load.tree import Found, Path_, PathTree, Sequence

COUNT = 1000


class CutsContent(PathTree):
    def create(self, path: Path_, content: bytes) -> None:
        super().create(path, content[:-1] if len(content) > 8000 else content)


class RenamesOverDirectories(PathTree):
    """An errno that is not POSIX's."""

    def rename(self, old: Path_, new: Path_) -> None:
        try:
            super().rename(old, new)
        except IsADirectoryError as error:
            raise OSError(errno.EPERM, "planted") from error


class ChangesTargets(PathTree):
    def symlink(self, target: bytes, path: Path_) -> None:
        super().symlink(target + b"/", path)


class CopiesInsteadOfLinking(PathTree):
    def link(self, existing: Path_, new: Path_) -> None:
        self.create(new, self.walk()[existing].content)


class LeavesNames(PathTree):
    def unlink(self, path: Path_) -> None:
        if len(path) < 3:
            super().unlink(path)


class ShowsTooMuch(PathTree):
    def walk(self) -> dict[Path_, Found]:
        there = super().walk()
        return there | {(b"ghost",): next(iter(there.values()))}


def test_a_tree_that_keeps_everything_passes(tmp_path: Path):
    assert Sequence(PathTree(tmp_path), random.Random(1)).run(COUNT) is None


@pytest.mark.parametrize(
    "bug",
    [CutsContent, RenamesOverDirectories, ChangesTargets, CopiesInsteadOfLinking, LeavesNames, ShowsTooMuch],
)
def test_a_planted_bug_is_found_and_its_operation_named(bug: Callable[[Path], PathTree], tmp_path: Path):
    wrong = Sequence(bug(tmp_path), random.Random(1)).run(COUNT)
    assert wrong is not None
    assert wrong.startswith("operation ")
