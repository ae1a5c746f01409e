"""`hold --copy`: kernel to engine mode by new inodes, as cases for the fake and real clusters alike; fixtures as
`engine_cases`."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mgr_fscrypt.ceph.errors import NoAttributeError
from mgr_fscrypt.ceph.interface import Kind, Mount
from mgr_fscrypt.engine import FileMode, FileSystem, LockedError, copying
from mgr_fscrypt.format import AUTH_XATTR, ENGINE_XATTR, FILE_XATTR, Context, EngineRecord, raw_size

from .engine_cases import CasesInATree, Tree, refused, remove

HOLED = 128 << 10
FILES = {
    b"empty": b"",
    b"one": b"x",
    b"d/block": b"y" * 4096,
    b"d/more": b"z" * 10000,
    b"d/linked": b"of three names",
    b"d/e/holed": b"begin".ljust(8192, b".") + bytes(HOLED - 8192) + b"end",
}
NAMES = {**FILES, b"a link": FILES[b"d/linked"], b"d/e/linked too": FILES[b"d/linked"]}


def build(fs: FileSystem, top: bytes) -> None:
    """Some of everything."""
    for name in (b"/d", b"/d/e"):
        fs.mkdir(top + name)
    for name, data in FILES.items():
        with fs.create(top + b"/" + name, 0o640) as file:
            for at in range(0, len(data), 4096):
                if any(data[at : at + 4096]):
                    file.pwrite(data[at : at + 4096], at)
    for name in (b"/a link", b"/d/e/linked too"):
        fs.link(top + b"/d/linked", top + name)
    fs.symlink(b"d/more", top + b"/l")


def contents(fs: FileSystem, top: bytes) -> dict[bytes, bytes]:
    """Of all files below, by their names."""
    found = {}
    for entry in fs.scandir(top):
        path = top + b"/" + entry.name
        if entry.kind is Kind.DIRECTORY:
            found |= {entry.name + b"/" + name: data for name, data in contents(fs, path).items()}
        elif entry.kind is Kind.FILE:
            with fs.open(path) as file:
                found[entry.name] = file.pread(file.size, 0)
    return found


@dataclass(frozen=True)
class Kernels:
    """A subtree in kernel mode, with `FILES`."""

    tree: Tree
    path: bytes

    def stored(self, name: bytes) -> bytes:
        return self.tree.stored_below(self.path, *name.split(b"/"))

    def modes(self) -> set[FileMode | None]:
        return {self.tree.fs.stat(self.path + b"/" + name).file_mode for name in NAMES}


class CopyingCases(CasesInATree):
    """The cases."""

    @pytest.fixture
    def kernels(self, tree: Tree, mount: Mount) -> Iterator[Kernels]:
        path = tree.path + b".k"
        mount.mkdir(path, 0o755)
        tree.fs.create_subtree(path, tree.key.identifier, mode=FileMode.KERNEL)
        build(tree.fs, path)
        yield Kernels(tree, path)
        with mount.fresh() as fresh:
            remove(fresh, path)

    def test_all_files_get_new_inodes(self, kernels: Kernels, mount: Mount) -> None:
        fs, plain = kernels.tree.fs, kernels.tree.plain
        block = kernels.path + b"/d/block"
        fs.chown(block, 12, 34)
        fs.chmod(block, 0o4750)
        mount.setxattr(kernels.stored(b"d/block"), "user.note", b"kept")
        fs.utimens(block, 1000, 2000)
        mount.sync()
        before = {name: plain.stat(kernels.stored(name)).ino for name in NAMES}
        nonces = {
            Context.decode_auth(plain.getxattr(kernels.stored(name), AUTH_XATTR)).nonce for name in FILES
        }
        holed = plain.stat(kernels.stored(b"d/e/holed"))
        report = fs.hold_by_copy(kernels.path)
        assert report.complete, report.problems
        assert (report.changed, report.unchanged) == (len(FILES), 2)
        assert contents(fs, kernels.path) == NAMES
        assert kernels.modes() == {FileMode.ENGINE}
        assert fs.subtree(kernels.path).mode is FileMode.ENGINE
        with mount.fresh() as fresh:
            for name, data in NAMES.items():
                stored = kernels.stored(name)
                found = fresh.stat(stored)
                assert found.ino != before[name]
                assert found.size == raw_size(len(data))
                for attribute in (AUTH_XATTR, FILE_XATTR):
                    with pytest.raises(NoAttributeError):
                        fresh.getxattr(stored, attribute)
                assert EngineRecord.decode(fresh.getxattr(stored, ENGINE_XATTR)).context.nonce not in nonces
            linked = {
                fresh.stat(kernels.stored(name)).ino for name in (b"a link", b"d/linked", b"d/e/linked too")
            }
            assert len(linked) == 1
            assert fresh.stat(kernels.stored(b"a link")).nlink == 3
            kept = fresh.stat(kernels.stored(b"d/block"))
            assert (kept.mode & 0o7777, kept.uid, kept.gid, kept.atime, kept.mtime) == (
                0o4750,
                12,
                34,
                1000,
                2000,
            )
            assert fresh.getxattr(kernels.stored(b"d/block"), "user.note") == b"kept"
            assert fresh.stat(kernels.stored(b"d/e/holed")).size == holed.size
            fd = fresh.open(kernels.stored(b"d/e/holed"), os.O_RDONLY)
            assert not any(fresh.pread(fd, HOLED - 8192, 8192)), "holes stay holes"
            fresh.close(fd)
        with fs.open(kernels.path + b"/one", os.O_RDWR) as file:
            file.truncate(0)
        again = fs.hold_by_copy(kernels.path)
        assert (again.changed, again.unchanged, again.complete) == (0, len(NAMES), True)

    def test_files_that_others_have_open_stay(self, kernels: Kernels) -> None:
        fs, plain = kernels.tree.fs, kernels.tree.plain
        fd = plain.open(kernels.stored(b"one"), os.O_RDONLY)
        report = fs.hold_by_copy(kernels.path)
        assert [(problem.path, problem.message) for problem in report.problems] == [
            (kernels.path + b"/one", "another client has it open, and would go on with what it was")
        ]
        assert fs.stat(kernels.path + b"/one").file_mode is FileMode.KERNEL
        assert fs.subtree(kernels.path).mode is FileMode.KERNEL
        assert contents(fs, kernels.path) == NAMES
        report = fs.hold_by_copy(kernels.path, even_open=True)
        assert (report.complete, report.changed) == (True, 1)
        assert plain.fstat(fd).nlink == 0
        plain.close(fd)
        assert contents(fs, kernels.path) == NAMES

    def test_what_changes_meanwhile_is_copied_again(
        self, kernels: Kernels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fs, mount = kernels.tree.fs, kernels.tree.mount
        copy, times = copying._copy_data, []

        def disturbed(old: object, size: int, new: object) -> None:
            copy(old, size, new)
            if size == 10000 and len(times) < limit:
                times.append(size)
                mount.setxattr(kernels.stored(b"d/more"), "user.note", b"%d" % len(times))

        monkeypatch.setattr(copying, "_copy_data", disturbed)
        limit = 100
        report = fs.hold_by_copy(kernels.path)
        assert [problem.path for problem in report.problems] == [kernels.path + b"/d/more"]
        assert len(times) == 3
        assert contents(fs, kernels.path) == NAMES
        limit = 4
        assert fs.hold_by_copy(kernels.path).complete
        assert mount.getxattr(kernels.stored(b"d/more"), "user.note") == b"4"
        assert contents(fs, kernels.path) == NAMES

    def test_a_name_that_is_removed_meanwhile_does_not_come_back(
        self, kernels: Kernels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fs, plain = kernels.tree.fs, kernels.tree.plain
        gone = kernels.stored(b"d/linked")
        # after it was copied, before its names get the copy
        monkeypatch.setattr(copying, "_same", lambda *_: plain.unlink(gone) is None)
        for name in (b"empty", b"one", b"d/block", b"d/more", b"d/e/holed"):
            fs.unlink(kernels.path + b"/" + name)
        report = fs.hold_by_copy(kernels.path)
        assert ["meanwhile" in problem.message for problem in report.problems] == [True]
        monkeypatch.undo()
        assert fs.hold_by_copy(kernels.path).complete
        assert contents(fs, kernels.path).keys() == {b"a link", b"d/e/linked too"}
        assert fs.stat(kernels.path + b"/a link").nlink == 2

    def test_what_cannot_be_copied_is_told(self, kernels: Kernels, mount: Mount) -> None:
        fs = kernels.tree.fs
        outside = kernels.path + b".outside"
        mount.link(kernels.stored(b"a link"), outside)
        names = kernels.tree.names(kernels.path)
        long = names.encode(b"n" * 200).dname
        mount.rename(kernels.stored(b"empty"), kernels.path + b"/" + long)
        try:
            report = fs.hold_by_copy(kernels.path)
            told = {problem.path: problem.message for problem in report.problems}
            assert "outside of the subtree" in told.pop(min(told, key=lambda path: path.endswith(long)))
            assert "too long" in told[kernels.path + b"/" + long]
            mount.rename(kernels.path + b"/" + long, kernels.stored(b"empty"))
        finally:
            mount.unlink(outside)
        assert fs.hold_by_copy(kernels.path).complete
        assert contents(fs, kernels.path) == NAMES

    def test_it_needs_the_key_and_nothing_open(self, kernels: Kernels) -> None:
        with pytest.raises(LockedError):
            kernels.tree.locked.hold_by_copy(kernels.path)
        with kernels.tree.fs.open(kernels.path + b"/one"), refused(errno.EBUSY):
            kernels.tree.fs.hold_by_copy(kernels.path)
        assert kernels.modes() == {FileMode.KERNEL}
