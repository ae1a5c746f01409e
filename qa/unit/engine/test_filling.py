"""Bytes that are written where they will stay."""

import pytest

from mgr_fscrypt.engine.filling import filled


@pytest.mark.parametrize("length", [0, 1, 4096, 5 << 20])
def test_they_are_what_was_written(length: int) -> None:
    wanted = bytes(number % 251 for number in range(length))

    def fill(memory: memoryview) -> None:
        memory[:] = wanted

    made = filled(length, fill)
    assert type(made) is bytes
    assert made == wanted


def test_each_has_memory_of_its_own() -> None:
    made = [filled(1, lambda memory, value=value: memory.__setitem__(0, value)) for value in range(256)]
    assert made == [bytes([value]) for value in range(256)]


def test_nobody_changes_them_afterwards() -> None:
    kept: list[memoryview] = []
    made = filled(4, kept.append)
    before = bytes(made)
    with pytest.raises(ValueError, match="released"):
        kept[0][0] = 1
    assert made == before


def test_what_cannot_be_filled_is_not_there() -> None:
    def fail(memory: memoryview) -> None:
        raise OSError(5, "no data")

    with pytest.raises(OSError, match="no data"):
        filled(4096, fail)
