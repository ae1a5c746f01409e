"""What xfstests' encrypt group asks of kernels, asked of the engine: each test has the number of its model there."""

import errno
import os
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileSystem, Keyring, LockedError, NameKind
from mgr_fscrypt.engine.errors import ENOKEY
from mgr_fscrypt.format import AUTH_XATTR, ENGINE_XATTR, Context, EngineRecord, MasterKey
from qa.fakes.engine_cases import remove

KEY, OTHER = MasterKey(bytes(range(64))), MasterKey(bytes(range(1, 65)))
INCOMPRESSIBLE = 0.99


@dataclass(frozen=True)
class Place:
    """Two subtrees, `one` under KEY and `other` under OTHER, and a plain directory, seen by one user."""

    files: FileSystem
    keyring: Keyring
    mount: CephMount
    top: bytes

    @property
    def one(self) -> bytes:
        return self.top + b"/one"

    @property
    def other(self) -> bytes:
        return self.top + b"/other"

    @property
    def plain(self) -> bytes:
        return self.top + b"/plain"

    def lock(self) -> None:
        self.keyring.remove(KEY.identifier)
        self.keyring.remove(OTHER.identifier)

    def unlock(self) -> None:
        self.keyring.add(KEY)
        self.keyring.add(OTHER)

    def write(self, path: bytes, data: bytes) -> None:
        with self.files.create(path) as file:
            file.pwrite(data, 0)

    def read(self, path: bytes) -> bytes:
        with self.files.open(path) as file:
            return file.pread(file.size, 0)

    def names(self, directory: bytes) -> list[bytes]:
        return sorted(entry.name for entry in self.files.scandir(directory))

    def stored(self, directory: bytes) -> list[bytes]:
        """Stored paths of what lies in a subtree's root."""
        return [directory + b"/" + entry.name for entry in self.mount.scandir(directory)]

    def raw(self, stored: bytes) -> bytes:
        fd = self.mount.open(stored, os.O_RDONLY)
        try:
            return self.mount.pread(fd, self.mount.fstat(fd).size, 0)
        finally:
            self.mount.close(fd)


@pytest.fixture
def place(mount: CephMount) -> Iterator[Place]:
    keyring = Keyring()
    with FileSystem(mount, keyring, durable_close=True) as files:
        made = Place(files, keyring, mount, b"/xfstests-" + uuid.uuid4().hex[:8].encode())
        made.unlock()
        for directory in (made.top, made.one, made.other, made.plain):
            mount.mkdir(directory, 0o755)
        files.create_subtree(made.one, KEY.identifier)
        files.create_subtree(made.other, OTHER.identifier)
        yield made
    remove(mount, made.top)


def refused(number: int) -> "pytest.RaisesExc[OSError]":
    return pytest.raises(OSError, check=lambda error: error.errno == number)


def test_397_with_and_without_the_key(place: Place) -> None:
    files, top = place.files, place.one
    files.mkdir(top + b"/d")
    place.write(top + b"/d/f", b"contents" * 1000)
    files.symlink(b"d/f", top + b"/l")
    place.lock()
    entries = list(files.scandir(top))
    assert {entry.name_kind for entry in entries} == {NameKind.LOCKED}
    assert not {entry.name for entry in entries} & {b"d", b"l"}
    (directory,) = (entry.name for entry in entries if entry.kind is Kind.DIRECTORY)
    (link,) = (entry.name for entry in entries if entry.kind is Kind.SYMLINK)
    (file,) = place.names(top + b"/" + directory)
    inside = top + b"/" + directory + b"/" + file
    assert files.stat(inside).size == 8000
    assert files.readlink(top + b"/" + link) != b"d/f"
    new = top + b"/new"
    tries: tuple[Callable[[], object], ...] = (
        lambda: files.open(inside),
        lambda: files.create(new),
        lambda: files.mkdir(new),
        lambda: files.symlink(b"t", new),
        lambda: files.link(inside, new),
    )
    for act in tries:
        with refused(ENOKEY):
            act()
    place.unlock()
    assert place.names(top) == [b"d", b"l"]
    assert place.read(top + b"/d/f") == b"contents" * 1000
    assert files.readlink(top + b"/l") == b"d/f"
    place.lock()
    files.unlink(inside)
    files.rmdir(top + b"/" + directory)
    files.unlink(top + b"/" + link)
    place.unlock()
    assert place.names(top) == []


