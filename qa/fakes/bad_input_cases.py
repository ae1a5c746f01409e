"""What others do to a file behind our back, before it is opened and while it is: clear errors, never a crash, and never
an act that would kill other clients (doc/facts.md F4)."""

import errno
import os

import pytest

from mgr_fscrypt.engine import (
    BusyError,
    DamagedError,
    EngineError,
    FileMode,
    FileSystem,
    Keyring,
    LockedError,
)
from mgr_fscrypt.format import AUTH_XATTR, BLOCK_SIZE, ENGINE_XATTR
from qa.fakes.engine_cases import EngineCases, Tree

DATA = b"x" * 10000


def damaged(record: bytes) -> dict[str, bytes]:
    """Every kind of damage to our attribute."""
    return {
        "short": record[:-1],
        "long": record + b"\0",
        "another version": b"\2" + record[1:],
        "a bit": record[:10] + bytes([record[10] ^ 1]) + record[11:],
        "zeros": bytes(len(record)),
    }


def overwrite(tree: Tree, name: bytes, data: bytes, offset: int) -> None:
    """As something that does not know encryption."""
    fd = tree.plain.open(tree.stored(name), os.O_RDWR)
    tree.plain.pwrite(fd, data, offset)
    tree.plain.fsync(fd)
    tree.plain.close(fd)


class BadInputCases:
    """The cases."""

    tree = EngineCases.tree

    def test_a_file_that_becomes_a_kernels_while_it_is_open(self, tree: Tree) -> None:
        path = tree.make(b"f", DATA)
        with tree.fs.open(path, os.O_RDWR) as file:
            file.pwrite(b"y", 0)
            file.fsync()
            auth = tree.record(b"f").context.encode_auth()
            tree.plain.setxattr(tree.stored(b"f"), AUTH_XATTR, auth)
            for size in (5000, 0):
                with pytest.raises(BusyError, match="kernel mode"):
                    file.truncate(size)
            assert file.pread(1 << 20, 0) == b"y" + DATA[1:]
        for flags in (os.O_RDWR, os.O_RDWR | os.O_TRUNC):
            with pytest.raises(BusyError, match="kernel mode"):
                tree.fs.open(path, flags)
        assert tree.fs.stat(path).size == len(DATA)
        assert tree.read(path) == b"y" + DATA[1:]

    @pytest.mark.parametrize("kind", ["short", "long", "another version", "a bit", "zeros"])
    def test_a_damaged_attribute(self, tree: Tree, kind: str) -> None:
        path = tree.make(b"f", DATA)
        stored = tree.stored(b"f")
        record = tree.plain.getxattr(stored, ENGINE_XATTR)
        with tree.fs.open(path) as file:
            tree.plain.setxattr(stored, ENGINE_XATTR, damaged(record)[kind])
            for act in (
                lambda: file.pread(1, 0),
                lambda: file.size,
                lambda: tree.fs.stat(path),
            ):
                with pytest.raises(DamagedError) as refusal:
                    act()
                assert refusal.value.errno == errno.EUCLEAN
                assert refusal.value.remedy
            tree.plain.setxattr(stored, ENGINE_XATTR, record)
            assert file.pread(1 << 20, 0) == DATA
        tree.plain.setxattr(stored, ENGINE_XATTR, damaged(record)[kind])
        for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC):
            with pytest.raises(DamagedError):
                tree.fs.open(path, flags)
        assert [entry.name for entry in tree.fs.scandir(tree.path)] == [b"f"]
        assert tree.plain.getxattr(stored, ENGINE_XATTR) == damaged(record)[kind], "nothing was changed"
        tree.fs.unlink(path)

    def test_an_attribute_that_goes_while_the_file_is_open(self, tree: Tree) -> None:
        path = tree.make(b"f", DATA)
        with tree.fs.open(path) as file:
            tree.plain.removexattr(tree.stored(b"f"), ENGINE_XATTR)
            with pytest.raises(DamagedError, match="context is gone"):
                file.pread(1, 0)
        with pytest.raises(EngineError) as refusal:
            tree.fs.open(path)
        assert refusal.value.errno == errno.EPERM

    def test_blocks_that_are_garbage(self, tree: Tree) -> None:
        path = tree.make(b"f", DATA)
        overwrite(tree, b"f", b"garbage!" * (BLOCK_SIZE // 8), BLOCK_SIZE)
        found = tree.read(path)
        assert len(found) == len(DATA)
        assert found[:BLOCK_SIZE] == DATA[:BLOCK_SIZE]
        assert found[BLOCK_SIZE : 2 * BLOCK_SIZE] != DATA[BLOCK_SIZE : 2 * BLOCK_SIZE]
        assert found[2 * BLOCK_SIZE :] == DATA[2 * BLOCK_SIZE :]

    def test_an_odd_length_beyond_the_end_is_told_to_writers(self, tree: Tree) -> None:
        path = tree.make(b"f", DATA)
        overwrite(tree, b"f", b"appended", 3 * BLOCK_SIZE)
        assert tree.read(path) == DATA
        with tree.fs.open(path, os.O_RDWR) as file, pytest.raises(DamagedError, match="not whole blocks"):
            file.pwrite(b"y", len(DATA))
        assert tree.raw(b"f").endswith(b"appended"), "nothing was changed"

    def test_an_odd_length_within_the_file_is_told(self, tree: Tree) -> None:
        path = tree.make(b"f", DATA)
        fd = tree.plain.open(tree.stored(b"f"), os.O_RDWR)
        tree.plain.ftruncate(fd, 5000)
        tree.plain.close(fd)
        for flags in (os.O_RDONLY, os.O_RDWR):
            with pytest.raises(DamagedError, match="not whole blocks"):
                tree.fs.open(path, flags)
        assert tree.plain.stat(tree.stored(b"f")).size == 5000, "nothing was changed"

    def test_a_key_that_goes_while_files_are_written(self, tree: Tree) -> None:
        keyring = Keyring()
        keyring.add(tree.key)
        path = tree.make(b"f", DATA)
        with (
            FileSystem(tree.mount, keyring, durable_close=True) as fs,
            fs.open(path, os.O_RDWR) as file,
            fs.create(tree.path + b"/new") as new,
        ):
            assert keyring.remove(tree.key.identifier)
            file.pwrite(b"y", len(DATA))
            file.fsync()
            file.truncate(9000)
            new.pwrite(b"new", 0)
            with pytest.raises(LockedError):
                fs.open(path)
            with pytest.raises(LockedError):
                fs.create(tree.path + b"/another")
            stored = {entry.name for entry in fs.scandir(tree.path)}
            assert stored == {entry.name for entry in tree.plain.scandir(tree.path)}
        tree.expect(DATA[:9000], b"f")
        tree.expect(b"new", b"new")

    def test_a_damaged_context_of_a_kernels_file(self, tree: Tree) -> None:
        path = tree.make(b"f", DATA)
        stored = tree.stored(b"f")
        auth = tree.record(b"f").context.encode_auth()
        tree.plain.removexattr(stored, ENGINE_XATTR)
        for value in (auth[:-1], auth + b"\0", b"\2" + auth[1:], b"?"):
            tree.plain.setxattr(stored, AUTH_XATTR, value)
            tree.plain.sync()
            for act in (lambda: tree.fs.open(path), lambda: tree.fs.stat(path)):
                with pytest.raises(DamagedError):
                    act()
        tree.plain.setxattr(stored, AUTH_XATTR, auth)
        tree.plain.sync()
        assert tree.fs.stat(path).file_mode is FileMode.KERNEL
