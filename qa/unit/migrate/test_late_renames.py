"""One who slept past the end of its lease with a rename under way, which lands while another process removes something:
on the fake, before every call of that one."""

import contextlib
import copy
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from mgr_fscrypt.ceph.errors import NotFoundError
from mgr_fscrypt.engine import RefusedError
from mgr_fscrypt.engine.paths import joined
from mgr_fscrypt.migrate import Direction, State
from mgr_fscrypt.migrate.record import Journal, hidden_of
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.migration_cases import Subject, file_system, make_source, picture

from .test_crashes import small

PATH = b"/above/tree"
HIDDEN = hidden_of(PATH)
WORK, OLD = joined(HIDDEN, b"work"), joined(HIDDEN, b"old")
CALLS = ("stat", "scandir", "rmdir", "unlink", "rename", "setxattr", "removexattr", "sync")


@dataclass(frozen=True)
class LateRename:
    """As an MDS gets it: a client sends the numbers of both directories, which it looked up before it slept."""

    above: int
    name: bytes
    target: int
    new_name: bytes

    @classmethod
    def of(cls, mount: FakeMount, source: bytes, target: bytes) -> "LateRename":
        (above, _, name), (below, _, new_name) = source.rpartition(b"/"), target.rpartition(b"/")
        return cls(mount.stat(above).ino, name, mount.stat(below).ino, new_name)

    def land(self, cluster: FakeCluster) -> bool:
        """Was it done? It is refused where a directory is gone by now, or the target is not empty."""
        try:
            above, target = cluster.find(self.above), cluster.find(self.target)
        except AssertionError:
            return False
        there = target.names.get(self.new_name)
        if self.name not in above.names or (there is not None and there.names):
            return False
        target.names[self.new_name] = above.names.pop(self.name)
        return True


class Watched(FakeMount):
    """Lets a rename land before one of its calls."""

    def __init__(self, cluster: FakeCluster, late: LateRename, calls: int) -> None:
        super().__init__(cluster)
        self._late = late
        self._calls_left = calls
        self.landed: bool | None = None
        for name in CALLS:
            setattr(self, name, self._watching(getattr(self, name)))

    def _watching(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*given: Any) -> Any:
            if self._calls_left == 0:
                self.landed = self._late.land(self.cluster)
            self._calls_left -= 1
            return call(*given)

        return watched


def subject(mount: FakeMount) -> Subject:
    return Subject(mount, file_system(mount), WAY)


WAY = make_source(FakeMount(FakeCluster()), Direction.ENCRYPT, PATH, small)


def entered(one: Subject, state: State) -> None:
    """What the sleeper wrote before it slept."""
    Journal(one.mount, HIDDEN, lambda: None).enter(one.migration.required_record(), state)


def copied(one: Subject) -> None:
    one.copy()
    entered(one, State.CUTTING)


def cut_over(one: Subject) -> None:
    one.copy()
    one.cut_over()
    entered(one, State.UNDOING)


def cut_over_by_another(one: Subject) -> None:
    one.copy()
    one.cut_over()


def rolled_back_by_another(one: Subject) -> None:
    cut_over_by_another(one)
    one.migration.rollback(evict=False)


CASES: dict[str, tuple[Callable[[Subject], None], tuple[bytes, bytes], str, bool]] = {
    "cutting over, cancelled": (copied, (PATH, OLD), "cancel", False),
    "rolling back, cancelled": (rolled_back_by_another, (PATH, joined(WORK, b"tree")), "cancel", False),
    "rolling back, purged": (cut_over, (PATH, joined(WORK, b"tree")), "purge", True),
    "cutting over, purged": (cut_over_by_another, (PATH, OLD), "purge", True),
}
"""What was done before, the late rename, what is done meanwhile, and whether the new tree is in place at the end."""


def landings(base: FakeCluster, late: LateRename, act: str) -> Iterator[tuple[FakeCluster, bool]]:
    """For each call of whoever removes: the cluster afterwards, and whether the rename was done."""
    for calls in range(5000):
        cluster = copy.deepcopy(base)
        mount = Watched(cluster, late, calls)
        one = subject(mount)
        with contextlib.suppress(OSError):
            getattr(one.migration, act)()
        one.files.close()
        if mount.landed is None:
            return
        yield cluster, mount.landed
    raise AssertionError("it never ends")


def ended(heir: Subject, act: str) -> bool:
    """Run it again until nothing is left; false where it is refused in that state."""
    for _ in range(3):
        try:
            getattr(heir.migration, act)()
        except NotFoundError:
            return True
        except RefusedError as error:
            if error.errno != errno.EINVAL:
                raise
            return False
    raise AssertionError("it never ends")


@pytest.mark.parametrize("name", CASES)
def test_no_tree_in_use_is_removed_by_a_late_rename(name: str) -> None:
    before_it, (source, target), act, replaced = CASES[name]
    base = FakeCluster()
    mount = FakeMount(base)
    make_source(mount, Direction.ENCRYPT, PATH, small)
    one = subject(mount)
    before = picture(one.source, PATH)
    before_it(one)
    one.files.close()
    late = LateRename.of(mount, source, target)
    done = 0
    for cluster, landed in landings(base, late, act):
        heir = subject(FakeMount(cluster))
        if ended(heir, act):
            done += landed
            assert picture(heir.new if replaced else heir.source, PATH) == before
            assert [entry.name for entry in heir.mount.scandir(b"/above")] == [b"tree"]
        else:
            # it landed before anything was looked at: the exchange is done, and both trees are kept
            assert picture(heir.source, PATH if replaced else OLD) == before
            assert picture(heir.new, joined(WORK, b"tree") if replaced else PATH).keys() == before.keys()
        heir.files.close()
    assert done
