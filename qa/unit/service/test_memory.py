"""A secret's memory, as the kernel sees it."""

import ctypes
import errno
import pickle
from pathlib import Path

import pytest

from mgr_fscrypt.format.buffers import address_of
from mgr_fscrypt.service import memory as memory_module
from mgr_fscrypt.service.memory import SecretMemory, SecretMemoryError

SECRET = bytes(range(64))


def flags_of(address: int) -> set[str]:
    """What the kernel says of the mapping that an address lies in."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            start, end = (int(word, 16) for word in words[0].split("-"))
            inside = start <= address < end
        elif inside and words[0] == "VmFlags:":
            return set(words[1:])
    raise AssertionError("no such mapping")


def address(memory: SecretMemory) -> int:
    with memoryview(memory._page) as view, address_of(view) as (found, _):
        return found


def test_it_is_locked_and_in_no_dump_and_no_child():
    memory = SecretMemory(SECRET)
    # lo: locked, dd: not dumped, dc: not copied on fork (Documentation/filesystems/proc.rst)
    assert flags_of(address(memory)) >= {"lo", "dd", "dc"}
    memory.wipe()


def test_it_gives_copies_until_it_is_wiped():
    memory = SecretMemory(SECRET)
    assert memory.expose() == SECRET
    memory.wipe()
    memory.wipe()
    assert repr(memory) == "SecretMemory(wiped)"
    with pytest.raises(ValueError, match="wiped"):
        memory.expose()


def test_the_page_is_zeros_before_it_is_given_back(monkeypatch: pytest.MonkeyPatch):
    memory = SecretMemory(SECRET)
    where = address(memory)
    seen: list[bytes] = []

    class Watched:
        def __init__(self, page: object) -> None:
            self.page = page

        def __setitem__(self, key: slice, value: bytes) -> None:
            self.page[key] = value  # type: ignore[index]

        def close(self) -> None:
            seen.append(ctypes.string_at(where, 64))
            self.page.close()  # type: ignore[attr-defined]

    monkeypatch.setattr(memory, "_page", Watched(memory._page))
    assert ctypes.string_at(where, 64) == SECRET
    memory.wipe()
    assert seen == [bytes(64)]


def test_it_shows_nothing_and_goes_nowhere():
    memory = SecretMemory(SECRET)
    assert repr(memory) == "SecretMemory(64 bytes)"
    with pytest.raises(TypeError):
        pickle.dumps(memory)
    memory.wipe()


def test_memory_that_cannot_be_locked_is_an_error(monkeypatch: pytest.MonkeyPatch):
    def refuse(page: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(memory_module, "_mlock", refuse)
    with pytest.raises(SecretMemoryError, match="cannot be locked"):
        SecretMemory(SECRET)
