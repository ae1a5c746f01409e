"""Who counts as dead, and which calls as stuck."""

import errno
import time

import pytest

pytest.importorskip("rados")

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.errors import SessionLostError, error_of
from mgr_fscrypt.ceph.presence import EVIDENCE, INTERVAL, STUCK, Calls, Judge

OWN, OTHER = "own", "other"


class Clients:
    """A registry whose lock objects take `pause` seconds to answer, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pause = 0.0
        self.living: set[str] = set()
        self.entries = {OWN: "client.a", OTHER: "client.b"}

    def clients(self) -> dict[str, str]:
        return dict(self.entries)

    def lives(self, session: str) -> bool:
        self.now += self.pause
        return session in self.living


@pytest.fixture
def clients() -> Clients:
    return Clients()


@pytest.fixture
def judge(clients: Clients) -> Judge:
    return Judge(clients, lambda: OWN, lambda: clients.now)


def looks(judge: Judge, clients: Clients, seconds: float) -> list[dict[str, str]]:
    found = []
    end = clients.now + seconds
    while clients.now <= end:
        found.append(judge.dead())
        clients.now += INTERVAL
    return found


def test_a_client_without_a_lock_is_dead_when_its_object_has_answered_for_long_enough(
    judge: Judge, clients: Clients
) -> None:
    assert not any(looks(judge, clients, EVIDENCE - INTERVAL))
    assert judge.dead() == {OTHER: "client.b"}, "our own session is never judged"


def test_a_client_whose_lock_ends_while_others_look_is_dead_at_once(judge: Judge, clients: Clients) -> None:
    clients.living = {OTHER}
    assert not any(looks(judge, clients, 60))
    clients.living = set()
    assert judge.dead() == {OTHER: "client.b"}


def test_after_an_outage_of_an_osd_the_living_have_time_to_renew(judge: Judge, clients: Clients) -> None:
    clients.living = {OTHER}
    looks(judge, clients, EVIDENCE)
    clients.living = set()
    clients.pause = 30.0  # the answer came when the OSD was back, and every lock had run out
    assert judge.dead() == {}
    clients.pause = 0.0
    assert not any(looks(judge, clients, 1.0))
    clients.living = {OTHER}
    assert not any(looks(judge, clients, 10))


def test_what_was_seen_before_a_pause_in_looking_does_not_count(judge: Judge, clients: Clients) -> None:
    clients.living = {OTHER}
    looks(judge, clients, EVIDENCE)
    judge.forget()
    clients.living = set()
    assert judge.dead() == {}


def test_a_client_that_left_and_came_back_is_judged_anew(judge: Judge, clients: Clients) -> None:
    clients.living = {OTHER}
    looks(judge, clients, EVIDENCE)
    del clients.entries[OTHER]
    assert judge.dead() == {}
    clients.entries[OTHER], clients.living = "client.b", set()
    assert judge.dead() == {}


def test_a_call_is_stuck_when_it_has_not_returned_for_a_second() -> None:
    calls = Calls()
    assert not calls.stuck()
    calls.begun[1] = time.monotonic()
    assert not calls.stuck()
    calls.begun[2] = time.monotonic() - STUCK - 0.1
    assert calls.stuck()
    del calls.begun[2]
    assert not calls.stuck()


@pytest.mark.parametrize("number", [errno.ESHUTDOWN, errno.ENOTCONN])
def test_a_session_that_was_ended_says_what_was_lost_and_what_to_do(number: int) -> None:
    error = error_of(number, "write", b"/f")
    assert isinstance(error, SessionLostError)
    assert (error.errno, error.filename) == (number, b"/f")
    for said in ("away for too long", "did not fsync is lost", "Mount again", "(write)"):
        assert said in str(error)


@pytest.mark.parametrize(
    "number", [errno.ENOENT, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR]
)
def test_an_error_is_of_the_class_that_python_has_for_its_number(number: int) -> None:
    assert isinstance(error_of(number, "open", b"/f"), type(OSError(number, "no")))


def test_what_is_announced_is_ceph_s_list_of_pairs() -> None:
    access = Access(announce={"a": "1"})
    assert access.announced(uuid="u") == "a=1,uuid=u"
    assert access.options["client_metadata"] == "a=1"
