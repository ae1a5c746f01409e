"""The random load on a tree finds what it is there to find."""

import errno
import os
import random
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Sequence_
from pathlib import Path

import pytest

from mgr_fscrypt.engine.making import UNFINISHED
from qa.load.doors import Handle, PathDoor, PathHandle, Status
from qa.load.tree import WRONG_BYTES, Doubts, Path_, Sequence

COUNT = 1000


class CutsContent(PathDoor):
    class Cut(PathHandle):
        def pwrite(self, data: bytes, offset: int) -> int:
            super().pwrite(data[:-1] if len(data) > 8000 else data, offset)
            return len(data)

    def open(self, path: bytes, flags: int) -> Handle:
        return self.Cut(self._at(path), flags)


class RenamesOverDirectories(PathDoor):
    """An errno that is not POSIX's."""

    def rename(self, old: bytes, new: bytes) -> None:
        try:
            super().rename(old, new)
        except IsADirectoryError as error:
            raise OSError(errno.EPERM, "planted") from error


class ChangesTargets(PathDoor):
    def symlink(self, target: bytes, path: bytes) -> None:
        super().symlink(target + b"/", path)


class CopiesInsteadOfLinking(PathDoor):
    def link(self, existing: bytes, new: bytes) -> None:
        if Path(str(self._at(new), "latin1")).exists():
            raise FileExistsError(errno.EEXIST, "there")
        with open(self._at(new), "xb") as copy, open(self._at(existing), "rb") as original:  # noqa: PTH123
            copy.write(original.read())


class LeavesNames(PathDoor):
    def unlink(self, path: bytes) -> None:
        if path.count(b"/") < 2:
            super().unlink(path)


class ShowsTooMuch(PathDoor):
    def names(self, directory: bytes) -> Iterator[bytes]:
        found = list(super().names(directory))
        return iter(found + [b"ghost"] * bool(found and not directory))

    def stat(self, path: bytes) -> Status:
        return super().stat(b"" if path == b"ghost" else path)


class ForgetsModes(PathDoor):
    def chmod(self, path: bytes, mode: int) -> None:
        super().chmod(path, mode | 0o100)


class ForgetsTimes(PathDoor):
    def utimens(self, path: bytes, atime: int, mtime: int) -> None:
        super().utimens(path, mtime, atime)


class TruncatesShort(PathDoor):
    def truncate(self, path: bytes, size: int) -> None:
        super().truncate(path, size - size % 2)


def test_a_tree_that_keeps_everything_passes(tmp_path: Path):
    assert Sequence([PathDoor(tmp_path)] * 2, random.Random(1)).run(COUNT) is None


@pytest.mark.parametrize(
    "bug",
    [
        CutsContent,
        RenamesOverDirectories,
        ChangesTargets,
        CopiesInsteadOfLinking,
        LeavesNames,
        ShowsTooMuch,
        ForgetsModes,
        ForgetsTimes,
        TruncatesShort,
    ],
)
def test_a_planted_bug_is_found_and_its_operation_named(bug: Callable[[Path], PathDoor], tmp_path: Path):
    wrong = Sequence([bug(tmp_path)], random.Random(1)).run(COUNT)
    assert wrong is not None
    assert wrong.startswith("operation ")
    assert "the last ones: " in wrong


def test_what_one_client_does_not_see_is_found(tmp_path: Path):
    class Blind(PathDoor):
        """Sees what was in a file when it was first looked at."""

        def __init__(self, top: Path) -> None:
            super().__init__(top)
            self._seen: dict[bytes, Status] = {}

        def stat(self, path: bytes) -> Status:
            return self._seen.setdefault(path, super().stat(path))

    wrong = Sequence([PathDoor(tmp_path), Blind(tmp_path)], random.Random(1)).run(COUNT)
    assert "1: look at" in str(wrong)


def test_only_writers_change_contents_and_only_cuts_shorten(tmp_path: Path):
    class ReadsOnly(PathDoor):
        """Makes files, and changes none."""

        def open(self, path: bytes, flags: int) -> Handle:
            if flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_CREAT:
                raise OSError(errno.EBUSY, "not a writer")
            return super().open(path, flags)

        def truncate(self, path: bytes, size: int) -> None:
            raise OSError(errno.EBUSY, "not a writer")

    class OnlyCuts(PathDoor):
        def truncate(self, path: bytes, size: int) -> None:
            if path and size > Path(os.fsdecode(self._at(path))).stat().st_size:
                raise OSError(errno.EIO, "longer")
            super().truncate(path, size)

    doors = [ReadsOnly(tmp_path), OnlyCuts(tmp_path)]
    assert Sequence(doors, random.Random(1), writers=[1], only_cuts=True).run(COUNT) is None


