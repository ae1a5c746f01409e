"""The model of a file knows its holes."""

from mgr_fscrypt.engine.files import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE
from qa.load.contents import Model

PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


def test_what_was_never_written_is_a_hole():
    file = Model(b"x" * 10_000)
    file.pwrite(b"y", 30_000)
    assert [file.next(at, hole=True) for at in (0, 12_288, 30_001)] == [12_288, 12_288, None]
    assert [file.next(at, hole=False) for at in (5, 12_288, 30_001)] == [5, 28_672, None]


def test_what_was_punched_or_cut_off_is_a_hole():
    file = Model(b"x" * 10_000)
    file.pwrite(b"y", 30_000)
    file.fallocate(PUNCH, 4096, 4096)
    file.fallocate(PUNCH, 8192, 10)
    assert sorted(file.written) == [0, 2, 7]
    file.fallocate(PUNCH, 28_672, 1329)
    file.truncate(8193)
    assert (sorted(file.written), len(file.data)) == ([0, 2], 8193)


def test_a_zeroed_range_makes_it_longer_unless_its_size_is_kept():
    file = Model(b"x" * 5000)
    file.fallocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 4096, 9000)
    assert (bytes(file.data), file.written) == (b"x" * 4096 + bytes(904), {0})
    file.fallocate(FALLOC_FL_ZERO_RANGE, 4096, 9000)
    assert (len(file.data), file.written) == (13_096, {0})
