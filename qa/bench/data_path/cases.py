"""The cases: each does its work once for one subject and answers rates, higher is better."""

import os
import random
import time
from collections.abc import Callable

from .places import Place
from .subjects import Subject

MIB = 1 << 20
_BLOCK = 4096
_SEED = 1


def sequential(subject: Subject, size: int, piece: int) -> dict[str, float]:
    """MiB/s of writing a new file and making it durable, and of reading it with empty caches."""
    place, data = subject.place, os.urandom(piece)
    file = place.make("file")

    def write() -> None:
        for offset in range(0, size, piece):
            file.write(data, offset)
        file.sync()

    written = _rate(size / MIB, write)
    file.close()
    subject.forget()
    reader = subject.place.open("file")

    def read() -> None:
        for offset in range(0, size, piece):
            if reader.read(piece, offset) != piece:
                raise RuntimeError("what was written is not there")

    got = _rate(size / MIB, read)
    reader.close()
    subject.place.unlink("file")
    return {"write": written, "read": got}


def scattered(subject: Subject, size: int, count: int) -> dict[str, float]:
    """Operations a second: 4 KiB writes at random blocks of an old file, made durable at the end, and reads."""
    blocks = random.Random(_SEED).choices(range(size // _BLOCK), k=count)
    file = subject.place.make("file")
    for offset in range(0, size, MIB):
        file.write(os.urandom(MIB), offset)
    file.close()
    subject.forget()
    file, data = subject.place.open("file", write=True), os.urandom(_BLOCK)

    def write() -> None:
        for block in blocks:
            file.write(data, block * _BLOCK)
        file.sync()

    written = _rate(count, write)
    file.close()
    subject.forget()
    reader = subject.place.open("file")

    def read() -> None:
        for block in blocks:
            reader.read(_BLOCK, block * _BLOCK)

    got = _rate(count, read)
    reader.close()
    subject.place.unlink("file")
    return {"write": written, "read": got}


def small_files(subject: Subject, count: int) -> dict[str, float]:
    """Files of 4 KiB a second: made (all of it durable at the end), and with empty caches stat'ed, listed, read;
    removed."""
    names = [f"small/file-{number:06d}" for number in range(count)]
    subject.place.mkdir("small")
    rates = {"create": _rate(count, lambda: _create(subject.place, names))}
    subject.forget()
    rates["stat"] = _rate(count, lambda: _stat(subject.place, names))
    subject.forget()
    rates["list"] = _rate(count, lambda: _list(subject.place, "small", count))
    rates["read"] = _rate(count, lambda: _read(subject.place, names))
    rates["remove"] = _rate(count, lambda: _remove(subject.place, names))
    subject.place.rmdir("small")
    return rates


def _create(place: Place, names: list[str]) -> None:
    data = os.urandom(_BLOCK)
    for name in names:
        file = place.make(name)
        file.write(data, 0)
        file.close()
    place.sync()


def _stat(place: Place, names: list[str]) -> None:
    if any(place.stat(name) != _BLOCK for name in names):
        raise RuntimeError("a file has not its size")


def _list(place: Place, name: str, count: int) -> None:
    if place.names(name) != count:
        raise RuntimeError("not all entries are listed")


def _read(place: Place, names: list[str]) -> None:
    for name in names:
        file = place.open(name)
        if file.read(_BLOCK, 0) != _BLOCK:
            raise RuntimeError("a file is not whole")
        file.close()


def _remove(place: Place, names: list[str]) -> None:
    for name in names:
        place.unlink(name)


def fill(place: Place, count: int) -> None:
    """The directory of the next case."""
    place.mkdir("many")
    for number in range(count):
        place.make(f"many/entry-{number:06d}").close()
    place.sync()


def listing(subject: Subject, count: int) -> dict[str, float]:
    """Entries a second of a directory that `fill` made, with empty caches."""
    subject.forget()
    return {"list": _rate(count, lambda: _list(subject.place, "many", count))}


def stream(place: Place, size: int) -> None:
    """Write and read a file in pieces of 4 MiB, with no rate."""
    data, file = os.urandom(4 * MIB), place.make("stream")
    for offset in range(0, size, len(data)):
        file.write(data, offset)
    file.close()
    file = place.open("stream")
    for offset in range(0, size, len(data)):
        file.read(len(data), offset)
    file.close()
    place.unlink("stream")


def _rate(amount: float, work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return amount / (time.perf_counter() - begun)
