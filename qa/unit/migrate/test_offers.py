"""Shards that are offered to others: taken once, and known by whose they are."""

from collections.abc import Callable

import pytest

from mgr_fscrypt.ceph.errors import NotFoundError
from mgr_fscrypt.migrate import Copied, Direction
from mgr_fscrypt.migrate.offers import NotOfferedError, Offers
from mgr_fscrypt.migrate.record import hidden_of
from mgr_fscrypt.migrate.trees import PlainTree, existing
from qa.fakes.ceph import FakeMount
from qa.fakes.migration_cases import Subject, file_system, make_source

PATH = b"/above/tree"


@pytest.fixture
def one(mount: FakeMount) -> Subject:
    way = make_source(mount, Direction.ENCRYPT, PATH)
    found = Subject(mount, file_system(mount), way)
    found.migration.start(way, "")
    return found


@pytest.fixture
def offers(one: Subject) -> Offers:
    found = Offers(one.mount, PATH)
    found.begin(nobody)
    return found


def nobody(session: str) -> None:
    raise AssertionError(f"nothing was taken by {session}")


def ended_by(take_back: Callable[[Callable[[str], None]], None]) -> list[str]:
    ended: list[str] = []
    take_back(ended.append)
    return ended


def test_what_is_offered_is_taken_once(offers: Offers, plain: FakeMount) -> None:
    offers.offer("a")
    elsewhere = Offers(plain, PATH)
    elsewhere.take("a", "session")
    for again in (elsewhere, offers):
        with pytest.raises(NotOfferedError):
            again.take("a", "another")
    elsewhere.done("a", "session")
    offers.take_back(nobody)
    with pytest.raises(NotOfferedError):
        elsewhere.take("a", "late")


def test_who_offers_nothing_takes_back_what_was_left(one: Subject, offers: Offers) -> None:
    offers.offer("a")
    offers.offer("b")
    offers.take("b", "session")
    assert ended_by(Offers(one.mount, PATH).clear) == ["session"]
    assert existing(PlainTree(one.mount), hidden_of(PATH) + b"/shards") is None
    # where nothing was offered there is nothing to be done
    offers.clear(nobody)
    with pytest.raises(NotOfferedError):
        offers.take("a", "late")


def test_what_was_taken_back_is_nobodys(offers: Offers) -> None:
    offers.offer("a")
    offers.offer("b")
    offers.take("b", "session")
    assert ended_by(offers.take_back) == ["session"]
    offers.take_back(nobody)
    with pytest.raises(NotOfferedError):
        offers.take("a", "session")


def test_whoever_has_the_turn_next_knows_who_may_be_at_work(offers: Offers, plain: FakeMount) -> None:
    offers.offer("a")
    offers.take("a", "of the dead")
    assert ended_by(Offers(plain, PATH).begin) == ["of the dead"]


def test_what_is_taken_just_when_it_is_taken_back_has_its_session_ended(
    offers: Offers, mount: FakeMount, plain: FakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, taken = mount.rmdir, list[bytes]()

    def late(path: bytes) -> None:
        if not taken:
            taken.append(path)
            Offers(plain, PATH).take("a", "late")
        remove(path)

    offers.offer("a")
    monkeypatch.setattr(mount, "rmdir", late)
    assert ended_by(offers.take_back) == ["late"]
    offers.take_back(nobody)


def test_nothing_of_it_keeps_a_migration_from_its_end(one: Subject, offers: Offers) -> None:
    offers.offer("a")
    offers.take("a", "session")
    one.migration.converge(Copied())
    one.cut_over()
    one.migration.purge()
    with pytest.raises(NotFoundError):
        one.mount.stat(hidden_of(PATH))
