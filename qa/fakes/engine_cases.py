"""What the encrypted file system does, as cases that run on the fake and on the real cluster alike.

A module that runs them has the fixtures `mount` (what the engine uses) and `plain` (a second, ordinary look at the
same files: raw names, raw bytes, raw attributes), and a class that inherits `EngineCases`.
"""

import errno
import hashlib
import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from mgr_fscrypt.ceph.errors import ExistsError, NoAttributeError, NotFoundError
from mgr_fscrypt.ceph.interface import Kind, Mount, Stat
from mgr_fscrypt.engine import (
    BusyError,
    DamagedError,
    EngineError,
    File,
    FileMode,
    FileSystem,
    Keyring,
    LockedError,
    NameKind,
    RefusedError,
)
from mgr_fscrypt.engine.subtrees import MODE_XATTR
from mgr_fscrypt.format import (
    AUTH_XATTR,
    ENGINE_XATTR,
    FILE_XATTR,
    Contents,
    Context,
    EngineRecord,
    MasterKey,
    Names,
    Target,
    encode_file_size,
    raw_size,
)

SECRET = bytes(range(64))
OTHER = bytes(range(64, 128))


def remove(mount: Mount, path: bytes) -> None:
    for entry in list(mount.scandir(path)):
        below = path + b"/" + entry.name
        if entry.kind is Kind.DIRECTORY:
            remove(mount, below)
        else:
            mount.unlink(below)
    mount.rmdir(path)


@dataclass
class Tree:
    """An encrypted subtree at `path`, its file system with the key, and one without."""

    fs: FileSystem
    locked: FileSystem
    mount: Mount
    plain: Mount
    path: bytes
    key: MasterKey

    def stored(self, *names: bytes) -> bytes:
        """The stored path of names below the root, computed by `format` from the directories' contexts."""
        return self.stored_below(self.path, *names)

    def stored_below(self, path: bytes, *names: bytes) -> bytes:
        """The same below any directory that has the same key."""
        for name in names:
            path += b"/" + self.names(path).encode(name).dname
        return path

    def names(self, stored: bytes) -> Names:
        return Names(self.key, self.auth(stored))

    def auth(self, stored: bytes) -> Context:
        return Context.decode_auth(self.plain.getxattr(stored, AUTH_XATTR))

    def record(self, *names: bytes) -> EngineRecord:
        return EngineRecord.decode(self.plain.getxattr(self.stored(*names), ENGINE_XATTR))

    def raw(self, *names: bytes) -> bytes:
        """A file's stored bytes."""
        fd = self.plain.open(self.stored(*names), os.O_RDONLY)
        try:
            return self.plain.pread(fd, 64 << 20, 0)
        finally:
            self.plain.close(fd)

    def make(self, name: bytes, data: bytes = b"", mode: int = 0o644) -> bytes:
        path = self.path + b"/" + name
        with self.fs.create(path, mode) as file:
            file.pwrite(data, 0)
        return path

    def read(self, path: bytes) -> bytes:
        with self.fs.open(path) as file:
            return file.pread(file.size, 0)

    def expect(self, data: bytes, *names: bytes) -> None:
        """The file reads as `data`, and its stored bytes are what `format` makes of it."""
        assert self.read(self.path + b"/" + b"/".join(names)) == data
        record = self.record(*names)
        assert record.real_size == len(data)
        raw = self.raw(*names)
        assert len(raw) == raw_size(len(data))
        with Contents(self.key, record.context) as contents:
            shown = contents.decrypt(raw, 0, holes=True)
        assert shown == data.ljust(len(raw), b"\0"), "the tail past the end is zeros"


@contextmanager
def planted(mount: Mount, plain: Mount, name: str) -> Iterator[Tree]:
    """A new tree by a name of its own; removed afterwards."""
    path = b"/" + hashlib.sha256(name.encode()).hexdigest()[:12].encode()
    keyring, key = Keyring(), MasterKey(SECRET)
    keyring.add(key)
    fs = FileSystem(mount, keyring, durable_close=True)
    mount.mkdir(path, 0o755)
    fs.create_subtree(path, key.identifier)
    with fs:
        yield Tree(fs, FileSystem(mount, Keyring()), mount, plain, path, key)
    remove(mount, path)


def refused(number: int) -> "pytest.RaisesExc[OSError]":
    return pytest.raises(OSError, check=lambda error: error.errno == number)


class CasesInATree:
    """Cases that have a subtree each."""

    @pytest.fixture
    def tree(self, mount: Mount, plain: Mount, request: pytest.FixtureRequest) -> Iterator[Tree]:
        with planted(mount, plain, request.node.nodeid) as tree:
            yield tree


