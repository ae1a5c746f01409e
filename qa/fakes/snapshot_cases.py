"""What is seen of snapshots, as cases that run on the fake and on real clusters alike; fixtures as `engine_cases`."""

import errno
import os
from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.errors import ExistsError, NotFoundError
from mgr_fscrypt.ceph.interface import Kind, Mount
from mgr_fscrypt.engine import DamagedError, FileMode, LockedError, NameKind
from mgr_fscrypt.format import AUTH_XATTR, ENGINE_XATTR, EngineRecord

from .engine_cases import CasesInATree, Tree, refused

BEFORE, AFTER = b"before " * 2000, b"and after " * 3000


def remove_snapshots(mount: Mount, path: bytes) -> None:
    for entry in list(mount.scandir(path + b"/.snap")):
        if not entry.name.startswith(b"_"):
            mount.rmdir(path + b"/.snap/" + entry.name)
    for entry in list(mount.scandir(path)):
        if entry.kind is Kind.DIRECTORY:
            remove_snapshots(mount, path + b"/" + entry.name)


class SnapshotCases(CasesInATree):
    """The cases."""

    @pytest.fixture(autouse=True)
    def cleaned(self, tree: Tree, mount: Mount) -> Iterator[None]:
        yield
        remove_snapshots(mount, tree.path)

    @pytest.fixture
    def below(self, tree: Tree) -> bytes:
        """A tree of some depth; the path of its lowest directory."""
        tree.fs.mkdir(tree.path + b"/d")
        tree.fs.mkdir(tree.path + b"/d/e", 0o750)
        tree.make(b"d/e/f", BEFORE, 0o640)
        tree.fs.link(tree.path + b"/d/e/f", tree.path + b"/d/e/g")
        tree.fs.symlink(b"e/f", tree.path + b"/d/l")
        return tree.path + b"/d/e"

    def test_a_snapshot_reads_as_the_directory_itself(self, tree: Tree, below: bytes) -> None:
        tree.fs.mkdir(tree.path + b"/.snap/one")
        frozen = tree.path + b"/.snap/one/d"
        with tree.fs.open(below + b"/f", os.O_RDWR) as file:
            file.truncate(0)
            file.pwrite(AFTER, 0)
            file.fsync()
            # the living file is open, under our lease, and has the same inode number
            assert tree.fs.stat(below + b"/f").size == len(AFTER)
            assert tree.fs.stat(frozen + b"/e/f").size == len(BEFORE)
            with tree.fs.open(frozen + b"/e/f") as old:
                assert old.size == len(BEFORE)
                assert old.pread(1 << 20, 0) == BEFORE
                file.pwrite(b"x", 0)
                assert old.pread(1, 0) == b"b"
            assert file.pread(1, 0) == b"x"
        tree.fs.unlink(tree.path + b"/d/l")
        tree.fs.unlink(below + b"/g")
        assert tree.fs.readlink(frozen + b"/l") == b"e/f"
        assert tree.fs.stat(frozen + b"/l").size == 3
        assert {entry.name for entry in tree.fs.scandir(frozen + b"/e")} == {b"f", b"g"}
        found = tree.fs.stat(frozen + b"/e/f")
        assert (found.permissions, found.nlink, found.encrypted) == (0o640, 2, True)
        assert tree.fs.stat(frozen + b"/e").permissions == 0o750
        assert tree.fs.stat(frozen + b"/e/g").ino == found.ino == _listed(tree, frozen + b"/e", b"f")
        assert found.ino != tree.fs.stat(below + b"/f").ino, "another file for those who compare numbers"
        assert tree.fs.exists(frozen + b"/e/g")
        assert not tree.fs.exists(below + b"/g")
        assert not tree.fs.exists(frozen + b"/e/h")

    def test_several_snapshots_of_one_open_file(self, tree: Tree, below: bytes) -> None:
        for number in range(3):
            with tree.fs.open(below + b"/f", os.O_RDWR | os.O_TRUNC) as file:
                file.pwrite(b"%d" % number * (5000 * number + 1), 0)
            tree.fs.mkdir(below + b"/.snap/%d" % number)
        opened = [tree.fs.open(below + b"/.snap/%d/f" % number) for number in (0, 1, 2, 1)]
        assert [file.size for file in opened] == [1, 5001, 10001, 5001]
        assert [file.pread(1, file.size - 1) for file in opened] == [b"0", b"1", b"2", b"1"]
        assert len({file.ino for file in opened}) == 3
        for file in opened:
            file.close()

    def test_what_lists_snapshots_is_not_listed(self, tree: Tree, below: bytes) -> None:
        tree.fs.mkdir(tree.path + b"/.snap/own")
        tree.fs.mkdir(below + b"/.snap/" + "größe".encode())
        tree.plain.mkdir(tree.stored(b"d", b"e") + b"/.snap/plain one", 0o755)
        assert b".snap" not in {entry.name for entry in tree.fs.scandir(below)}
        assert tree.fs.stat(below + b"/.snap").kind is Kind.DIRECTORY
        inherited = b"_own_%d" % tree.mount.stat(tree.path).ino
        shown = {entry.name: entry.name_kind for entry in tree.fs.scandir(below + b"/.snap")}
        assert shown == {
            "größe".encode(): NameKind.DECRYPTED,
            inherited: NameKind.DECRYPTED,
            b"plain one": NameKind.FOREIGN,
        }
        stored = {entry.name: entry.stored for entry in tree.fs.scandir(below + b"/.snap")}
        for name in shown:
            for said in (name, stored[name]):
                assert tree.read(below + b"/.snap/" + said + b"/f") == BEFORE
        # by its inode, a directory is found in a snapshot that was made above, also after it moved
        tree.fs.rename(below, tree.path + b"/moved")
        assert tree.read(tree.path + b"/moved/.snap/" + inherited + b"/f") == BEFORE
        assert tree.read(tree.path + b"/.snap/own/d/e/f") == BEFORE
        for missing in (b"no", b"_no_1", b"_no_%d" % tree.mount.stat(tree.path).ino):
            with pytest.raises(NotFoundError):
                tree.fs.stat(tree.path + b"/moved/.snap/" + missing)

    def test_both_ways_to_one_directory_in_turns(self, tree: Tree, below: bytes) -> None:
        """libcephfs loses sight of the one when it meets the other."""
        tree.fs.mkdir(tree.path + b"/d/.snap/s")
        one = tree.path + b"/d/.snap/s/e"
        two = below + b"/.snap/_s_%d" % tree.mount.stat(tree.stored(b"d")).ino
        for path in (tree.path + b"/d/.snap/s", one, two):
            list(tree.fs.scandir(path))
        for _ in range(2):
            for path in (one, two):
                assert tree.fs.stat(path).kind is Kind.DIRECTORY
                assert tree.read(path + b"/f") == BEFORE
            list(tree.fs.scandir(tree.path + b"/d/.snap/s"))
            list(tree.fs.scandir(below + b"/.snap"))

    def test_names_of_snapshots_are_encrypted_as_kernels_do(self, tree: Tree, below: bytes) -> None:
        tree.fs.mkdir(below + b"/.snap/one")
        (entry,) = tree.plain.scandir(tree.stored(b"d", b"e") + b"/.snap")
        assert entry.name == tree.names(tree.stored(b"d", b"e")).encode(b"one").dname
        for name, number in ((b"one", errno.EEXIST), (b"_x", errno.EINVAL), (b"n" * 129, errno.ENAMETOOLONG)):
            with refused(number):
                tree.fs.mkdir(below + b"/.snap/" + name)
        tree.plain.mkdir(tree.stored(b"d", b"e") + b"/.snap/bare", 0o755)
        with refused(errno.EEXIST):
            tree.fs.mkdir(below + b"/.snap/bare")
        for name in (b"one", b"bare"):
            tree.fs.rmdir(below + b"/.snap/" + name)
        assert list(tree.plain.scandir(tree.stored(b"d", b"e") + b"/.snap")) == []
        tree.fs.mkdir(tree.path + b"/.snap/up")
        with refused(errno.EINVAL):
            tree.fs.rmdir(below + b"/.snap/_up_%d" % tree.mount.stat(tree.path).ino)
        with pytest.raises(NotFoundError):
            tree.fs.rmdir(below + b"/.snap/up")

    def test_nothing_is_changed(self, tree: Tree, below: bytes) -> None:
        tree.fs.mkdir(tree.path + b"/.snap/s")
        top = tree.path + b"/.snap/s/d"
        for act in (
            lambda: tree.fs.open(top + b"/e/f", os.O_RDWR),
            lambda: tree.fs.open(top + b"/e/f", os.O_WRONLY),
            lambda: tree.fs.open(top + b"/e/f", os.O_RDONLY | os.O_TRUNC),
            lambda: tree.fs.create(top + b"/e/new"),
            lambda: tree.fs.create(tree.path + b"/.snap/new"),
            lambda: tree.fs.mkdir(top + b"/new"),
            lambda: tree.fs.symlink(b"t", top + b"/new"),
            lambda: tree.fs.unlink(top + b"/e/f"),
            lambda: tree.fs.rmdir(top + b"/e"),
            lambda: tree.fs.rmdir(tree.path + b"/.snap"),
            lambda: tree.fs.rename(top + b"/e/f", top + b"/e/h"),
            lambda: tree.fs.rename(top + b"/e/f", below + b"/h"),
            lambda: tree.fs.rename(below + b"/f", top + b"/e/h"),
            lambda: tree.fs.rename(tree.path + b"/.snap/s", tree.path + b"/.snap/t"),
            lambda: tree.fs.link(top + b"/e/f", below + b"/h"),
            lambda: tree.fs.link(below + b"/f", top + b"/e/h"),
            lambda: tree.fs.chmod(top + b"/e/f", 0o600),
            lambda: tree.fs.chmod(tree.path + b"/.snap", 0o700),
            lambda: tree.fs.chown(top + b"/e/f", 1, 1),
            lambda: tree.fs.utimens(top + b"/e/f", 1, 1),
        ):
            with refused(errno.EROFS):
                act()
        assert tree.read(top + b"/e/f") == tree.read(below + b"/f") == BEFORE
        assert {entry.name for entry in tree.fs.scandir(tree.path + b"/.snap")} == {b"s"}
        for name in (b".snap", b"s/.snap"):
            with pytest.raises(NotFoundError):
                tree.fs.stat(tree.path + b"/.snap/" + name)
        for make in (tree.fs.create, tree.fs.mkdir, lambda path: tree.fs.rename(below + b"/f", path)):
            with pytest.raises(OSError, match="snap"):
                make(tree.path + b"/.snap")
        assert [entry.name for entry in tree.fs.scandir(tree.path)] == [b"d"]

    def test_without_the_key(self, tree: Tree, below: bytes) -> None:
        tree.fs.mkdir(tree.path + b"/.snap/s")
        (snapshot,) = tree.locked.scandir(tree.path + b"/.snap")
        assert (snapshot.name_kind, snapshot.name) == (NameKind.LOCKED, snapshot.stored)
        (directory,) = tree.locked.scandir(tree.path + b"/.snap/" + snapshot.name)
        assert directory.name == tree.names(tree.path).encode(b"d").dname
        file = tree.path + b"/.snap/" + snapshot.name + tree.stored(b"d", b"e", b"f").removeprefix(tree.path)
        assert tree.locked.stat(file).size == len(BEFORE)
        for act in (
            lambda: tree.locked.open(file),
            lambda: tree.locked.mkdir(tree.path + b"/.snap/new"),
        ):
            with pytest.raises(LockedError):
                act()
        tree.locked.rmdir(tree.path + b"/.snap/" + snapshot.name)
        assert list(tree.fs.scandir(tree.path + b"/.snap")) == []

    def test_a_file_that_was_being_written(self, tree: Tree) -> None:
        """Either size may be ahead of the other. The smaller one counts, and nothing is waited for or repaired."""
        for name, told, raw in ((b"a", 4000, 12288), (b"b", 9000, 4096)):
            tree.make(name, b"x" * 12288)
            stored = tree.stored(name)
            record = tree.record(name)
            tree.plain.setxattr(stored, ENGINE_XATTR, EngineRecord(record.context, told).encode())
            fd = tree.plain.open(stored, os.O_RDWR)
            tree.plain.ftruncate(fd, raw)
            tree.plain.fsync(fd)
            tree.plain.close(fd)
        half = tree.path + b"/" + tree.names(tree.path).encode(b"half").dname
        tree.plain.close(tree.plain.open(half, os.O_CREAT | os.O_RDWR, 0o200))
        tree.plain.mkdir(tree.path + b"/" + tree.names(tree.path).encode(b"half d").dname, 0o200)
        tree.fs.mkdir(tree.path + b"/.snap/s")
        lease = tree.plain.lease(tree.plain.stat(tree.stored(b"b")).ino)
        lease.acquire(1)
        with lease:
            for name, size in ((b"a", 4000), (b"b", 4096)):
                path = tree.path + b"/.snap/s/" + name
                assert tree.fs.stat(path).size == size
                assert tree.read(path) == b"x" * size
        with pytest.raises(DamagedError, match="half made"):
            tree.fs.open(tree.path + b"/.snap/s/half")
        with pytest.raises(DamagedError, match="half made"):
            list(tree.fs.scandir(tree.path + b"/.snap/s/half d"))
        assert not tree.fs.stat(tree.path + b"/.snap/s/half").encrypted

    def test_a_snapshot_from_before_the_policy(self, tree: Tree, mount: Mount) -> None:
        """Its directory has the number of one that has a policy by now, and what lies in it is not encrypted."""
        bare = tree.path + b".bare"
        mount.mkdir(bare, 0o755)
        mount.close(mount.open(bare + b"/p", os.O_CREAT | os.O_RDWR, 0o644))
        try:
            tree.fs.mkdir(bare + b"/.snap/old")
            mount.unlink(bare + b"/p")
            tree.fs.create_subtree(bare, tree.key.identifier)
            tree.fs.mkdir(bare + b"/d")
            with tree.fs.create(bare + b"/d/f") as file:
                file.pwrite(b"new", 0)
            (entry,) = tree.fs.scandir(bare + b"/.snap/old")
            assert (entry.name, entry.name_kind) == (b"p", NameKind.PLAIN)
            assert not tree.fs.stat(bare + b"/.snap/old").encrypted
            with refused(errno.EINVAL):
                tree.fs.open(bare + b"/.snap/old/p")
            assert tree.read(bare + b"/d/f") == b"new"
        finally:
            remove_snapshots(mount, bare)
            for name in (b"d/f", b"d"):
                (tree.fs.unlink if b"/" in name else tree.fs.rmdir)(bare + b"/" + name)
            mount.rmdir(bare)

    def test_files_keep_the_mode_that_they_had(self, tree: Tree, mount: Mount) -> None:
        kernels = tree.path + b".k"
        mount.mkdir(kernels, 0o755)
        tree.fs.create_subtree(kernels, tree.key.identifier, mode=FileMode.KERNEL)
        with tree.fs.create(kernels + b"/f") as file:
            file.pwrite(BEFORE, 0)
        tree.fs.mkdir(kernels + b"/.snap/s")
        try:
            (entry,) = mount.scandir(kernels)
            assert tree.plain.getxattr(kernels + b"/" + entry.name, AUTH_XATTR)
            tree.fs.unlink(kernels + b"/f")
            assert tree.read(kernels + b"/.snap/s/f") == BEFORE
            assert tree.fs.stat(kernels + b"/.snap/s/f").file_mode is FileMode.KERNEL
        finally:
            remove_snapshots(mount, kernels)
            mount.rmdir(kernels)

    def test_a_removed_snapshot_is_gone_and_another_may_have_its_name(self, tree: Tree, below: bytes) -> None:
        tree.fs.mkdir(below + b"/.snap/s")
        assert tree.read(below + b"/.snap/s/f") == BEFORE
        tree.fs.rmdir(below + b"/.snap/s")
        with pytest.raises(NotFoundError):
            tree.fs.open(below + b"/.snap/s/f")
        with tree.fs.open(below + b"/f", os.O_RDWR | os.O_TRUNC) as file:
            file.pwrite(AFTER, 0)
        tree.fs.mkdir(below + b"/.snap/s")
        assert tree.read(below + b"/.snap/s/f") == AFTER
        with pytest.raises(ExistsError):
            tree.fs.create(below + b"/f")


def _listed(tree: Tree, directory: bytes, name: bytes) -> int:
    return next(entry.ino for entry in tree.fs.scandir(directory) if entry.name == name)
