"""Names that kernels stored hashed, as cases that run on the fake and on real clusters alike; fixtures as
`engine_cases`. No kernel is here: such entries are made by renaming what the engine made."""

import errno
import os
from dataclasses import dataclass

import pytest

from mgr_fscrypt.ceph.errors import NotFoundError
from mgr_fscrypt.ceph.interface import Kind
from mgr_fscrypt.engine import NameKind
from mgr_fscrypt.format import Dentry

from .engine_cases import CasesInATree, Tree, refused

LONG, LONG_DIRECTORY = b"l" * 200, b"d" * 255


@dataclass(frozen=True)
class Hashed:
    """The entries as they are stored."""

    file: Dentry
    directory: Dentry


class LongNameCases(CasesInATree):
    """The cases."""

    @pytest.fixture
    def hashed(self, tree: Tree) -> Hashed:
        names = tree.names(tree.path)
        found = Hashed(names.encode(LONG), names.encode(LONG_DIRECTORY))
        tree.make(b"f", b"contents")
        tree.fs.mkdir(tree.path + b"/d")
        tree.plain.rename(tree.stored(b"f"), tree.path + b"/" + found.file.dname)
        tree.plain.rename(tree.stored(b"d"), tree.path + b"/" + found.directory.dname)
        tree.make(b"short", b"other")
        return found

    def test_they_are_found_by_either_name(self, tree: Tree, hashed: Hashed) -> None:
        shown = {entry.name: entry.name_kind for entry in tree.fs.scandir(tree.path)}
        assert shown == {
            hashed.file.dname: NameKind.HASHED,
            hashed.directory.dname: NameKind.HASHED,
            b"short": NameKind.DECRYPTED,
        }
        for name in (LONG, hashed.file.dname):
            path = tree.path + b"/" + name
            assert tree.read(path) == b"contents"
            assert tree.fs.stat(path).size == 8
            with tree.fs.open(path, os.O_RDWR) as file:
                file.pwrite(b"C", 0)
            tree.fs.chmod(path, 0o600)
            with tree.fs.open(path, os.O_RDWR) as file:
                file.pwrite(b"c", 0)
        for name in (LONG_DIRECTORY, hashed.directory.dname):
            path = tree.path + b"/" + name
            assert tree.fs.stat(path).kind is Kind.DIRECTORY
            # libcephfs of 20.2 would store the directory's own name beside what it makes in it
            for make in (tree.fs.create, tree.fs.mkdir, lambda path: tree.fs.symlink(b"t", path)):
                with refused(errno.ENAMETOOLONG):
                    make(path + b"/below")
            assert list(tree.fs.scandir(path)) == []

    @pytest.mark.parametrize("stored", [False, True])
    def test_they_are_removed_by_either_name(self, tree: Tree, hashed: Hashed, *, stored: bool) -> None:
        tree.fs.unlink(tree.path + b"/" + (hashed.file.dname if stored else LONG))
        tree.fs.rmdir(tree.path + b"/" + (hashed.directory.dname if stored else LONG_DIRECTORY))
        assert [entry.name for entry in tree.fs.scandir(tree.path)] == [b"short"]
        for name in (LONG, hashed.file.dname):
            with pytest.raises(NotFoundError):
                tree.fs.stat(tree.path + b"/" + name)

    def test_they_get_no_other_names_and_nothing_gets_theirs(self, tree: Tree, hashed: Hashed) -> None:
        before = {entry.name for entry in tree.plain.scandir(tree.path)}
        short = tree.path + b"/short"
        for name in (LONG, hashed.file.dname, LONG_DIRECTORY, hashed.directory.dname, b"A" * 240):
            path = tree.path + b"/" + name
            for act in (
                lambda path: tree.fs.rename(path, tree.path + b"/new"),
                lambda path: tree.fs.rename(short, path),
                lambda path: tree.fs.link(path, tree.path + b"/new"),
                lambda path: tree.fs.link(short, path),
                lambda path: tree.fs.create(path),
                lambda path: tree.fs.mkdir(path),
                lambda path: tree.fs.symlink(b"t", path),
            ):
                with refused(errno.ENAMETOOLONG):
                    act(path)
        assert {entry.name for entry in tree.plain.scandir(tree.path)} == before
        assert tree.read(tree.path + b"/" + LONG) == b"contents"

    def test_without_the_key_they_are_as_stored(self, tree: Tree, hashed: Hashed) -> None:
        shown = {entry.name: entry.name_kind for entry in tree.locked.scandir(tree.path)}
        assert shown[hashed.file.dname] is NameKind.LOCKED
        assert tree.locked.stat(tree.path + b"/" + hashed.file.dname).size == 8
        tree.locked.unlink(tree.path + b"/" + hashed.file.dname)

    def test_a_name_that_only_looks_hashed_is_a_name(self, tree: Tree, hashed: Hashed) -> None:
        """A real name may have the form of a hashed one: where both are there, it is the name."""
        name = hashed.file.dname
        twin = tree.names(tree.path).encode(name)
        tree.make(b"twin", b"the twin's")
        tree.plain.rename(tree.stored(b"twin"), tree.path + b"/" + twin.dname)
        assert tree.read(tree.path + b"/" + name) == b"the twin's"
        tree.fs.unlink(tree.path + b"/" + name)
        assert tree.read(tree.path + b"/" + name) == b"contents"
