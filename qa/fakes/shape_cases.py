"""What truncates and holes leave in a file's objects: the kernel's bytes where vectors tell them, else the format's."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping

import pytest

from mgr_fscrypt.ceph.interface import Mount
from mgr_fscrypt.engine import File, FileSystem, Keyring
from mgr_fscrypt.engine.files import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE
from mgr_fscrypt.engine.subtrees import policy_of
from mgr_fscrypt.format import (
    BLOCK_SIZE,
    ENGINE_XATTR,
    Contents,
    Context,
    EngineRecord,
    MasterKey,
    Mode,
    Policy,
    raw_size,
)
from mgr_fscrypt.format.modes import PAD_MASK
from qa.fakes.engine_cases import SECRET, remove
from qa.load.contents import Model
from qa.vectors.shapes import OBJECT_SIZE, RECIPES, Target, digests, kernel_shapes

Objects = Callable[[int], dict[int, bytes]]
"""Inode number -> the file's objects, by index."""

_PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_ZERO_AND_KEEP = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE
_PATIENCE = 15.0
"""Seconds in which an MDS has cut the objects of a truncated file."""


def objects_of(model: Model, key: MasterKey, context: Context) -> dict[int, bytes]:
    """What must be stored: written blocks encrypted with zeros past the end, all others holes."""
    plain = bytes(model.data).ljust(raw_size(len(model.data)), b"\0")
    stored = bytearray(len(plain))
    with Contents(key, context) as contents:
        for block in model.written:
            at = block * BLOCK_SIZE
            stored[at : at + BLOCK_SIZE] = contents.encrypt(plain[at : at + BLOCK_SIZE], block)
    return cut(bytes(stored))


def cut(stored: bytes) -> dict[int, bytes]:
    """A file's stored bytes as objects without holes at their ends; those that are all hole are absent."""
    pieces = (stored[at : at + OBJECT_SIZE] for at in range(0, len(stored), OBJECT_SIZE))
    return _trimmed(dict(enumerate(pieces)))


def _trimmed(objects: Mapping[int, bytes]) -> dict[int, bytes]:
    def trim(data: bytes) -> bytes:
        """Without the blocks of zeros at its end."""
        return data[: raw_size(len(data.rstrip(b"\0")))]

    return {index: trim(data) for index, data in objects.items() if trim(data)}


def _punched_then_cut_inside_the_hole(file: Target) -> None:
    file.pwrite(b"a" * 20000, 0)
    file.fallocate(_PUNCH, 4096, 8192)
    file.truncate(6000)


def _cut_inside_a_hole_that_never_was_written(file: Target) -> None:
    file.pwrite(b"a" * 100, 40000)
    file.truncate(30001)
    file.truncate(50000)


def _up_and_down_again_and_again(file: Target) -> None:
    file.pwrite(b"a" * 9000, 0)
    for size in (5000, 12000, 4999, 4097, 20000, 8192, 8191, 8193):
        file.truncate(size)
        file.fsync()


def _across_objects(file: Target) -> None:
    file.pwrite(b"a" * (2 * BLOCK_SIZE), OBJECT_SIZE - BLOCK_SIZE)
    file.pwrite(b"b" * 100, 2 * OBJECT_SIZE)
    file.fsync()
    file.truncate(2 * OBJECT_SIZE + 50)
    file.truncate(OBJECT_SIZE + 10)
    file.truncate(2 * OBJECT_SIZE + 5000)
    file.pwrite(b"c", 2 * OBJECT_SIZE + 4999)


def _to_the_edge_of_an_object(file: Target) -> None:
    file.pwrite(b"a" * (BLOCK_SIZE + 1), OBJECT_SIZE - BLOCK_SIZE)
    file.fsync()
    file.truncate(OBJECT_SIZE)
    file.truncate(OBJECT_SIZE + 1)


def _a_hole_across_objects(file: Target) -> None:
    file.pwrite(b"a" * 20000, OBJECT_SIZE - 10000)
    file.fallocate(_PUNCH, OBJECT_SIZE - 5000, 10000)


def _zeroed_past_the_end(file: Target) -> None:
    file.pwrite(b"a" * 10000, 0)
    file.fallocate(FALLOC_FL_ZERO_RANGE, 5000, 20000)
    file.fallocate(_ZERO_AND_KEEP, 100, 1 << 20)


def _the_last_block_punched(file: Target) -> None:
    file.pwrite(b"a" * 9000, 0)
    file.fallocate(_PUNCH, 8192, 808)
    file.truncate(9500)


def _to_nothing_and_anew(file: Target) -> None:
    file.pwrite(b"a" * 9000, 0)
    file.fsync()
    file.truncate(0)
    file.pwrite(b"b", 4999)