def test_398_one_policy_per_tree(place: Place) -> None:
    files, one, other = place.files, place.one, place.other
    place.write(one + b"/f", b"x")
    files.mkdir(one + b"/d")
    files.symlink(b"t", one + b"/l")
    place.write(one + b"/d/f", b"y")
    for name in (b"/f", b"/d", b"/l"):
        for target in (other, place.plain):
            with refused(errno.EXDEV):
                files.rename(one + name, target + name)
    with refused(errno.EXDEV):
        files.link(one + b"/f", other + b"/f")
    fd = place.mount.open(place.plain + b"/p", os.O_CREAT | os.O_RDWR, 0o644)
    place.mount.close(fd)
    with refused(errno.EXDEV):
        files.rename(place.plain + b"/p", one + b"/p")
    files.rename(one + b"/f", one + b"/d/g")
    files.link(one + b"/d/g", one + b"/h")
    assert place.names(one) == [b"d", b"h", b"l"]
    assert place.names(other) == []


def test_399_nothing_shows_twice(place: Place) -> None:
    files, top = place.files, place.one
    for name in (b"/a", b"/b"):
        place.write(top + name, bytes(1 << 20))
        files.symlink(b"the same target of some length", top + name + b".link")
        files.mkdir(top + name + b".d")
        place.write(top + name + b".d/same", b"")
    raw = [place.raw(stored) for stored in place.stored(top) if place.mount.stat(stored).kind is Kind.FILE]
    links = [
        place.mount.readlink(stored)
        for stored in place.stored(top)
        if place.mount.stat(stored).kind is Kind.SYMLINK
    ]
    directories = [stored for stored in place.stored(top) if place.mount.stat(stored).kind is Kind.DIRECTORY]
    for data in (*raw, b"".join(raw)):
        assert len(zlib.compress(data)) > INCOMPRESSIBLE * len(data)
    assert len(set(links)) == 2
    same = {entry.name for directory in directories for entry in place.mount.scandir(directory)}
    assert len(same) == 2


def test_419_rename_without_the_key(place: Place) -> None:
    place.write(place.one + b"/a", b"a")
    place.write(place.one + b"/b", b"b")
    place.lock()
    first, second = place.names(place.one)
    for new in (second, b"new"):
        with pytest.raises(LockedError):
            place.files.rename(place.one + b"/" + first, place.one + b"/" + new)
    place.unlock()
    assert (place.read(place.one + b"/a"), place.read(place.one + b"/b")) == (b"a", b"b")


