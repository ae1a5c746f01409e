"""Every kind of damage made, found by its name, repaired where it can be: for the fake and for a real cluster alike.

A module that runs them has the fixtures `mount` and `plain` as for `engine_cases`, `tools` for what neither can do,
and a class that inherits `FsckCases`.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import pytest

from mgr_fscrypt.ceph.errors import NotAllowedError, error_of
from mgr_fscrypt.ceph.interface import Layout, Mount
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.engine.fsck import Code, Finding, Fsck, ObjectExtents, Repair, Severity
from mgr_fscrypt.engine.making import UNFINISHED
from mgr_fscrypt.engine.subtrees import MODE_XATTR
from mgr_fscrypt.format import (
    AUTH_XATTR,
    BLOCK_SIZE,
    ENGINE_XATTR,
    FILE_XATTR,
    Contents,
    Context,
    EngineRecord,
    NameFormatError,
    Target,
    TargetFormatError,
    encode_base64,
    encode_file_size,
    raw_size,
)

from .engine_cases import Tree, planted

CONTENT = bytes(range(250)) * 40
RAW = raw_size(len(CONTENT))
NAME = b"f"


class Tools(Protocol):
    """What a case does behind CephFS."""

    def extents(self) -> ObjectExtents:
        """The lengths of objects."""

    def stretch(self, layout: Layout, ino: int, index: int, length: int) -> None:
        """Give an object another length."""

    def make_special(self, stored: bytes) -> None:
        """A FIFO."""

    def leave_lease(self, ino: int) -> None:
        """As a holder does that dies."""


@dataclass(frozen=True)
class Ground:
    """A tree with one file, `NAME` with `CONTENT`, and the tools to damage it."""

    tree: Tree
    tools: Tools

    @property
    def plain(self) -> Mount:
        return self.tree.plain

    @property
    def file(self) -> bytes:
        return self.tree.stored(NAME)

    def free(self, name: bytes) -> bytes:
        """The stored path of a name that nothing has."""
        return self.tree.path + b"/" + self.tree.names(self.tree.path).encode(name).dname

    def context(self) -> Context:
        """A new one of the tree's policy."""
        return Context.fresh(self.tree.auth(self.tree.path).policy)

    def other_policy(self) -> Context:
        policy = self.context().policy
        return Context.fresh(replace(policy, flags=0))

    def resize(self, size: int) -> None:
        """As something does that does not know encryption."""
        fd = self.plain.open(self.file, os.O_RDWR)
        try:
            self.plain.ftruncate(fd, size)
            self.plain.fsync(fd)
        finally:
            self.plain.close(fd)

    def set(self, path: bytes, name: str, value: bytes) -> None:
        self.plain.setxattr(path, name, value)

    def give_kernel(self, *, real: int = len(CONTENT), context: Context | None = None, keep: bool) -> None:
        """Attributes of kernel mode; `keep`: beside the engine's."""
        record = self.tree.record(NAME)
        self.set(self.file, FILE_XATTR, encode_file_size(real))
        self.set(self.file, AUTH_XATTR, (context or record.context).encode_auth())
        if not keep:
            self.plain.removexattr(self.file, ENGINE_XATTR)

    def place(self, name: bytes, mode: int) -> bytes:
        """An empty file that has nothing of ours."""
        stored = self.free(name)
        self.plain.close(self.plain.open(stored, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode))
        return stored

    def directory(self, name: bytes, mode: int, context: bytes | None) -> None:
        stored = self.free(name)
        self.plain.mkdir(stored, mode)
        if context is not None:
            self.set(stored, AUTH_XATTR, context)

    def link(self, name: bytes, target: bytes, context: bytes | None) -> None:
        stored = self.free(name)
        self.plain.symlink(target, stored)
        if context is not None:
            self.set(stored, AUTH_XATTR, context)

    def target(self, context: Context) -> bytes:
        return Target(self.tree.key, context).encode(b"somewhere")

    def unreadable_name(self) -> bytes:
        """It has the form of one, and is none under its directory's key. (Three of four are some name.)"""
        names = self.tree.names(self.tree.path)
        while True:
            stored = encode_base64(os.urandom(32))
            try:
                names.decode(stored)
            except NameFormatError:
                return stored

    def unreadable_link(self) -> None:
        """A link whose target has the form of one, and is none under its own key. (Seven of eight are some target.)"""
        context = self.context()
        while True:
            target = self.target(self.context())
            try:
                Target(self.tree.key, context).decode(target)
            except TargetFormatError:
                break
        self.link(b"l", target, context.encode_auth())

    def dirty_tail(self) -> None:
        """A last block that ends in something."""
        first = len(CONTENT) - len(CONTENT) % BLOCK_SIZE
        block = CONTENT[first:].ljust(BLOCK_SIZE, b"\xee")
        with Contents(self.tree.key, self.tree.record(NAME).context) as contents:
            stored = contents.encrypt(block, first // BLOCK_SIZE)
        fd = self.plain.open(self.file, os.O_RDWR)
        try:
            self.plain.pwrite(fd, stored, first)
            self.plain.fsync(fd)
        finally:
            self.plain.close(fd)

    def stretch(self, length: int) -> None:
        self.tools.stretch(self.plain.layout(self.file), self.plain.stat(self.file).ino, 0, length)

    def special(self) -> None:
        stored = self.free(b"fifo")
        self.tools.make_special(stored)
        self.set(stored, AUTH_XATTR, self.context().encode_auth())

    def flip(self, at: int) -> bytes:
        value = bytearray(self.tree.record(NAME).encode())
        value[at] ^= 1
        return bytes(value)

    def copied_nonce(self) -> None:
        context = self.tree.record(NAME).context
        self.tree.make(b"g", b"")
        self.set(self.tree.stored(b"g"), ENGINE_XATTR, EngineRecord(context, 0).encode())


@dataclass(frozen=True)
class Case:
    """One way in which a finding comes about.

    Attributes:
        make: damages the tree.
        repair: what repairs it; None: nothing does.
        content: of the file `NAME`, by that name, once it is repaired; None: it is not to be read.
        beside: what else is found, and stays.
        locked: is it seen without the key, too?
    """

    code: Code
    make: Callable[[Ground], object]
    repair: Repair | None = None
    content: bytes | None = CONTENT
    beside: frozenset[Code] = frozenset()
    locked: bool = True


MIXED = frozenset({Code.MIXED_MODE})
CASES: dict[str, Case] = {
    "a file without a context": Case(
        Code.MISSING_CONTEXT, lambda at: at.plain.removexattr(at.file, ENGINE_XATTR), content=None
    ),
    "a directory without a context": Case(Code.MISSING_CONTEXT, lambda at: at.directory(b"d", 0o755, None)),
    "a plain link": Case(Code.MISSING_CONTEXT, lambda at: at.link(b"l", b"../plain", None)),
    "a file of another policy": Case(
        Code.FOREIGN_CONTEXT,
        lambda at: at.set(at.file, ENGINE_XATTR, EngineRecord(at.other_policy(), len(CONTENT)).encode()),
        content=None,
    ),
    "a directory of another policy": Case(
        Code.NESTED_POLICY, lambda at: at.directory(b"d", 0o755, at.other_policy().encode_auth())
    ),
    "two contexts": Case(
        Code.MISMATCHED_CONTEXTS,
        lambda at: at.give_kernel(context=at.context(), keep=True),
        content=None,
        beside=MIXED,
    ),
    "a wrong checksum": Case(
        Code.UNDECODABLE, lambda at: at.set(at.file, ENGINE_XATTR, at.flip(44)), content=None
    ),
    "a short attribute": Case(
        Code.UNDECODABLE, lambda at: at.set(at.file, ENGINE_XATTR, at.flip(0)[:55]), content=None
    ),
    "a context of an unknown version": Case(
        Code.UNDECODABLE, lambda at: at.directory(b"d", 0o755, b"\2" + at.context().encode_auth()[1:])
    ),
    "a mark that is no mode": Case(Code.UNDECODABLE, lambda at: at.set(at.tree.path, MODE_XATTR, b"kernal")),
    "a nonce twice": Case(Code.REPEATED_NONCE, lambda at: at.copied_nonce()),
    "a size of no whole blocks": Case(Code.ODD_SIZE, lambda at: at.resize(RAW + 100), content=None),
    "cut behind our back": Case(
        Code.SIZE_TOO_LARGE, lambda at: at.resize(BLOCK_SIZE), Repair.SETTLE, CONTENT[:BLOCK_SIZE]
    ),
    "growth that was not told": Case(
        Code.UNSETTLED_SIZE, lambda at: at.resize(RAW + 3 * BLOCK_SIZE), Repair.SETTLE
    ),
    "a size that kernels discard": Case(
        Code.DISCARDED_SIZE,
        lambda at: at.give_kernel(real=5, keep=False),
        content=CONTENT.ljust(RAW, b"\0"),
        beside=MIXED,
    ),
    "an object of odd length": Case(Code.SHORT_OBJECT, lambda at: at.stretch(BLOCK_SIZE + 100), content=None),
    "an object that is too long": Case(
        Code.STRAY_BYTES, lambda at: at.stretch(RAW + 2 * BLOCK_SIZE), Repair.CUT
    ),
    "something after the end": Case(Code.TAIL, lambda at: at.dirty_tail(), Repair.ZERO_TAIL, locked=False),
    "a plain name": Case(
        Code.FOREIGN_NAME,
        lambda at: at.plain.rename(at.file, at.tree.path + b"/a plain name"),
        content=None,
    ),
    "a name of no key": Case(
        Code.BAD_NAME,
        lambda at: at.plain.rename(at.file, at.tree.path + b"/" + at.unreadable_name()),
        content=None,
        locked=False,
    ),
    "a long name": Case(
        Code.HASHED_NAME,
        lambda at: at.plain.rename(at.file, at.tree.path + b"/" + encode_base64(b"x" * 180)),
        content=None,
    ),
    "a target in plain": Case(
        Code.BAD_TARGET, lambda at: at.link(b"l", b"../plain", at.context().encode_auth())
    ),
    "a target of another link": Case(
        Code.BAD_TARGET,
        lambda at: at.unreadable_link(),
        locked=False,
    ),
    "a file that was begun": Case(Code.HALF_MADE, lambda at: at.place(b"g", UNFINISHED), Repair.REMOVE),
    "a file of mode 0": Case(Code.HALF_MADE, lambda at: at.place(b"g", 0), Repair.REMOVE),
    "a file that lacks its mode only": Case(
        Code.HALF_MADE, lambda at: at.plain.chmod(at.file, UNFINISHED), Repair.FINISH
    ),
    "a file that lacks its mode, and data": Case(
        Code.HALF_MADE,
        lambda at: (at.resize(BLOCK_SIZE), at.plain.chmod(at.file, UNFINISHED)),
        Repair.REMOVE,
        content=None,
    ),
    "a directory that was begun": Case(
        Code.HALF_MADE, lambda at: at.directory(b"d", UNFINISHED, None), Repair.REMOVE
    ),
    "a directory that lacks its mode only": Case(
        Code.HALF_MADE,
        lambda at: at.directory(b"d", UNFINISHED, at.context().encode_auth()),
        Repair.FINISH,
    ),
    "a link that was begun": Case(
        Code.HALF_MADE, lambda at: at.link(b"l", at.target(at.context()), None), Repair.REMOVE
    ),
    "a hold that did not end": Case(
        Code.DOUBLED_ATTRIBUTES,
        lambda at: at.set(at.file, FILE_XATTR, encode_file_size(len(CONTENT))),
        Repair.DROP_FILE_SIZE,
    ),
    "a release that did not end": Case(
        Code.DOUBLED_ATTRIBUTES, lambda at: at.give_kernel(keep=True), Repair.DROP_RECORD, beside=MIXED
    ),
    "a file of the other mode": Case(Code.MIXED_MODE, lambda at: at.give_kernel(keep=False)),
    "a special file with a context": Case(
        Code.SPECIAL_WITH_CONTEXT, lambda at: at.special(), Repair.DROP_CONTEXT
    ),
    "a lease of a dead holder": Case(
        Code.LEFTOVER_LEASE,
        lambda at: at.tools.leave_lease(at.plain.stat(at.file).ino),
        Repair.DROP_LEASE,
    ),
}
ROUNDS = 20
"""Of a writer, beside which nothing is found."""
ELSEWHERE = {Code.UNREADABLE, Code.NOT_CHECKED, Code.POISONED_NAME}
"""Codes that have a test of their own."""


class Refusing:
    """A mount whose entity may not look into one directory."""

    def __init__(self, mount: Mount, stored: bytes) -> None:
        self._mount = mount
        self._stored = stored

    def __getattr__(self, name: str) -> object:
        return getattr(self._mount, name)

    def scandir(self, path: bytes) -> Iterator[object]:
        if path == self._stored:
            raise error_of(errno.EACCES, "opendir", path)
        return self._mount.scandir(path)


class Shut:
    """Objects that the entity may not read."""

    def extent(self, layout: Layout, ino: int, index: int) -> int | None:
        raise NotAllowedError(errno.EPERM, "not allowed")


SOON = 0.05
"""Seconds before the second look: what a case makes is as old as it will ever get."""


def run(files: FileSystem, path: bytes, tools: Tools) -> tuple[Fsck, list[Finding]]:
    """A whole run, and what it found."""
    fsck = files.fsck(path, tools.extents(), patience=SOON)
    found = list(fsck.findings())
    assert not fsck.busy, "nobody is at work here"
    return fsck, found


class FsckCases:
    """The cases."""

    @pytest.fixture
    def ground(
        self,
        mount: Mount,
        plain: Mount,
        tools: Tools,
        request: pytest.FixtureRequest,
    ) -> Iterator[Ground]:
        with planted(mount, plain, request.node.nodeid) as tree:
            tree.make(NAME, CONTENT)
            yield Ground(tree, tools)

    def test_what_is_whole_has_nothing(self, ground: Ground) -> None:
        tree = ground.tree
        tree.fs.mkdir(tree.path + b"/d")
        tree.fs.symlink(b"target", tree.path + b"/d/l")
        tree.make(b"d/empty")
        tree.make(b"d/large", b"x" * (9 << 20))
        for files in (tree.fs, tree.locked):
            fsck, found = run(files, tree.path, ground.tools)
            assert found == []
            assert fsck.entries == 5

    @pytest.mark.parametrize("unlocked", [True, False], ids=["with the key", "without"])
    @pytest.mark.parametrize("name", CASES)
    def test_a_finding(self, ground: Ground, name: str, unlocked: bool) -> None:
        case, tree = CASES[name], ground.tree
        case.make(ground)
        files = tree.fs if unlocked else tree.locked
        told = {case.code} | case.beside if unlocked or case.locked else set()
        fsck, found = run(files, tree.path, ground.tools)
        assert {one.code for one in found} == told, [str(one) for one in found]
        assert len(found) == len(told)
        assert all(one.detail and one.ino and one.stored.startswith(tree.path) for one in found)
        for one in found:
            assert one.repair is (case.repair if one.code is case.code else None)
            if one.repair is not None:
                assert fsck.repair(one)
                assert not fsck.repair(one) or one.repair is Repair.DROP_LEASE, "it was done already"
        repaired = {case.code} if case.repair else set()
        _, left = run(files, tree.path, ground.tools)
        assert {one.code for one in left} == told - repaired, [str(one) for one in left]
        if case.content is not None:
            assert tree.read(tree.path + b"/" + NAME) == case.content

    def test_a_directory_that_may_not_be_looked_into(self, ground: Ground) -> None:
        tree = ground.tree
        tree.fs.mkdir(tree.path + b"/d")
        mount = Refusing(tree.mount, tree.stored(b"d"))
        fsck = Fsck(mount, Keyring(), tree.path, ground.tools.extents(), SOON)  # type: ignore[arg-type]
        assert [one.code for one in fsck.findings()] == [Code.UNREADABLE]

    def test_objects_that_may_not_be_looked_at(self, ground: Ground) -> None:
        (one,) = ground.tree.fs.fsck(ground.tree.path, Shut()).findings()
        assert one.code is Code.NOT_CHECKED
        assert one.code.severity is Severity.NOTE
        assert not list(ground.tree.fs.fsck(ground.tree.path).findings()), "who does not want it is not told"

    def test_a_file_with_several_names_is_told_once(self, ground: Ground) -> None:
        tree = ground.tree
        tree.fs.link(tree.path + b"/" + NAME, tree.path + b"/second")
        ground.resize(RAW + BLOCK_SIZE)
        fsck, (one,) = run(tree.fs, tree.path, ground.tools)
        assert fsck.entries == 2
        assert fsck.repair(one)
        assert run(tree.fs, tree.path, ground.tools)[1] == []

    def test_what_changes_meanwhile_is_not_repaired(self, ground: Ground) -> None:
        ground.resize(RAW + BLOCK_SIZE)
        fsck, (one,) = run(ground.tree.fs, ground.tree.path, ground.tools)
        ground.resize(RAW)
        assert not fsck.repair(one)
        ground.tree.expect(CONTENT, NAME)

    def test_a_file_that_is_being_made_is_left_alone(self, ground: Ground) -> None:
        tree, keyring = ground.tree, Keyring()
        keyring.add(tree.key)
        path = tree.path + b"/new"
        with FileSystem(ground.plain, keyring) as maker:
            with maker.create(path) as file:
                file.pwrite(CONTENT, 0)
                fsck = tree.fs.fsck(tree.path, ground.tools.extents(), patience=SOON)
                assert not list(fsck.findings())
                assert fsck.busy == 1
            # on a busy machine its maker may need longer than a reader waits
            maker.sync()
            assert tree.read(path) == CONTENT

    def test_a_file_that_is_completed_just_before_it_is_asked_for(
        self, ground: Ground, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree = ground.tree
        ground.plain.chmod(ground.file, UNFINISHED)
        fsck, (found,) = run(tree.fs, tree.path, ground.tools)

        def completed(mount: Mount, stored: bytes) -> bool:
            """Its maker was faster: it has published and closed the file."""
            ground.plain.chmod(stored, 0o644)
            ground.plain.sync()
            return False

        monkeypatch.setattr("mgr_fscrypt.engine.fsck.repairs.open_elsewhere", completed)
        monkeypatch.setattr("mgr_fscrypt.engine.fsck.run.open_elsewhere", completed)
        assert run(tree.fs, tree.path, ground.tools)[1] == []
        ground.plain.chmod(ground.file, UNFINISHED)
        assert not fsck.repair(found)
        assert tree.fs.stat(tree.path + b"/" + NAME).permissions == 0o644
        assert tree.read(tree.path + b"/" + NAME) == CONTENT

    def test_nothing_is_wrong_where_a_writer_is_at_work(self, ground: Ground) -> None:
        tree, keyring = ground.tree, Keyring()
        keyring.add(tree.key)
        over, rounds = threading.Event(), 0
        with FileSystem(ground.plain, keyring) as writer:

            def work() -> None:
                nonlocal rounds
                while not over.is_set():
                    with writer.open(tree.path + b"/" + NAME, os.O_RDWR) as file:
                        file.truncate(rounds % 7 * 3000)
                        file.pwrite(CONTENT, rounds % 5 * 5000)
                        file.fsync()
                        file.truncate(rounds % 3 * 9000)
                    with writer.create(tree.path + b"/new") as file:
                        file.pwrite(CONTENT, 0)
                    writer.mkdir(tree.path + b"/d")
                    writer.symlink(b"target", tree.path + b"/d/l")
                    writer.unlink(tree.path + b"/d/l")
                    writer.rmdir(tree.path + b"/d")
                    writer.unlink(tree.path + b"/new")
                    rounds += 1

            thread = threading.Thread(target=work)
            thread.start()
            try:
                while rounds < ROUNDS and thread.is_alive():
                    for files in (tree.fs, tree.locked):
                        found = list(files.fsck(tree.path, ground.tools.extents(), patience=SOON).findings())
                        assert found == [], [str(one) for one in found]
            finally:
                over.set()
                thread.join()
        assert rounds >= ROUNDS
        assert run(tree.fs, tree.path, ground.tools)[1] == []