def test_wrong_bytes_are_looked_at_once_more_where_they_are_doubted(tmp_path: Path):
    class Hasty(PathDoor):
        """Its first look at each file has the last byte wrong, or each look."""

        def __init__(self, top: Path, *, always: bool) -> None:
            super().__init__(top)
            self._right = set[bytes]()
            self._always = always

        def open(self, path: bytes, flags: int) -> Handle:
            if flags & os.O_ACCMODE != os.O_RDONLY or (path in self._right and not self._always):
                return super().open(path, flags)
            self._right.add(path)
            return self.Wrong(self._at(path), flags)

        class Wrong(PathHandle):
            def preadv(self, buffers: Sequence_[bytearray], offset: int) -> int:
                done = super().preadv(buffers, offset)
                if done:
                    buffers[0][done - 1] ^= 1
                return done

            def pread(self, length: int, offset: int) -> bytes:
                data = super().pread(length, offset)
                return data[:-1] + bytes([data[-1] ^ 1]) if data else data

    class Patient(Doubts):
        """Has each look made once more."""

        told = 0

        def misread(self, client: int, path: Path_, found: bytes, expected: bytes) -> bool:
            self.told += 1
            return len(found) == len(expected)

    (tmp_path / "hasty").mkdir()
    patient = Patient()
    hasty = Sequence([Hasty(tmp_path / "hasty", always=False)], random.Random(1), doubts=patient)
    assert hasty.run(COUNT) is None
    assert patient.told
    (tmp_path / "wrong").mkdir()
    wrong = Sequence([Hasty(tmp_path / "wrong", always=True)], random.Random(1), doubts=Patient())
    assert WRONG_BYTES in str(wrong.run(COUNT)), "a second look that is wrong counts"
    (tmp_path / "sure").mkdir()
    sure = Sequence([Hasty(tmp_path / "sure", always=False)], random.Random(1))
    assert WRONG_BYTES in str(sure.run(COUNT)), "nobody doubts it where nobody said so"


class Dying(PathDoor):
    """Each of some changes is answered with EIO: some of them were made, some were not, and some half."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self._chance = random.Random(2)

    def mkdir(self, path: bytes) -> None:
        self._dying(lambda: super(Dying, self).mkdir(path), path)
        super().mkdir(path)

    def open(self, path: bytes, flags: int) -> Handle:
        if flags & os.O_CREAT:
            # what is made has contents that only its maker knows: it is left half made, or not made
            self._dying(lambda: None, path)
        return super().open(path, flags)

    def rename(self, old: bytes, new: bytes) -> None:
        self._dying(lambda: super(Dying, self).rename(old, new))
        super().rename(old, new)

    def unlink(self, path: bytes) -> None:
        if self.stat(path).permissions != UNFINISHED:
            self._dying(lambda: super(Dying, self).unlink(path))
        super().unlink(path)

    def chmod(self, path: bytes, mode: int) -> None:
        self._dying(lambda: super(Dying, self).chmod(path, mode))
        super().chmod(path, mode)

    def _dying(self, change: Callable[[], object], half: bytes = b"") -> None:
        fate = self._chance.randrange(12)
        if fate == 0:
            change()
        elif fate == 1 and half and not os.path.lexists(self._at(half)):
            super().mkdir(half)
            super().chmod(half, UNFINISHED)
        if fate < 3:
            raise OSError(errno.EIO, "died")


class Uncertain(Doubts):
    """Every EIO is."""

    def __init__(self) -> None:
        self.made = [0, 0]

    def uncertain(self, client: int, error: OSError) -> bool:
        return error.errno == errno.EIO

    def settled(self, *, made: bool) -> None:
        self.made[made] += 1


def test_a_sequence_goes_on_from_what_an_uncertain_operation_left(tmp_path: Path):
    uncertain = Uncertain()
    sequence = Sequence([Dying(tmp_path), PathDoor(tmp_path)], random.Random(1), doubts=uncertain)
    assert sequence.run(COUNT) is None
    assert sequence.done == COUNT
    assert min(uncertain.made) > 10


def test_an_operation_that_nobody_calls_uncertain_counts(tmp_path: Path):
    assert "EIO, not done" in str(Sequence([Dying(tmp_path)], random.Random(1)).run(COUNT))


def test_what_an_uncertain_operation_left_is_as_before_it_or_as_after_it(tmp_path: Path):
    class Harms(PathDoor):
        """Neither: it dies, and gives the file yet another mode."""

        def chmod(self, path: bytes, mode: int) -> None:
            super().chmod(path, 0o777)
            raise OSError(errno.EIO, "died")

    wrong = Sequence([Harms(tmp_path)], random.Random(1), doubts=Uncertain()).run(COUNT)
    assert "mode 777, " in str(wrong)
    assert "that was uncertain" in str(wrong)


def test_a_sequence_ends_when_it_is_enough(tmp_path: Path):
    sequence = Sequence([PathDoor(tmp_path)], random.Random(1))
    assert sequence.run(COUNT, enough=lambda: sequence.done >= 7) is None
    assert sequence.done == 7