@contextmanager
def coming_and_going(place: Place) -> Iterator[None]:
    """The key is there and not there, in turns of some milliseconds; in the end it is."""
    over = threading.Event()

    def come_and_go() -> None:
        while not over.wait(0.03):
            place.keyring.remove(KEY.identifier)
            over.wait(0.002)
            place.keyring.add(KEY)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def together(*tasks: Callable[[], None]) -> None:
    """Run them at the same time, each in a thread, and raise what one of them raises."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        for running in [pool.submit(task) for task in tasks]:
            running.result()


def test_421_a_key_that_goes_under_a_reader_and_a_writer(place: Place) -> None:
    path = place.one + b"/f"
    place.write(path, b"x" * 100_000)
    with place.files.open(path) as reader, place.files.open(path, os.O_RDWR) as writer:
        place.lock()
        assert reader.pread(100_000, 0) == b"x" * 100_000
        writer.pwrite(b"y" * 10_000, 50_001)
        writer.fsync()
        for flags in (os.O_RDONLY, os.O_RDWR):
            with refused(ENOKEY):
                place.files.open(path, flags)
    place.unlock()
    assert place.read(path) == b"x" * 50_001 + b"y" * 10_000 + b"x" * 39_999


def test_421_a_key_that_goes_while_threads_read_and_write(place: Place) -> None:
    path, denied = place.one + b"/f", []
    place.write(path, b"x" * 100_000)

    def write() -> None:
        for at in range(0, 100_000, 1000):
            writer.pwrite(b"y" * 1000, at)
            if at % 10_000 == 0:
                writer.fsync()

    def read() -> None:
        for _ in range(100):
            assert set(reader.pread(100_000, 0)) <= set(b"xy")

    def open_again() -> None:
        for _ in range(100):
            try:
                with place.files.open(path) as another:
                    assert set(another.pread(100_000, 0)) <= set(b"xy")
            except LockedError:
                denied.append(path)

    with (
        place.files.open(path) as reader,
        place.files.open(path, os.O_RDWR) as writer,
        coming_and_going(place),
    ):
        together(write, read, read, open_again)
    print(
        f"sampled: 421: 300 reads and 100 writes while the key came and went, {len(denied)} opens of 100 refused"
    )
    assert place.read(path) == b"y" * 100_000


def test_429_names_follow_the_key(place: Place) -> None:
    for name in (b"a", b"b", b"c"):
        place.write(place.one + b"/" + name, name)
    place.lock()
    locked = place.names(place.one)
    place.unlock()
    assert place.names(place.one) == [b"a", b"b", b"c"]
    for name in locked:
        assert not place.files.exists(place.one + b"/" + name)
    place.lock()
    assert place.names(place.one) == locked
    for name in (b"a", b"b", b"c"):
        assert not place.files.exists(place.one + b"/" + name)
    for name in locked:
        assert place.files.stat(place.one + b"/" + name).size == 1


def test_435_long_names_stay_apart_without_the_key(place: Place) -> None:
    plain = [b"%0120d" % number for number in range(100)] + [b"x" * 120 + b"%02d" % n for n in range(20)]
    for name in plain:
        place.files.create(place.one + b"/" + name).close()
    place.lock()
    locked = place.names(place.one)
    assert len(set(locked)) == len(plain)
    for name in locked[::2]:
        place.files.unlink(place.one + b"/" + name)
    assert place.names(place.one) == locked[1::2]
    place.unlock()
    left = place.names(place.one)
    assert len(left) == len(plain) // 2
    assert set(left) < set(plain)


def test_440_a_missing_key_is_no_other_policy(place: Place) -> None:
    place.files.mkdir(place.one + b"/d")
    place.write(place.one + b"/d/f", b"x")
    place.keyring.remove(KEY.identifier)
    (directory,) = place.names(place.one)
    (file,) = place.names(place.one + b"/" + directory)
    with refused(ENOKEY):
        place.files.open(place.one + b"/" + directory + b"/" + file)
    with refused(errno.EXDEV):
        place.files.rename(place.one + b"/" + directory, place.other + b"/d")
    place.keyring.add(KEY)
    assert place.read(place.one + b"/d/f") == b"x"


def test_580_581_582_keys_are_of_one_user_alone(place: Place) -> None:
    place.write(place.one + b"/f", b"x")
    other = Keyring()
    with FileSystem(place.mount, other) as stranger:
        with refused(ENOKEY):
            stranger.open(place.one + b"/" + next(stranger.scandir(place.one)).name)
        assert other.add(KEY) == KEY.identifier
        assert other.identifiers() == {KEY.identifier}
        with stranger.open(place.one + b"/f") as file:
            assert file.pread(9, 0) == b"x"
        assert other.remove(KEY.identifier)
        assert not other.remove(KEY.identifier)
        with refused(ENOKEY):
            stranger.open(place.one + b"/f")
    assert place.read(place.one + b"/f") == b"x"


def test_595_a_key_that_goes_again_and_again_loses_nothing(place: Place) -> None:
    written: dict[bytes, bytes] = {}
    denied: list[bytes] = []

    def write(letter: bytes) -> None:
        for number in range(100):
            path, data = place.one + b"/%s%d" % (letter, number), letter * (number * 111)
            try:
                with place.files.create(path) as file:
                    for at in range(0, len(data), 4000):
                        file.pwrite(data[at : at + 4000], at)
                written[path] = data
            except LockedError:
                denied.append(path)

    with coming_and_going(place):
        together(lambda: write(b"a"), lambda: write(b"b"), lambda: write(b"c"))
    print(f"sampled: 595: {len(written)} files written while their key came and went, {len(denied)} refused")
    assert written
    assert set(place.names(place.one)) == {path.rpartition(b"/")[2] for path in written}
    for path, data in written.items():
        assert place.read(path) == data


def test_613_nonces_are_unique_and_random(place: Place) -> None:
    for number in range(150):
        place.files.create(place.one + b"/f%d" % number).close()
    for number in range(30):
        place.files.mkdir(place.one + b"/d%d" % number)
        place.files.symlink(b"t", place.one + b"/l%d" % number)
    place.mount.sync()
    nonces = [
        EngineRecord.decode(place.mount.getxattr(stored, ENGINE_XATTR)).context.nonce
        if place.mount.stat(stored).kind is Kind.FILE
        else Context.decode_auth(place.mount.getxattr(stored, AUTH_XATTR)).nonce
        for stored in place.stored(place.one)
    ]
    assert len(set(nonces)) == 210
    data = b"".join(nonces)
    assert len(zlib.compress(data)) > INCOMPRESSIBLE * len(data)


def test_621_a_name_is_there_once_when_the_key_comes_meanwhile(place: Place) -> None:
    made: list[bytes] = []

    def make() -> None:
        for number in range(60):
            name = b"%d" % number
            try:
                place.files.create(place.one + b"/" + name).close()
                made.append(name)
            except (LockedError, FileExistsError):
                continue

    makers = [threading.Thread(target=make) for _ in range(2)]
    for thread in makers:
        thread.start()
    while any(thread.is_alive() for thread in makers):
        place.keyring.remove(KEY.identifier)
        time.sleep(0.001)
        place.keyring.add(KEY)
        time.sleep(0.001)
    for thread in makers:
        thread.join()
    entries = list(place.files.scandir(place.one))
    assert {entry.name_kind for entry in entries} <= {NameKind.DECRYPTED}
    assert sorted(entry.name for entry in entries) == sorted(made)
    assert made
