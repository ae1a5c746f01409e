"""What is let be of the engine and the kernel in turns, and what is not."""

import errno
import logging

import pytest

from mgr_fscrypt.ceph.errors import CephError, ClientDiedError
from qa.kernel.tally import MOST_READ_AGAIN, Tally
from qa.kernel.turns import BothDoubts, Deaths

ENGINE, KERNEL = 0, 1
PATH = (b"a", b"file")
DIED = ClientDiedError(errno.EIO, "died")


class Impatient(Deaths):
    """Waits for no word of a death."""

    def since(self, before: int, within: float = 0.0) -> bool:
        return super().since(before, within)


def die(deaths: Deaths) -> None:
    deaths.handle(
        logging.LogRecord("guard", logging.WARNING, "", 1, "libcephfs, process 7, died by SIGABRT", (), None)
    )


class Place:
    """Of a kernel that has an exclamation mark at the end of what it misreads. It is its own guest."""

    def __init__(self) -> None:
        self.guest = self
        self.dropped = 0

    def ask(self, act: str) -> None:
        assert act == "drop_caches"
        self.dropped += 1

    def misread(self, path: bytes, content: bytes) -> bytes:
        assert path == b"/turns/a/file"
        return content[:-1] + b"!"


def doubts_of(deaths: Deaths, tally: Tally | None = None) -> BothDoubts:
    return BothDoubts(Place(), tally or Tally(), deaths)  # type: ignore[arg-type]


def test_an_operation_is_uncertain_when_libcephfs_died_under_it():
    deaths = Impatient()
    doubts = doubts_of(deaths)
    doubts.begin()
    die(deaths)
    assert doubts.uncertain(ENGINE, DIED)


def test_a_death_before_it_is_no_excuse():
    deaths = Impatient()
    doubts = doubts_of(deaths)
    die(deaths)
    doubts.begin()
    assert not doubts.uncertain(ENGINE, DIED)


@pytest.mark.parametrize(
    ("client", "error"),
    [
        (KERNEL, DIED),
        (ENGINE, OSError(errno.EIO, "input or output")),
        (ENGINE, CephError(errno.EIO, "the cluster's")),
        (ENGINE, ClientDiedError(errno.ENOTCONN, "unmounted")),
    ],
)
def test_only_the_engines_own_word_of_it_is_taken(client: int, error: OSError):
    deaths = Impatient()
    doubts = doubts_of(deaths)
    doubts.begin()
    die(deaths)
    assert not doubts.uncertain(client, error)


def test_other_words_of_the_guard_are_no_deaths():
    deaths = Impatient()
    deaths.handle(logging.LogRecord("guard", logging.WARNING, "", 1, "libcephfs, process 7: stoll", (), None))
    assert not deaths.seen


def test_the_kernel_may_misread_in_one_way_only():
    tally = Tally()
    doubts = doubts_of(Deaths(), tally)
    assert doubts.misread(KERNEL, PATH, b"conten!", b"content")
    assert doubts._place.guest.dropped == len(tally.read_again) == 1  # type: ignore[attr-defined]
    assert not doubts.misread(ENGINE, PATH, b"conten!", b"content")
    for wrong in (b"conten?", b"conte!!", b"Content"):
        assert not doubts.misread(KERNEL, PATH, wrong, b"content")
    assert doubts._place.guest.dropped == len(tally.read_again) == 1  # type: ignore[attr-defined]


def test_so_often_and_not_more():
    doubts = doubts_of(Deaths())
    forgiven = [doubts.misread(KERNEL, PATH, b"conten!", b"content") for _ in range(MOST_READ_AGAIN + 2)]
    assert forgiven == [True] * MOST_READ_AGAIN + [False] * 2