MORE: dict[str, Callable[[Target], None]] = {
    made.__name__.strip("_"): made
    for made in (
        _punched_then_cut_inside_the_hole,
        _cut_inside_a_hole_that_never_was_written,
        _up_and_down_again_and_again,
        _across_objects,
        _to_the_edge_of_an_object,
        _a_hole_across_objects,
        _zeroed_past_the_end,
        _the_last_block_punched,
        _to_nothing_and_anew,
    )
}
"""Shapes of which no kernel told us the bytes."""


class Subtrees:
    """Empty subtrees, one for each key, whose new files get the contexts that they are told."""

    def __init__(self, mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
        self._mount = mount
        self._monkeypatch = monkeypatch
        self._keyring = Keyring()
        self._made: dict[bytes, bytes] = {}
        self.files = FileSystem(mount, self._keyring, durable_close=True)

    def path(self, key: MasterKey, policy: Policy) -> bytes:
        """The subtree of this key; it is made with the first call."""
        if key.identifier not in self._made:
            top = f"/shapes-{uuid.uuid4().hex[:8]}".encode()
            self._keyring.add(key)
            self._mount.mkdir(top, 0o755)
            padding = 4 << (policy.flags & PAD_MASK)
            self.files.create_subtree(top, key.identifier, padding=padding, contents=policy.contents_mode)
            self._made[key.identifier] = top
        return self._made[key.identifier]

    def create(self, path: bytes, context: Context) -> File:
        """A new file with this context."""
        with self._monkeypatch.context() as patch:
            patch.setattr(Context, "fresh", lambda policy: context)
            return self.files.create(path)

    def end(self) -> None:
        """Remove them."""
        self.files.close()
        for top in self._made.values():
            remove(self._mount, top)


class ShapeCases:
    """The cases; the fixture `objects` reads them behind the file system's back."""

    @pytest.fixture
    def subtrees(self, mount: Mount, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subtrees]:
        made = Subtrees(mount, monkeypatch)
        yield made
        made.end()

    def test_kernel_shapes_leave_the_kernels_objects(
        self, subtrees: Subtrees, mount: Mount, objects: Objects
    ) -> None:
        shapes = list(kernel_shapes())
        assert {shape.name for shape in shapes} == set(RECIPES)
        for shape in shapes:
            top = subtrees.path(shape.key, shape.context.policy)
            file = subtrees.create(top + b"/f", shape.context)
            shape.make(file)
            file.close()
            (entry,) = mount.scandir(top)
            stored = top + b"/" + entry.name
            record = EngineRecord.decode(mount.getxattr(stored, ENGINE_XATTR))
            assert record == EngineRecord(shape.context, shape.real_size), shape
            assert mount.stat(stored).size == shape.raw_size, shape
            expect(lambda ino=entry.ino: digests(objects(ino)), shape.objects, str(shape))
            subtrees.files.unlink(top + b"/f")
        print(f"sampled: shapes of files: {len(shapes)} that kernels made, with both ciphers")

    @pytest.mark.parametrize("name", MORE)
    def test_what_no_kernel_told_is_as_the_format_says(
        self, subtrees: Subtrees, mount: Mount, objects: Objects, name: str
    ) -> None:
        key = MasterKey(SECRET)
        context = Context.fresh(policy_of(key.identifier, 32, Mode.AES_256_XTS))
        top = subtrees.path(key, context.policy)
        file, model = subtrees.create(top + b"/f", context), Model()
        for target in (file, model):
            MORE[name](target)
        assert file.pread(3 * OBJECT_SIZE, 0) == model.data
        file.close()
        (entry,) = mount.scandir(top)
        expect_stored(mount, top + b"/" + entry.name, key, model, objects)


def expect_stored(mount: Mount, stored: bytes, key: MasterKey, model: Model, objects: Objects) -> None:
    """The file at a stored path is what the model says, byte by byte."""
    found = mount.stat(stored)
    record = EngineRecord.decode(mount.getxattr(stored, ENGINE_XATTR))
    assert (record.real_size, found.size) == (len(model.data), raw_size(len(model.data)))
    expect(lambda: _trimmed(objects(found.ino)), objects_of(model, key, record.context), "the model")


def expect(found: Callable[[], Mapping[int, object]], expected: Mapping[int, object], whose: str) -> None:
    """These are the objects, at the latest when the MDS has cut them: it does so some time after it answered."""
    give_up = time.monotonic() + _PATIENCE
    while (now := found()) != expected and time.monotonic() < give_up:
        time.sleep(0.1)
    assert now.keys() == expected.keys(), whose
    assert [index for index in expected if now[index] != expected[index]] == [], whose
