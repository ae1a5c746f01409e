"""How much lies below directories, as the service tells it: at once, and looked at only where somebody asks."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mgr_fscrypt.ceph.errors import CephError, NotFoundError, UnreachableError
from mgr_fscrypt.messages.service import Sizes
from mgr_fscrypt.service.kinds.place import Place
from mgr_fscrypt.service.sizing import FRESH, Sizing
from qa.fakes.service import FakeClock

UNSEEN = Sizes(seen=False, bytes=())
TOLD: dict[bytes, bytes | CephError] = {
    b"/a": b"8192",
    b"/gone": NotFoundError(2, "gone"),
    b"/shut": CephError(13, "shut"),
    b"/odd": b"",
}


class Mount:
    """As much of one as is asked."""

    def getxattr(self, path: bytes, name: str) -> bytes:
        assert name == "ceph.dir.rbytes"
        told = TOLD[path]
        if isinstance(told, CephError):
            raise told
        return told


class Stage:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.reached = 0
        self.trouble: Exception | None = None
        self.sizing = Sizing(self.reach, self.clock)

    @contextmanager
    def reach(self) -> Iterator[Place]:
        self.reached += 1
        if self.trouble is not None:
            raise self.trouble
        mount: object = Mount()
        yield Place(mount, mount)  # type: ignore[arg-type] # as much as is asked

    def seen(self, *paths: str) -> Sizes:
        assert self.sizing.answer(paths) == UNSEEN
        self.sizing.look()
        return self.sizing.answer(paths)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_what_is_not_there_has_nothing_and_what_cannot_be_told_is_not(stage: Stage):
    assert stage.seen("/a", "/gone", "/shut", "/odd") == Sizes(seen=True, bytes=(8192, 0, None, None))
    assert stage.reached == 1


def test_it_is_looked_at_again_when_it_is_old_or_something_else_is_asked(stage: Stage):
    assert stage.seen("/a").seen
    stage.clock.time += FRESH - 1
    assert stage.sizing.answer(("/a",)).seen
    stage.clock.time += 1
    assert stage.seen("/a") == Sizes(seen=True, bytes=(8192,))
    assert stage.seen("/gone") == Sizes(seen=True, bytes=(0,))
    stage.sizing.look()
    assert stage.reached == 3, "nobody looks without being asked"


def test_what_was_asked_for_while_it_looked_is_told(stage: Stage):
    stage.sizing.answer(("/a",))

    @contextmanager
    def other() -> Iterator[Place]:
        with stage.reach() as place:
            yield place
            assert stage.sizing.answer(("/gone",)) == UNSEEN

    stage.sizing._reach = other
    stage.sizing.look()
    stage.sizing._reach = stage.reach
    assert stage.sizing.answer(("/gone",)) == UNSEEN
    stage.sizing.look()
    assert stage.sizing.answer(("/gone",)) == Sizes(seen=True, bytes=(0,))


def test_a_cluster_that_does_not_answer_is_no_size(stage: Stage):
    stage.trouble = UnreachableError(110, "no answer")
    assert stage.seen("/a") == Sizes(seen=True, bytes=(None,))


def test_it_ends(stage: Stage):
    stage.sizing.answer(("/a",))
    stage.sizing.end()
    stage.sizing.run()
    assert stage.reached == 0
