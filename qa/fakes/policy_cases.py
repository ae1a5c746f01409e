"""Policies in each other's way, and contexts that are damaged, as cases for the fake and real clusters alike; fixtures
as `engine_cases`, which has the plainer ones."""

import errno
import os
from collections.abc import Iterator

import pytest

from mgr_fscrypt.ceph.interface import Kind, Mount
from mgr_fscrypt.engine import DamagedError, FileMode, FileSystem, Keyring
from mgr_fscrypt.format import AUTH_XATTR, ENGINE_XATTR, Context, EngineRecord, MasterKey

from .engine_cases import OTHER, SECRET, CasesInATree, Tree, refused, remove


class PolicyCases(CasesInATree):
    """The cases."""

    @pytest.fixture
    def both(self, mount: Mount) -> Iterator[FileSystem]:
        """A client with two keys."""
        keyring = Keyring()
        keyring.add(MasterKey(SECRET))
        keyring.add(MasterKey(OTHER))
        with FileSystem(mount, keyring, durable_close=True) as made:
            yield made

    @pytest.fixture
    def other(self, tree: Tree, both: FileSystem, mount: Mount) -> Iterator[bytes]:
        """A second subtree beside the first, under another key."""
        path = tree.path + b".other"
        mount.mkdir(path, 0o755)
        both.create_subtree(path, MasterKey(OTHER).identifier)
        yield path
        remove(mount, path)

    def test_no_policy_inside_another(self, tree: Tree, both: FileSystem) -> None:
        both.mkdir(tree.path + b"/d")
        before = tree.auth(tree.stored(b"d"))
        for act in (
            lambda: both.create_subtree(tree.path + b"/d", MasterKey(OTHER).identifier),
            lambda: both.create_subtree(tree.path + b"/d", tree.key.identifier, padding=16),
            lambda: both.create_subtree(tree.path + b"/d", tree.key.identifier, mode=FileMode.KERNEL),
        ):
            with refused(errno.EEXIST):
                act()
        found = both.create_subtree(tree.path + b"/d", tree.key.identifier)
        assert (found.policy, found.mode) == (before.policy, FileMode.ENGINE), "what it inherited"
        assert tree.auth(tree.stored(b"d")) == before

    def test_a_subtree_moves_as_a_whole_and_into_no_other(
        self, tree: Tree, both: FileSystem, other: bytes, mount: Mount
    ) -> None:
        with both.create(other + b"/f") as file:
            file.pwrite(b"x", 0)
        with refused(errno.EXDEV):
            both.rename(other, tree.path + b"/d")
        with refused(errno.EXDEV):
            both.rename(other + b"/f", tree.path + b"/f")
        with refused(errno.EXDEV):
            both.link(other + b"/f", tree.path + b"/f")
        both.rename(other, other + b".moved")
        with both.open(other + b".moved/f") as file:
            assert file.pread(9, 0) == b"x"
        both.rename(other + b".moved", other)
        assert list(both.scandir(tree.path)) == []

    def test_an_inode_of_another_policy(self, tree: Tree, both: FileSystem, other: bytes) -> None:
        """Something that does not know encryption moved it there: it is listed, can be looked at and removed, and
        nothing is done in it or with its contents."""
        with both.create(other + b"/f") as file:
            file.pwrite(b"x", 0)
        both.mkdir(other + b"/d")
        for entry in list(tree.plain.scandir(other)):
            name = b"d" if entry.kind is Kind.DIRECTORY else b"f"
            tree.plain.rename(
                other + b"/" + entry.name, tree.path + b"/" + tree.names(tree.path).encode(name).dname
            )
        assert {entry.name for entry in both.scandir(tree.path)} == {b"d", b"f"}
        for act in (
            lambda: both.open(tree.path + b"/f"),
            lambda: both.open(tree.path + b"/f", os.O_RDWR),
            lambda: list(both.scandir(tree.path + b"/d")),
            lambda: both.create(tree.path + b"/d/new"),
            lambda: both.mkdir(tree.path + b"/d/new"),
            lambda: both.symlink(b"t", tree.path + b"/d/new"),
            lambda: both.rename(tree.path + b"/d/x", tree.path + b"/x"),
        ):
            with refused(errno.EPERM):
                act()
        for act in (
            lambda: both.link(tree.path + b"/f", tree.path + b"/g"),
            lambda: both.rename(tree.path + b"/f", tree.path + b"/g"),
            lambda: both.rename(tree.path + b"/d", tree.path + b"/g"),
        ):
            with refused(errno.EXDEV):
                act()
        both.unlink(tree.path + b"/f")
        both.rmdir(tree.path + b"/d")

    @pytest.mark.parametrize(
        "damage", [b"x", b"\1\0\0\0\x28\0\0\0" + bytes(40), b"\2\0\0\0\x28\0\0\0" + bytes(40)]
    )
    def test_a_directory_whose_context_is_damaged(self, tree: Tree, mount: Mount, damage: bytes) -> None:
        tree.fs.mkdir(tree.path + b"/d")
        tree.plain.setxattr(tree.stored(b"d"), AUTH_XATTR, damage)
        bare = tree.path + b".bare"
        mount.mkdir(bare, 0o755)
        mount.setxattr(bare, AUTH_XATTR, damage)
        try:
            # whoever knew the context goes on; contexts do not change
            keyring = Keyring()
            keyring.add(tree.key)
            fresh = FileSystem(mount, keyring, durable_close=True)
            for act in (
                lambda: list(fresh.scandir(tree.path + b"/d")),
                lambda: fresh.create(tree.path + b"/d/f"),
                lambda: fresh.mkdir(tree.path + b"/d/f"),
                lambda: fresh.rename(tree.path + b"/d", tree.path + b"/e"),
                lambda: fresh.create_subtree(bare, tree.key.identifier),
                lambda: fresh.mkdir(bare + b"/d"),
            ):
                with pytest.raises(DamagedError):
                    act()
            assert tree.plain.getxattr(bare, AUTH_XATTR) == damage
            fresh.rmdir(tree.path + b"/d")
        finally:
            mount.rmdir(bare)

    def test_a_file_with_the_context_of_another_policy(self, tree: Tree) -> None:
        path = tree.make(b"f", b"x")
        foreign = Context.fresh(type(tree.auth(tree.path).policy)(MasterKey(OTHER).identifier))
        tree.plain.setxattr(tree.stored(b"f"), ENGINE_XATTR, EngineRecord(foreign, 1).encode())
        with refused(errno.EXDEV):
            tree.fs.link(path, tree.path + b"/g")
        tree.make(b"g", b"y")
        tree.fs.rename(tree.path + b"/g", path)
        tree.expect(b"y", b"f")