class EngineCases(CasesInATree):
    """The cases."""

    # subtrees

    def test_a_subtree_has_a_policy_and_a_mode(self, tree: Tree) -> None:
        context = tree.auth(tree.path)
        assert context.policy.key == tree.key.identifier
        found = tree.fs.subtree(tree.path)
        assert (found.policy, found.mode, found.unlocked) == (context.policy, FileMode.ENGINE, True)
        assert found.warnings == ()
        assert not tree.locked.subtree(tree.path).unlocked
        assert tree.fs.subtree(b"/").policy is None

    @pytest.mark.parametrize("mark", [b"", b"kernal", b"\xff"])
    def test_a_mark_that_is_no_mode_is_told(self, tree: Tree, mount: Mount, mark: bytes) -> None:
        mount.setxattr(tree.path, MODE_XATTR, mark)
        for act in (lambda: tree.fs.subtree(tree.path), lambda: tree.fs.create(tree.path + b"/f")):
            with refused(errno.EUCLEAN):
                act()
        assert not list(tree.fs.scandir(tree.path))

    def test_the_same_policy_again_changes_nothing(self, tree: Tree) -> None:
        before = tree.auth(tree.path)
        tree.fs.create_subtree(tree.path, tree.key.identifier)
        assert tree.auth(tree.path) == before

    def test_another_policy_is_refused(self, tree: Tree) -> None:
        before = tree.auth(tree.path)
        with refused(errno.EEXIST):
            tree.fs.create_subtree(tree.path, tree.key.identifier, padding=4)
        with refused(errno.EEXIST):
            tree.fs.create_subtree(tree.path, tree.key.identifier, mode=FileMode.KERNEL)
        tree.fs.mkdir(tree.path + b"/d")
        with refused(errno.EEXIST):
            tree.fs.create_subtree(tree.path + b"/d", tree.key.identifier, padding=4)
        assert tree.auth(tree.path) == before

    def test_what_cannot_become_a_subtree(self, tree: Tree, mount: Mount) -> None:
        top = tree.path + b".d"
        mount.mkdir(top, 0o755)
        mount.mkdir(top + b"/full", 0o755)
        mount.mkdir(top + b"/full/x", 0o755)
        mount.close(mount.open(top + b"/file", os.O_CREAT | os.O_RDWR, 0o644))
        mount.mkdir(top + b"/striped", 0o755)
        mount.setxattr(
            top + b"/striped", "ceph.dir.layout", b"stripe_unit=65536 stripe_count=2 object_size=4194304"
        )
        mount.mkdir(top + b"/empty", 0o755)
        try:
            for name, number in (
                (b"full", errno.ENOTEMPTY),
                (b"file", errno.ENOTDIR),
                (b"striped", errno.EINVAL),
            ):
                with refused(number):
                    tree.fs.create_subtree(top + b"/" + name, tree.key.identifier)
                with pytest.raises(NoAttributeError):
                    mount.getxattr(top + b"/" + name, AUTH_XATTR)
            with pytest.raises(LockedError):
                tree.fs.create_subtree(top + b"/empty", MasterKey(OTHER).identifier)
            with refused(errno.EINVAL):
                tree.fs.create_subtree(top + b"/empty", tree.key.identifier, padding=5)
            with pytest.raises(NotFoundError):
                tree.fs.create_subtree(top + b"/nothing", tree.key.identifier)
            with pytest.raises(NoAttributeError):
                mount.getxattr(top + b"/empty", AUTH_XATTR)
        finally:
            remove(mount, top)

    # names

    def test_names_are_stored_as_format_says(self, tree: Tree) -> None:
        names = [b"plain", "größe".encode(), b"\xff\xfe", b"a" * 128, b" ", b"-", b"new\nline"]
        for name in names:
            tree.make(name, name)
        tree.fs.mkdir(tree.path + b"/dir", 0o750)
        tree.fs.symlink(b"somewhere", tree.path + b"/link")
        shown = {entry.name: entry for entry in tree.fs.scandir(tree.path)}
        assert set(shown) == {*names, b"dir", b"link"}
        assert {entry.name_kind for entry in shown.values()} == {NameKind.DECRYPTED}
        assert {entry.stored for entry in shown.values()} == {
            entry.name for entry in tree.plain.scandir(tree.path)
        }
        for name in names:
            assert tree.stored(name) == tree.path + b"/" + shown[name].stored
        assert shown[b"dir"].kind is Kind.DIRECTORY
        assert tree.fs.stat(tree.path + b"/dir").permissions == 0o750

    def test_every_child_has_its_own_nonce_and_one_policy(self, tree: Tree) -> None:
        tree.fs.mkdir(tree.path + b"/d")
        tree.make(b"d/f", b"x")
        tree.fs.symlink(b"t", tree.path + b"/d/l")
        contexts = [
            tree.auth(tree.path),
            tree.auth(tree.stored(b"d")),
            tree.auth(tree.stored(b"d", b"l")),
            tree.record(b"d", b"f").context,
        ]
        assert len({context.nonce for context in contexts}) == 4
        assert len({context.policy for context in contexts}) == 1

    def test_a_regular_file_in_engine_mode_never_has_auth(self, tree: Tree) -> None:
        tree.make(b"f", b"x" * 5000)
        for name in (AUTH_XATTR, FILE_XATTR):
            with pytest.raises(NoAttributeError):
                tree.plain.getxattr(tree.stored(b"f"), name)

    def test_names_that_are_too_long(self, tree: Tree) -> None:
        tree.make(b"f")
        tree.fs.mkdir(tree.path + b"/d")
        before = {entry.name for entry in tree.plain.scandir(tree.path)}
        for length in (129, 255, 256, 1000):
            long = tree.path + b"/" + b"n" * length
            for make in (
                lambda path: tree.fs.create(path),
                lambda path: tree.fs.mkdir(path),
                lambda path: tree.fs.symlink(b"t", path),
                lambda path: tree.fs.rename(tree.path + b"/f", path),
                lambda path: tree.fs.link(tree.path + b"/f", path),
            ):
                with refused(errno.ENAMETOOLONG):
                    make(long)
        assert {entry.name for entry in tree.plain.scandir(tree.path)} == before

    def test_paths_that_leave(self, tree: Tree) -> None:
        for path in (tree.path + b"/../x", b"relative", b"/a/..", tree.path + b"/a\0b"):
            with refused(errno.EINVAL):
                tree.fs.create(path)
            with refused(errno.EINVAL):
                tree.fs.stat(path)

    def test_names_of_something_that_does_not_know_encryption(self, tree: Tree) -> None:
        tree.plain.mkdir(tree.path + b"/not encrypted", 0o755)
        tree.plain.mkdir(tree.path + b"/" + b"A" * 240, 0o755)
        kinds = {entry.name: entry.name_kind for entry in tree.fs.scandir(tree.path)}
        assert kinds == {b"not encrypted": NameKind.FOREIGN, b"A" * 240: NameKind.HASHED}

    def test_renames(self, tree: Tree) -> None:
        tree.make(b"a", b"one")
        tree.make(b"b", b"two")
        tree.fs.mkdir(tree.path + b"/d")
        tree.fs.rename(tree.path + b"/a", tree.path + b"/d/c")
        tree.expect(b"one", b"d", b"c")
        tree.fs.rename(tree.path + b"/d/c", tree.path + b"/b")
        tree.expect(b"one", b"b")
        tree.fs.symlink(b"t", tree.path + b"/l")
        tree.fs.rename(tree.path + b"/l", tree.path + b"/d/l")
        tree.fs.rename(tree.path + b"/d", tree.path + b"/e")
        assert tree.fs.readlink(tree.path + b"/e/l") == b"t"
        assert {entry.name for entry in tree.fs.scandir(tree.path)} == {b"b", b"e"}
        with pytest.raises(NotFoundError) as missing:
            tree.fs.rename(tree.path + b"/gone", tree.path + b"/x")
        assert missing.value.filename == tree.path + b"/gone", "errors tell plaintext paths"

    def test_a_rename_onto_the_same_inode_does_nothing(self, tree: Tree) -> None:
        tree.make(b"a", b"one")
        tree.fs.link(tree.path + b"/a", tree.path + b"/b")
        tree.fs.rename(tree.path + b"/a", tree.path + b"/a")
        tree.fs.rename(tree.path + b"/a", tree.path + b"/b")
        for name in (b"a", b"b"):
            assert tree.fs.stat(tree.path + b"/" + name).nlink == 2
            tree.expect(b"one", name)

    def test_a_link_in_the_way_is_not_followed(self, tree: Tree) -> None:
        tree.make(b"f", b"one")
        tree.fs.symlink(b"t", tree.path + b"/l")
        before = {entry.name for entry in tree.fs.scandir(tree.path)}
        for act in (
            lambda: tree.fs.mkdir(tree.path + b"/l"),
            lambda: tree.fs.symlink(b"x", tree.path + b"/l"),
            lambda: tree.fs.link(tree.path + b"/f", tree.path + b"/l"),
            lambda: tree.fs.create(tree.path + b"/l"),
        ):
            with pytest.raises(ExistsError):
                act()
        assert {entry.name for entry in tree.fs.scandir(tree.path)} == before
        assert tree.fs.readlink(tree.path + b"/l") == b"t"

    def test_a_symbolic_link_gets_no_second_name(self, tree: Tree) -> None:
        tree.fs.symlink(b"t", tree.path + b"/l")
        with refused(errno.EOPNOTSUPP):
            tree.fs.link(tree.path + b"/l", tree.path + b"/m")
        assert not tree.fs.exists(tree.path + b"/m")

    def test_links(self, tree: Tree) -> None:
        tree.make(b"a", b"one")
        tree.fs.mkdir(tree.path + b"/d")
        tree.fs.link(tree.path + b"/a", tree.path + b"/d/b")
        assert tree.fs.stat(tree.path + b"/a").nlink == 2
        tree.fs.unlink(tree.path + b"/a")
        tree.expect(b"one", b"d", b"b")
        assert not tree.fs.exists(tree.path + b"/a")

    def test_nothing_crosses_policies(self, tree: Tree, mount: Mount) -> None:
        other, bare = tree.path + b".other", tree.path + b".bare"
        mount.mkdir(other, 0o755)
        mount.mkdir(bare, 0o755)
        mount.close(mount.open(bare + b"/p", os.O_CREAT | os.O_RDWR, 0o644))
        try:
            tree.fs.create_subtree(other, tree.key.identifier, padding=16)
            tree.make(b"f", b"x")
            tree.fs.mkdir(tree.path + b"/d")
            for source in (b"/f", b"/d"):
                for target in (other, bare):
                    with refused(errno.EXDEV):
                        tree.fs.rename(tree.path + source, target + b"/g")
            with refused(errno.EXDEV):
                tree.fs.link(tree.path + b"/f", other + b"/g")
            with refused(errno.EXDEV):
                tree.fs.rename(bare + b"/p", tree.path + b"/p")
            tree.expect(b"x", b"f")
        finally:
            remove(mount, other)
            remove(mount, bare)

    def test_removing(self, tree: Tree) -> None:
        tree.fs.mkdir(tree.path + b"/d")
        tree.make(b"d/f")
        with refused(errno.ENOTEMPTY):
            tree.fs.rmdir(tree.path + b"/d")
        tree.fs.unlink(tree.path + b"/d/f")
        tree.fs.rmdir(tree.path + b"/d")
        assert list(tree.fs.scandir(tree.path)) == []
        with pytest.raises(NotFoundError):
            tree.fs.stat(tree.path + b"/d")

    def test_targets(self, tree: Tree) -> None:
        for index, target in enumerate((b"x", b"/an/absolute/one", b"\xff\xfe", b"t" * 2000)):
            path = tree.path + b"/l%d" % index
            tree.fs.symlink(target, path)
            stored = tree.stored(b"l%d" % index)
            assert tree.fs.readlink(path) == target
            assert tree.fs.stat(path).size == len(target)
            assert tree.plain.readlink(stored) == Target(tree.key, tree.auth(stored)).encode(target)
        for target, number in ((b"", errno.EINVAL), (b"t" * 4094, errno.ENAMETOOLONG)):
            with refused(number):
                tree.fs.symlink(target, tree.path + b"/bad")
        assert not tree.fs.exists(tree.path + b"/bad")

    def test_outside_of_subtrees_nothing_is_read_or_made(self, tree: Tree) -> None:
        for act in (
            lambda: tree.fs.create(tree.path + b".f"),
            lambda: tree.fs.open(tree.path + b".f"),
            lambda: tree.fs.symlink(b"t", tree.path + b".f"),
        ):
            with refused(errno.EINVAL):
                act()
        assert tree.path[1:] in {entry.name for entry in tree.fs.scandir(b"/")}

    # contents

    @pytest.mark.parametrize(
        "size", [0, 1, 15, 4095, 4096, 4097, 8192, 10000, (4 << 20) - 1, (4 << 20) + 1, 9_000_001]
    )
    def test_contents_are_stored_as_format_says(self, tree: Tree, size: int) -> None:
        data = random.Random(size).randbytes(size)
        tree.make(b"f", data, 0o640)
        tree.expect(data, b"f")
        found = tree.fs.stat(tree.path + b"/f")
        assert (found.size, found.permissions, found.file_mode) == (size, 0o640, FileMode.ENGINE)
        if size >= 16:
            assert data[:16] not in tree.raw(b"f")

    def test_a_random_walk_of_writes_and_truncates(self, tree: Tree) -> None:
        """Against a bytearray; the stored bytes are checked at every close."""
        dice = random.Random(7)
        model = bytearray()
        path = tree.make(b"f")
        for _ in range(12):
            with tree.fs.open(path, os.O_RDWR) as file:
                for _ in range(6):
                    if dice.random() < 0.3:
                        size = dice.choice([0, dice.randrange(60000), len(model) // 4096 * 4096, len(model)])
                        file.truncate(size)
                        del model[size:]
                        model.extend(bytes(size - len(model)))
                    else:
                        offset, length = (
                            dice.randrange(50000),
                            dice.choice([1, 100, 4096, dice.randrange(20000)]),
                        )
                        data = dice.randbytes(length)
                        assert file.pwrite(data, offset) == length
                        model.extend(bytes(max(0, offset - len(model))))
                        model[offset : offset + length] = data
                    assert file.size == len(model)
                    start = dice.randrange(60000)
                    assert file.pread(5000, start) == model[start : start + 5000]
            tree.expect(bytes(model), b"f")

    def test_a_new_file_can_be_written_anyhow_before_it_is_published(self, tree: Tree) -> None:
        with tree.fs.create(tree.path + b"/f") as file:
            file.pwrite(b"tail", 20000)
            file.pwrite(b"head", 0)
            file.truncate(20002)
            assert file.pread(100, 19999) == b"\0ta"
            file.truncate(30000)
            assert file.size == 30000
        tree.expect(b"head".ljust(20000, b"\0") + b"ta".ljust(10000, b"\0"), b"f")

    def test_holes_stay_holes(self, tree: Tree) -> None:
        with tree.fs.create(tree.path + b"/f") as file:
            file.pwrite(b"x", 100_000)
        raw = tree.raw(b"f")
        assert not any(raw[:98304])
        assert any(raw[98304:])
        tree.expect(bytes(100_000) + b"x", b"f")
        with tree.fs.create(tree.path + b"/g") as file:
            file.pwrite(bytes(4096), 0)
        assert any(tree.raw(b"g")), "zeros that were written are encrypted"

    @pytest.mark.parametrize(
        ("grow", "result"),
        [
            (lambda file: file.pwrite(b"y", 9000), b"x" * 5000 + bytes(4000) + b"y"),
            (lambda file: file.pwrite(b"y", 5500), b"x" * 5000 + bytes(500) + b"y"),
            (lambda file: file.truncate(8000), b"x" * 5000 + bytes(3000)),
            (lambda file: file.truncate(4500), b"x" * 4500),
        ],
        ids=["far", "near", "up", "down"],
    )
    def test_a_tail_that_is_not_zero_is_never_shown(
        self, tree: Tree, grow: Callable[[File], object], result: bytes
    ) -> None:
        """Kernels leave such tails (doc/format.md D4)."""
        path = tree.make(b"f", b"x" * 5000)
        record = tree.record(b"f")
        with Contents(tree.key, record.context) as contents:
            block = contents.encrypt((b"x" * 904).ljust(4096, b"!"), 1)
        fd = tree.plain.open(tree.stored(b"f"), os.O_RDWR)
        tree.plain.pwrite(fd, block, 4096)
        tree.plain.fsync(fd)
        tree.plain.close(fd)
        assert tree.read(path) == b"x" * 5000
        with tree.fs.open(path, os.O_RDWR) as file:
            grow(file)
        tree.expect(result, b"f")

    def test_fsync_publishes_and_the_file_goes_on(self, tree: Tree) -> None:
        path = tree.path + b"/f"
        with tree.fs.create(path, 0o604) as file:
            file.pwrite(b"one", 0)
            assert tree.plain.stat(tree.stored(b"f")).mode & 0o7777 == 0o200
            file.fsync()
            assert tree.record(b"f").real_size == 3
            assert tree.plain.stat(tree.stored(b"f")).mode & 0o7777 == 0o604
            file.pwrite(b"two", 3)
            assert tree.fs.stat(path).size == file.size == 6
            assert tree.record(b"f").real_size == 3
            file.fsync()
            assert tree.record(b"f").real_size == 6
        tree.expect(b"onetwo", b"f")

    def test_a_size_in_doubt_is_settled_by_the_smaller_one(self, tree: Tree) -> None:
        path = tree.make(b"f", b"x" * 10000)
        stored, record = tree.stored(b"f"), tree.record(b"f")
        tree.plain.setxattr(stored, ENGINE_XATTR, EngineRecord(record.context, 20000).encode())
        assert tree.fs.stat(path).size == 12288
        assert tree.record(b"f").real_size == 12288
        assert tree.plain.stat(stored).size == 12288

    def test_what_was_not_told_is_not_there_and_the_next_writer_cuts_it_away(self, tree: Tree) -> None:
        path = tree.make(b"f", b"x" * 10000)
        stored, record = tree.stored(b"f"), tree.record(b"f")
        tree.plain.setxattr(stored, ENGINE_XATTR, EngineRecord(record.context, 5000).encode())
        assert tree.fs.stat(path).size == 5000
        assert tree.read(path) == b"x" * 5000
        assert tree.plain.stat(stored).size == 12288
        with tree.fs.open(path, os.O_RDWR) as file:
            file.pwrite(b"y", 11000)
            assert tree.plain.stat(stored).size == 12288
        assert tree.read(path) == b"x" * 5000 + bytes(6000) + b"y"

    @pytest.mark.parametrize("durable", [os.O_SYNC, os.O_DSYNC, os.O_DIRECT])
    def test_durable_handles_tell_each_change(self, tree: Tree, durable: int) -> None:
        path = tree.make(b"f", b"")
        with tree.fs.open(path, os.O_WRONLY | durable) as file:
            file.pwrite(b"x" * 5000, 0)
            assert tree.record(b"f").real_size == 5000
            file.truncate(9000)
            assert tree.record(b"f").real_size == 9000
            file.fallocate(0x10, 9000, 100)
            assert tree.record(b"f").real_size == 9100

    def test_flags_of_open(self, tree: Tree) -> None:
        path, new = tree.make(b"f", b"x" * 5000), tree.path + b"/new"
        with tree.fs.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW) as file:
            assert file.pread(2, 4999) == b"x"
            with refused(errno.EBADF):
                file.pwrite(b"y", 0)
        with tree.fs.open(path, os.O_WRONLY | os.O_TRUNC) as file:
            assert file.size == 0
            with refused(errno.EBADF):
                file.pread(1, 0)
        for flags, number in (
            (os.O_DIRECTORY, errno.ENOTDIR),
            (os.O_TMPFILE | os.O_RDWR, errno.EOPNOTSUPP),
            (os.O_CREAT | os.O_EXCL | os.O_RDWR, errno.EEXIST),
        ):
            with refused(number):
                tree.fs.open(path, flags)
        with tree.fs.open(new, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) as file:
            file.pwrite(b"one", 0)
            file.pwritev([b"two", b"three"], 0)
        buffers = [bytearray(4), bytearray(4), bytearray(9)]
        with tree.fs.open(new) as file:
            assert file.preadv(buffers, 1) == 10
        assert [bytes(each) for each in buffers] == [b"netw", b"othr", b"ee" + bytes(7)]
        assert tree.fs.stat(new).permissions == 0o600
        with refused(errno.ENOENT):
            tree.fs.open(tree.path + b"/none", os.O_RDWR)

    def test_handles_of_one_file_share_it(self, tree: Tree) -> None:
        path = tree.path + b"/f"
        with tree.fs.create(path) as made, tree.fs.open(path) as reader:
            made.pwrite(b"one", 0)
            assert reader.pread(9, 0) == b"one"
            with tree.fs.open(path, os.O_WRONLY | os.O_APPEND) as appending:
                appending.pwrite(b"two", 0)
            assert made.size == 6
            tree.expect(b"onetwo", b"f")
            made.pwrite(b"T", 3)
            assert reader.pread(9, 0) == b"oneTwo"
        with tree.fs.open(path) as reader, tree.fs.open(path, os.O_RDWR) as writer:
            writer.truncate(2)
            assert reader.pread(9, 0) == b"on"
        tree.expect(b"on", b"f")

    def test_a_private_file_by_its_name(self, tree: Tree) -> None:
        path, other = tree.path + b"/f", tree.path + b"/g"
        with tree.fs.create(path, 0o600) as file:
            file.pwrite(b"x" * 5000, 0)
            assert (tree.fs.stat(path).size, tree.fs.stat(path).permissions) == (5000, 0o600)
            tree.fs.chmod(path, 0o640)
            tree.fs.rename(path, other)
        assert (tree.fs.stat(other).permissions, tree.read(other)) == (0o640, b"x" * 5000)
        with tree.fs.create(path) as file:
            file.pwrite(b"y", 0)
            tree.fs.unlink(path)
            file.fsync()
            assert file.pread(1, 0) == b"y"
        assert not tree.fs.exists(path)

    def test_holes(self, tree: Tree) -> None:
        path, data = tree.path + b"/f", bytes(range(1, 251)) * 200  # 50,000 bytes: 12 blocks and 848
        punch, zero, keep = 0x03, 0x10, 0x11
        for mode, offset, length, size in (
            (punch, 5000, 20000, 50000),
            (punch, 4096, 8192, 50000),
            (punch, 100, 200, 50000),
            (punch, 4000, 200, 50000),
            (punch, 40960, 99999, 50000),
            (punch, 60000, 10, 50000),
            (keep, 49000, 5000, 50000),
            (zero, 49000, 5000, 54000),
            (zero, 8192, 4096, 50000),
        ):
            with tree.fs.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as file:
                file.pwrite(data, 0)
                file.fallocate(mode, offset, length)
                assert file.size == size
            expected = bytearray(data.ljust(size, b"\0"))
            stop = min(offset + length, size)
            expected[offset:stop] = bytes(max(0, stop - offset))
            tree.expect(bytes(expected), b"f")
            stored = tree.raw(b"f")
            for block in range(0, size, 4096):
                if offset <= block and min(block + 4096, size) <= offset + length:
                    assert not any(stored[block : block + 4096]), f"block at {block} is a hole"
        with tree.fs.open(path, os.O_RDWR) as file:
            for mode, offset, length, number in (
                (0, 0, 100, errno.EOPNOTSUPP),
                (1, 0, 100, errno.EOPNOTSUPP),
                (2, 0, 100, errno.EOPNOTSUPP),
                (punch, 0, 0, errno.EINVAL),
                (punch, -1, 10, errno.EINVAL),
            ):
                with refused(number):
                    file.fallocate(mode, offset, length)

    def test_where_data_and_holes_begin(self, tree: Tree) -> None:
        with tree.fs.create(tree.path + b"/f") as file:
            file.pwrite(b"x", 10000)
            file.truncate(30000)
            file.pwrite(b"x" * 9000, 20480)
            assert [file.seek(at, os.SEEK_DATA) for at in (0, 8192, 9000, 12288)] == [8192, 8192, 9000, 20480]
            assert [file.seek(at, os.SEEK_HOLE) for at in (0, 8192, 12289, 20480)] == [0, 12288, 12289, 30000]
            for at in (30000, 40000):
                for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                    with refused(errno.ENXIO):
                        file.seek(at, whence)
            with refused(errno.EINVAL):
                file.seek(0, os.SEEK_SET)

    def test_names_that_are_taken(self, tree: Tree) -> None:
        path = tree.make(b"f", b"x")
        tree.fs.mkdir(tree.path + b"/d")
        for make in (tree.fs.create, tree.fs.mkdir, lambda taken: tree.fs.symlink(b"t", taken)):
            for taken in (path, tree.path + b"/d"):
                with pytest.raises(ExistsError):
                    make(taken)
        for taken, number in ((tree.path + b"/d", errno.EISDIR),):
            with refused(number):
                tree.fs.open(taken)
        tree.expect(b"x", b"f")

    def test_closed_and_read_only_files(self, tree: Tree) -> None:
        path = tree.make(b"f", b"x")
        file = tree.fs.open(path)
        with refused(errno.EBADF):
            file.pwrite(b"y", 0)
        with refused(errno.EBADF):
            file.truncate(0)
        file.close()
        file.close()
        with refused(errno.EBADF):
            file.pread(1, 0)
        with tree.fs.open(path, os.O_RDWR) as writer, refused(errno.EFBIG):
            writer.pwrite(b"x", 1 << 63)

    # attributes

    def test_attributes_of_inodes(self, tree: Tree) -> None:
        path = tree.make(b"f", b"x" * 100)
        tree.fs.chown(path, 12, 34)
        tree.fs.chmod(path, 0o4711)
        tree.fs.utimens(path, 1000, 2000)
        found = tree.fs.stat(path)
        assert (found.permissions, found.uid, found.gid, found.atime, found.mtime) == (
            0o4711,
            12,
            34,
            1000,
            2000,
        )
        assert found.encrypted
        assert tree.fs.stat(tree.path).encrypted
        assert not tree.fs.stat(b"/").encrypted

    def test_a_setgid_directory_passes_it_on(self, tree: Tree) -> None:
        tree.fs.mkdir(tree.path + b"/d")
        tree.fs.chown(tree.path + b"/d", 0, 77)
        tree.fs.chmod(tree.path + b"/d", 0o2775)
        tree.fs.mkdir(tree.path + b"/d/e", 0o755)
        found = tree.fs.stat(tree.path + b"/d/e")
        assert (found.gid, found.permissions & stat.S_ISGID) == (77, stat.S_ISGID)

    # locked

    def test_locked(self, tree: Tree) -> None:
        tree.make(b"f", b"x" * 5000)
        tree.fs.mkdir(tree.path + b"/d")
        tree.make(b"d/g", b"y")
        tree.fs.symlink(b"target", tree.path + b"/l")
        locked = tree.locked
        entries = {entry.kind: entry for entry in locked.scandir(tree.path)}
        assert {entry.name for entry in entries.values()} == {
            entry.name for entry in tree.plain.scandir(tree.path)
        }
        assert {entry.name_kind for entry in entries.values()} == {NameKind.LOCKED}
        file, directory, link = (
            tree.path + b"/" + entries[kind].name for kind in (Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK)
        )
        assert locked.stat(file).size == 5000
        assert locked.stat(link).size == len(locked.readlink(link))
        assert b"target" not in locked.readlink(link)
        for act in (
            lambda: locked.open(file),
            lambda: locked.open(file, os.O_RDWR),
            lambda: locked.create(tree.path + b"/new"),
            lambda: locked.mkdir(tree.path + b"/new"),
            lambda: locked.symlink(b"t", tree.path + b"/new"),
            lambda: locked.rename(file, tree.path + b"/new"),
            lambda: locked.link(file, tree.path + b"/new"),
            lambda: locked.rename(file, directory + b"/new"),
        ):
            with pytest.raises(LockedError) as refusal:
                act()
            assert refusal.value.errno == 126
            assert tree.key.identifier.hex() in str(refusal.value)
        locked.chmod(file, 0o600)
        (below,) = locked.scandir(directory)
        locked.unlink(directory + b"/" + below.name)
        locked.rmdir(directory)
        locked.unlink(file)
        locked.unlink(link)
        assert list(tree.fs.scandir(tree.path)) == []

    def test_a_key_that_goes_locks_at_once(self, tree: Tree, mount: Mount) -> None:
        keyring = Keyring()
        keyring.add(tree.key)
        fs = FileSystem(mount, keyring, durable_close=True)
        path = tree.make(b"f", b"x")
        with fs.open(path) as file:
            assert keyring.remove(tree.key.identifier)
            assert file.pread(1, 0) == b"x", "what is open goes on"
        with pytest.raises(LockedError):
            fs.open(path)
        assert not keyring.remove(tree.key.identifier)
        keyring.add(MasterKey(OTHER))
        with pytest.raises(LockedError):
            fs.open(path)

    # what does not fit

    @pytest.mark.parametrize("mode", [0, 0o200])
    def test_a_half_made_file_is_refused_and_can_be_removed(self, tree: Tree, mode: int) -> None:
        path = tree.path + b"/f"
        stored = tree.path + b"/" + tree.names(tree.path).encode(b"f").dname
        tree.plain.close(tree.plain.open(stored, os.O_CREAT | os.O_RDWR, mode))
        for act in (
            lambda: tree.fs.open(path),
            lambda: tree.fs.open(path, os.O_RDWR),
            lambda: tree.fs.rename(path, tree.path + b"/g"),
            lambda: tree.fs.chmod(path, 0o644),
        ):
            with pytest.raises(DamagedError, match="half made"):
                act()
        assert not tree.fs.stat(path).encrypted
        with pytest.raises(ExistsError):
            tree.fs.create(path)
        tree.fs.unlink(path)

    def test_mode_0_is_a_mode_as_others_where_there_is_a_context(self, tree: Tree) -> None:
        path = tree.make(b"f", b"x" * 5000)
        tree.fs.mkdir(tree.path + b"/d", 0)
        tree.fs.chmod(path, 0)
        assert (tree.fs.stat(path).permissions, tree.fs.stat(path).size) == (0, 5000)
        assert tree.fs.stat(tree.path + b"/d").permissions == 0
        tree.fs.rename(path, tree.path + b"/g")
        with tree.fs.open(tree.path + b"/g", os.O_RDWR) as file:  # root may
            file.pwrite(b"y", 0)
        with tree.fs.create(tree.path + b"/h", 0):
            pass
        assert tree.fs.stat(tree.path + b"/h").encrypted

    def test_a_context_does_not_make_a_file_or_directory_complete(self, tree: Tree) -> None:
        """A maker that died has perhaps set the context, and not flushed the data (doc/spikes.md, 2)."""
        path = tree.make(b"f", b"x" * 5000)
        tree.fs.mkdir(tree.path + b"/d")
        tree.plain.chmod(tree.stored(b"f"), 0o200)
        tree.plain.chmod(tree.stored(b"d"), 0o200)
        for act in (
            lambda: tree.fs.open(path),
            lambda: tree.fs.open(path, os.O_RDWR),
            lambda: tree.fs.rename(path, tree.path + b"/g"),
            lambda: tree.fs.link(path, tree.path + b"/g"),
            lambda: tree.fs.chmod(path, 0o644),
            lambda: tree.fs.chmod(tree.path + b"/d", 0o755),
            lambda: tree.fs.rename(tree.path + b"/d", tree.path + b"/e"),
            lambda: list(tree.fs.scandir(tree.path + b"/d")),
            lambda: tree.fs.create(tree.path + b"/d/g"),
        ):
            with pytest.raises(DamagedError, match="half made"):
                act()
        assert not tree.fs.stat(path).encrypted
        tree.plain.chmod(tree.stored(b"f"), 0o640)
        assert tree.read(path) == b"x" * 5000
        tree.fs.rmdir(tree.path + b"/d")

    def test_modes_that_mark_what_is_half_made_are_not_given(self, tree: Tree) -> None:
        path = tree.make(b"f", b"x")
        for mode in (0o200, 0o2200):
            for act in (
                lambda mode: tree.fs.create(tree.path + b"/g", mode),
                lambda mode: tree.fs.mkdir(tree.path + b"/g", mode),
                lambda mode: tree.fs.chmod(path, mode),
            ):
                with refused(errno.EINVAL):
                    act(mode)
        assert [entry.name for entry in tree.fs.scandir(tree.path)] == [b"f"]
        assert tree.read(path) == b"x"

    def test_a_file_that_is_removed_while_it_is_made_is_not_acknowledged(
        self, tree: Tree, mount: Mount
    ) -> None:
        kernels = tree.path + b".k"
        mount.mkdir(kernels, 0o755)
        try:
            tree.fs.create_subtree(kernels, tree.key.identifier, mode=FileMode.KERNEL)
            for top in (tree.path, kernels):
                for finish in (lambda made: made.fsync(), lambda made: made.close()):
                    made = tree.fs.create(top + b"/f")
                    made.pwrite(b"x", 0)
                    (entry,) = tree.plain.scandir(top)
                    tree.plain.unlink(top + b"/" + entry.name)
                    with refused(errno.ESTALE):
                        finish(made)
                    made.discard()
                    assert list(tree.plain.scandir(top)) == []
        finally:
            remove(mount, kernels)

    def test_a_file_that_its_maker_replaces_or_removes_goes_on_until_it_is_closed(self, tree: Tree) -> None:
        path = tree.path + b"/f"
        for take_its_name in (lambda: tree.fs.rename(path + b".new", path), lambda: tree.fs.unlink(path)):
            tree.make(b"f.new", b"another")
            with tree.fs.create(path) as made:
                take_its_name()
                made.pwrite(b"mine", 0)
                made.fsync()
                assert made.pread(9, 0) == b"mine"
            for name in [entry.name for entry in tree.fs.scandir(tree.path)]:
                assert tree.read(tree.path + b"/" + name) == b"another"
                tree.fs.unlink(tree.path + b"/" + name)

    def test_a_file_that_is_completed_while_it_is_asked_for_has_its_mode(
        self, tree: Tree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tree.path + b"/f"
        with tree.fs.create(path, 0o640) as file:
            stored, look = tree.stored(b"f"), tree.mount.stat

            def look_and_complete(asked: bytes) -> Stat:
                found = look(asked)
                if asked == stored:
                    file.fsync()
                return found

            monkeypatch.setattr(tree.mount, "stat", look_and_complete)
            assert tree.fs.stat(path).permissions == 0o640

    def test_an_open_file_is_told_of_whatever_its_names_are(self, tree: Tree) -> None:
        path = tree.make(b"f", b"x" * 5000)
        with tree.fs.open(path, os.O_RDWR) as file:
            file.pwrite(b"y", 6000)
            named = tree.fs.stat(path)
            assert (file.attributes.size, file.attributes.ino) == (named.size, named.ino) == (6001, file.ino)
            tree.fs.unlink(path)
            told = file.attributes
            assert (told.size, told.nlink, told.file_mode) == (6001, 0, FileMode.ENGINE)
        with refused(errno.EBADF):
            _ = file.attributes

    def test_discarding_spares_what_another_made_by_the_name(self, tree: Tree) -> None:
        made = tree.fs.create(tree.path + b"/f")
        tree.plain.unlink(tree.stored(b"f"))
        tree.make(b"f", b"another's")
        made.discard()
        assert tree.read(tree.path + b"/f") == b"another's"

    def test_errors_tell_plain_paths(self, tree: Tree) -> None:
        tree.fs.mkdir(tree.path + b"/d")
        gone = tree.path + b"/gone"
        for path, act in (
            (gone, lambda path: tree.fs.open(path)),
            (gone, lambda path: tree.fs.open(path, os.O_RDWR)),
            (gone, lambda path: tree.fs.open(path + b"/f")),
            (gone, lambda path: tree.fs.create(path + b"/f")),
            (gone, lambda path: tree.fs.stat(path)),
            (gone, lambda path: tree.fs.stat(path + b"/f/g")),
            (gone, lambda path: list(tree.fs.scandir(path))),
            (gone, lambda path: tree.fs.mkdir(path + b"/d")),
            (gone, lambda path: tree.fs.unlink(path)),
            (gone, lambda path: tree.fs.readlink(path)),
            (gone, lambda path: tree.fs.rename(path, tree.path + b"/d/x")),
            (gone, lambda path: tree.fs.link(path, tree.path + b"/d/x")),
            (gone, lambda path: tree.fs.subtree(path)),
            (tree.path, lambda path: tree.fs.rmdir(path)),
        ):
            with pytest.raises(OSError, check=lambda error, path=path: error.filename == path):
                act(path)

    def test_foreign_contexts_are_refused(self, tree: Tree) -> None:
        path = tree.make(b"f", b"x")
        stored, record = tree.stored(b"f"), tree.record(b"f")
        other = Context.fresh(type(record.context.policy)(MasterKey(OTHER).identifier))
        tree.plain.setxattr(stored, ENGINE_XATTR, EngineRecord(other, 1).encode())
        for flags in (os.O_RDONLY, os.O_RDWR):
            with refused(errno.EPERM):
                tree.fs.open(path, flags)
        with refused(errno.EXDEV):
            tree.fs.rename(path, tree.path + b"/g")
        tree.plain.removexattr(stored, ENGINE_XATTR)
        with refused(errno.EPERM):
            tree.fs.open(path)
        for damage in (b"", b"x" * 56, record.encode()[:-1] + b"?"):
            tree.plain.setxattr(stored, ENGINE_XATTR, damage)
            with pytest.raises(DamagedError):
                tree.fs.open(path)
        tree.fs.mkdir(tree.path + b"/d")
        tree.plain.setxattr(tree.stored(b"d"), AUTH_XATTR, other.encode_auth())
        elsewhere = FileSystem(tree.mount, Keyring())
        with refused(errno.EPERM):
            elsewhere.stat(tree.path + b"/" + tree.stored(b"d").rpartition(b"/")[2] + b"/x")

    def test_special_files_have_names_and_nothing_else(self, tree: Tree) -> None:
        path = tree.make(b"f")
        with refused(errno.ELOOP):
            tree.fs.symlink(b"t", tree.path + b"/l")
            tree.fs.open(tree.path + b"/l")
        assert tree.fs.stat(path).kind is Kind.FILE

    # kernel mode

    def test_new_files_in_kernel_mode_are_as_a_kernel_makes_them(self, tree: Tree, mount: Mount) -> None:
        path = tree.path + b".k"
        mount.mkdir(path, 0o755)
        try:
            tree.fs.create_subtree(path, tree.key.identifier, mode=FileMode.KERNEL)
            assert tree.fs.subtree(path).mode is FileMode.KERNEL
            tree.fs.mkdir(path + b"/d")
            with tree.fs.create(path + b"/d/f", 0o640) as file:
                file.pwrite(b"k" * 5000, 0)
                file.fsync()
                with pytest.raises(BusyError):
                    file.pwrite(b"x", 0)
            (entry,) = tree.plain.scandir(path)
            below = path + b"/" + entry.name
            (entry,) = tree.plain.scandir(below)
            stored = below + b"/" + entry.name
            context = tree.auth(stored)
            assert tree.plain.getxattr(stored, FILE_XATTR) == encode_file_size(5000)
            with pytest.raises(NoAttributeError):
                tree.plain.getxattr(stored, ENGINE_XATTR)
            assert (tree.plain.stat(stored).size, tree.plain.stat(stored).mode & 0o7777) == (8192, 0o640)
            assert tree.read(path + b"/d/f") == b"k" * 5000
            assert tree.fs.stat(path + b"/d/f").file_mode is FileMode.KERNEL
            fd = tree.plain.open(stored, os.O_RDONLY)
            raw = tree.plain.pread(fd, 8192, 0)
            tree.plain.close(fd)
            with Contents(tree.key, context) as contents:
                assert contents.decrypt(raw, 0) == (b"k" * 5000).ljust(8192, b"\0")
            with pytest.raises(BusyError) as refusal:
                tree.fs.open(path + b"/d/f", os.O_RDWR)
            assert "hold" in refusal.value.remedy
            tree.fs.rename(path + b"/d/f", path + b"/g")
            assert tree.read(path + b"/g") == b"k" * 5000
        finally:
            remove(mount, path)

    def test_every_error_says_what_next(self, tree: Tree) -> None:
        with pytest.raises(RefusedError) as refusal:
            tree.fs.create(b"relative")
        assert isinstance(refusal.value, EngineError)
        assert refusal.value.remedy.endswith(".")
