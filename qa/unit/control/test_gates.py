"""Clients and gates, whole, in memory: commands, what is carried out, drift, health."""

import errno
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from mgr_fscrypt.control.asked import FRESH
from mgr_fscrypt.control.audience import UNSAFE, ClientPage, Story
from mgr_fscrypt.control.gate_answers import DRIFT, GatePage, Preview
from mgr_fscrypt.control.gates import Wanted
from mgr_fscrypt.store import LocalDatabase
from qa.fakes.gating import EVERYWHERE, EXCLUDE, ISOLATE, OBSERVE, REQUIRE, World, furnished
from qa.fakes.servers import session


@pytest.fixture
def world() -> Iterator[World]:
    with closing(LocalDatabase()) as database:
        yield furnished(database)


def test_clients_are_listed_with_their_verdicts(world: World):
    assert world.clients() == {1: "harmful", 2: "harmless", 3: "harmless", 999: "blind"}
    shown = world.audience.listing().rendered(None)[1]
    assert "host1" in shown
    assert "told 0 s ago" in shown
    assert json.loads(world.audience.listing().rendered("json")[1])["clients"][0]["path"] == "/vault"


def test_clients_in_pages(world: World):
    seen, after = [], None
    while True:
        page = world.audience.listing("cephfs", after, 3).answer
        assert isinstance(page, ClientPage)
        seen += [line.session for line in page.clients]
        after = page.following
        if after is None:
            break
    assert seen == [1, 2, 3, 999]
    assert world.audience.listing(after="1:x").code == errno.EINVAL


def test_a_client_is_explained(world: World):
    story = world.audience.explain(1).answer
    assert isinstance(story, Story)
    text = story.plain()
    for words in (
        "libcephfs 20.2",
        "host1",
        EVERYWHERE,
        "/vault (engine mode): harmful",
        "gate preview cephfs /vault",
    ):
        assert words in text
    assert "client evict id=1" in text
    assert json.loads(world.audience.explain(1).rendered("json")[1])["verdicts"][0]["verdict"] == "harmful"
    assert world.audience.explain(77).code == errno.ENOENT


def test_nothing_was_learnt_yet(world: World):
    fresh = World(world.database)
    assert fresh.audience.listing().code == errno.EAGAIN
    assert fresh.gates.preview(ISOLATE).code == errno.EAGAIN
    assert fresh.gates.set(ISOLATE).code == errno.EAGAIN


def test_what_does_not_answer_keeps_its_place_and_its_age(world: World):
    world.servers.silent = {"mds"}
    world.now += 50
    world.observer.look()
    shown = world.audience.listing().rendered(None)[1]
    assert "host1" in shown
    assert "told 50 s ago" in shown
    assert "not asked: mds did not answer" in shown
    world.now += FRESH
    assert world.gates.set(ISOLATE).code == errno.EAGAIN
    unknown = world.audience.explain(77)
    assert (unknown.code, "not all servers have told of theirs" in unknown.status) == (errno.EAGAIN, True)


def test_a_preview_changes_nothing_and_names_who_loses_what(world: World):
    preview = world.gates.preview(ISOLATE).answer
    assert isinstance(preview, Preview)
    assert [change.entity for change in preview.changes] == ["client.stray"]
    assert [(each.entity, "every pool" in each.why) for each in preview.untouched] == [("client.admin", True)]
    assert [each.client.number for each in preview.cut_off] == [1]
    text = preview.plain()
    assert "ceph auth caps client.stray mds 'allow rw'" in text
    assert "truncate" in text
    world.settle()
    assert world.servers.done == []
    assert world.gates.show().rendered(None)[1].startswith("No gate is set")


def test_isolate_is_carried_out_once_and_taken_back(world: World):
    before = {entity: dict(caps) for entity, caps in world.servers.caps.items()}
    assert world.gates.set(ISOLATE).success
    assert world.state() == "wanted"
    world.settle()
    assert world.state() == "set"
    assert 'namespace=""' in world.osd("client.stray")
    assert world.osd("client.friend") == EVERYWHERE
    assert world.servers.done == [("caps", "client.stray")]
    begun, done = world.acts
    assert begun[:3] == done[:3] == ("gate carry out", "cephfs", "/vault")
    assert "isolate, begun: ceph auth caps client.stray" in begun[3]
    assert "isolate: ceph auth caps client.stray" in done[3]
    assert "already" in world.gates.set(ISOLATE).status
    restore = json.loads(world.gates.show("cephfs", "/vault").rendered("json")[1])["restore"]
    assert restore == [f"ceph auth caps client.stray mds 'allow rw' mon 'allow r' osd '{EVERYWHERE}'"]
    assert world.gates.set(OBSERVE).success
    assert world.state() == "ending"
    world.settle()
    assert world.servers.caps == before
    assert world.gates.show("cephfs", "/vault").code == errno.ENOENT
    assert world.gates.set(OBSERVE).success


def test_a_session_from_before_the_gate_is_told_of_until_it_is_gone(world: World):
    world.gates.set(ISOLATE)
    world.settle()
    assert world.clients()[1] == "harmful"
    assert "client evict id=1" in world.audience.explain(1).rendered(None)[1]
    world.now += 100
    world.servers.listed["cephfs", 0] = [session(5, uptime=50)]
    world.observer.look()
    assert world.clients() == {5: "blind"}


def test_one_gate_less_keeps_another_closed(world: World):
    world.gates.set(ISOLATE)
    world.settle()
    world.register("/second", "kernel")
    world.gates.set(Wanted("cephfs", "/second", "isolate", namespace="fscrypt-2"))
    world.settle()
    assert (world.state("/vault"), world.state("/second")) == ("set", "set")
    # who is let into the first keeps it
    assert "namespace=fscrypt-1 " in world.osd("client.friend")
    world.gates.set(OBSERVE)
    assert world.state("/second") == "set"
    world.settle()
    assert 'namespace=""' in world.osd("client.stray")
    assert world.state("/second") == "set"
    # and what has no gate any more is everybody's again
    assert "namespace=fscrypt-1 " in world.osd("client.stray")
    assert "fscrypt-2" not in world.osd("client.stray")
    assert world.gates.set(ISOLATE).success
    world.settle()
    assert "fscrypt-1" not in world.osd("client.stray")
    world.gates.set(OBSERVE)
    world.settle()
    world.gates.set(Wanted("cephfs", "/second", "observe"))
    world.settle()
    assert (world.osd("client.stray"), world.osd("client.friend")) == (EVERYWHERE, EVERYWHERE)


def test_a_session_between_two_gates_has_the_caps_of_the_first(world: World):
    world.gates.set(ISOLATE)
    world.settle()
    world.register("/second")
    world.now += 100
    world.servers.listed["cephfs", 0] = [session(4, uptime=50), session(5, uptime=150)]
    world.gates.set(Wanted("cephfs", "/second", "isolate", "fscrypt-2", admit="client.stray"))
    world.settle()
    assert world.clients() == {4: "blind", 5: "harmful"}
    # of a third change, which is none of the first gate's
    world.gates.set(Wanted("cephfs", "/second", "observe"))
    world.settle()
    assert world.clients()[5] == "harmful"
    world.subtrees.remove(1, "/second")
    assert world.clients() == {4: "blind", 5: "harmful"}


@pytest.mark.parametrize(("namespace", "says"), [("other", "--namespace other"), ("", "default namespace")])
def test_a_namespace_that_is_not_the_subtree_s_changes_nothing(world: World, namespace: str, says: str):
    world.servers.namespaces[1000] = namespace
    world.gates.set(ISOLATE)
    world.settle()
    assert (world.state(), world.servers.done) == ("wanted", [])
    assert says in world.gates.show("cephfs", "/vault").rendered(None)[1]
    world.settle()
    assert says in world.keeper.checks()[DRIFT]["detail"][0]
    world.servers.namespaces[1000] = "fscrypt-1"
    world.settle()
    assert (world.state(), world.servers.done) == ("set", [("caps", "client.stray")])


def test_a_namespace_that_is_found_to_be_another_later_is_told(world: World):
    world.gates.set(ISOLATE)
    world.settle()
    world.servers.namespaces[1000] = "other"
    world.settle()
    world.settle()
    assert "--namespace other" in world.keeper.checks()[DRIFT]["detail"][0]
    world.servers.silent = {"mds"}
    world.settle()
    assert DRIFT in world.keeper.checks()
    world.servers.silent, world.servers.namespaces[1000] = set(), "fscrypt-1"
    world.settle()
    world.settle()
    assert DRIFT not in world.keeper.checks()


def test_one_more_is_admitted(world: World):
    world.gates.set(ISOLATE)
    world.settle()
    preview = world.gates.preview(
        Wanted("cephfs", "/vault", "isolate", admit="client.friend,client.stray")
    ).answer
    assert isinstance(preview, Preview)
    assert preview.cut_off == ()
    world.gates.set(Wanted("cephfs", "/vault", "isolate", admit="client.friend,client.stray"))
    world.settle()
    assert (world.osd("client.stray"), world.state()) == (EVERYWHERE, "set")


def test_exclude_and_back_to_isolate(world: World):
    world.gates.set(EXCLUDE)
    world.settle()
    assert world.servers.caps["client.stray"]["mds"] == "allow rw fsname=cephfs path=/home"
    world.gates.set(ISOLATE)
    world.settle()
    assert world.servers.caps["client.stray"]["mds"] == "allow rw"
    assert 'namespace=""' in world.osd("client.stray")


def test_require_is_of_a_whole_file_system(world: World):
    world.servers.listed["cephfs", 0].append(session(8, client_features={"feature_bits": "0xff"}))
    world.observer.look()
    preview = world.gates.preview(REQUIRE).answer
    assert isinstance(preview, Preview)
    assert [each.client.number for each in preview.cut_off] == [8]
    assert preview.commands == ("ceph fs required_client_features cephfs add alternate_name",)
    assert preview.undo == ("ceph fs required_client_features cephfs rm alternate_name",)
    world.gates.set(REQUIRE)
    world.settle()
    assert (world.servers.required["cephfs"], world.state("/")) == ({"alternate_name"}, "set")
    world.servers.required["cephfs"].clear()
    world.settle()
    assert world.state("/") == "drifted"
    world.gates.set(REQUIRE)
    world.settle()
    world.gates.set(Wanted("cephfs", "/", "observe"))
    world.settle()
    assert world.servers.required["cephfs"] == set()


@pytest.mark.parametrize("rewritten", [EVERYWHERE, "allow r tag cephfs data=cephfs"])
def test_drift_is_told_and_not_repaired_until_asked(world: World, rewritten: str):
    """As `ceph fs authorize` does it (doc/facts.md G5)."""
    world.gates.set(ISOLATE)
    world.settle()
    assert DRIFT not in world.keeper.checks()
    world.servers.caps["client.stray"]["osd"] = rewritten
    world.servers.caps["client.new"] = {"mds": "allow rw", "osd": EVERYWHERE}
    world.settle()
    assert world.state() == "drifted"
    assert (world.osd("client.stray"), world.osd("client.new")) == (rewritten, EVERYWHERE)
    check = world.keeper.checks()[DRIFT]
    assert [("client.new" in line, "client.stray" in line) for line in check["detail"][:2]] == [
        (True, False),
        (False, True),
    ]
    world.gates.set(ISOLATE)
    world.settle()
    assert (world.state(), DRIFT in world.keeper.checks()) == ("set", False)
    world.gates.set(OBSERVE)
    world.settle()
    assert (world.osd("client.stray"), world.osd("client.new")) == (rewritten, EVERYWHERE)


def test_caps_of_somebody_else_stay_when_the_gate_goes(world: World):
    world.gates.set(ISOLATE)
    world.settle()
    closed = world.osd("client.stray")
    world.servers.caps["client.stray"]["osd"] = "allow r pool=rbd"
    world.observer.look()
    world.gates.set(OBSERVE)
    world.settle()
    assert world.osd("client.stray") == "allow r pool=rbd"
    # and nothing is remembered that could come back later
    world.servers.caps["client.stray"]["osd"] = closed
    world.gates.set(ISOLATE)
    world.settle()
    world.gates.set(OBSERVE)
    world.settle()
    assert world.osd("client.stray") == closed


def test_unsafe_clients_are_told_once_they_have_settled(world: World):
    world.servers.listed["cephfs", 0] = [session(1, uptime=10)]
    world.settle()
    assert UNSAFE not in world.keeper.checks()
    world.servers.listed["cephfs", 0] = [session(1, uptime=40)]
    world.settle()
    check = world.keeper.checks()[UNSAFE]
    assert check["count"] == 1
    assert "session 1 of client.stray on host1" in check["detail"][0]


def test_a_failure_in_between_is_told_and_made_good(world: World):
    world.servers.caps["client.other"] = {"mds": "allow rw", "osd": EVERYWHERE}
    world.servers.silent = {"client.stray"}
    world.observer.look()
    world.gates.set(ISOLATE)
    world.settle()
    assert world.state() == "wanted"
    assert 'namespace=""' in world.osd("client.other")
    assert "client.stray did not answer" in world.gates.show().rendered(None)[1]
    world.settle()
    assert "not done" in world.keeper.checks()[DRIFT]["detail"][0]
    world.servers.silent = set()
    world.settle()
    assert (world.state(), 'namespace=""' in world.osd("client.stray")) == ("set", True)


@pytest.mark.parametrize("interrupted", [0, 1])
def test_a_manager_that_dies_in_between_is_succeeded(world: World, interrupted: int):
    world.servers.caps["client.other"] = {"mds": "allow rw", "osd": EVERYWHERE}
    world.observer.look()
    world.gates.set(ISOLATE)
    page = world.gates.show().answer
    assert isinstance(page, GatePage)
    (line,) = page.gates
    world.gates.begin(line)
    for change in line.changes[:interrupted]:
        world.servers.set_caps(change.entity, change.after)
    successor = world.succeed()
    successor.settle()
    assert successor.state() == "set"
    # what was left to do, by who did it
    assert [act[3].count("ceph auth caps") for act in successor.acts] == [1] * (2 - interrupted) + [
        2 - interrupted
    ]
    successor.gates.set(OBSERVE)
    successor.settle()
    assert (world.osd("client.stray"), world.osd("client.other")) == (EVERYWHERE, EVERYWHERE)


def test_what_fails_and_is_tried_again_is_in_the_audit_once(world: World):
    world.servers.silent = {"client.stray"}
    world.gates.set(ISOLATE)
    for _ in range(3):
        world.settle()
    begun, failed = world.acts
    assert (
        "begun: ceph auth caps client.stray mds 'allow rw' mon 'allow r' osd 'allow rw namespace" in begun[3]
    )
    assert "is not done, and is tried again: client.stray did not answer" in failed[3]
    # what is new in an attempt is told
    world.servers.caps["client.other"] = {"mds": "allow rw", "osd": EVERYWHERE}
    world.settle()
    assert ["begun" in act[3] and "client.other" in act[3] for act in world.acts[2:]].count(True) == 1
    world.servers.silent = set()
    world.settle()
    assert "isolate: ceph auth caps client.stray" in world.acts[-1][3]


def test_file_systems_whose_mds_is_silent_for_a_new_manager_keep_their_gates(world: World):
    world.serve_another()
    world.gates.set(ISOLATE)
    world.settle()
    closed = world.osd("client.stray")
    world.servers.silent = {"cephfs"}
    successor = world.succeed()
    successor.observer.look()
    assert (successor.state(), successor.audience.listing("cephfs").code) == ("set", errno.EAGAIN)
    assert successor.gates.set(Wanted("other", "/o", "isolate", namespace="o-1")).success
    successor.settle()
    assert world.osd("client.stray") == closed
    world.servers.silent = set()
    successor.settle()
    assert successor.gates.set(OBSERVE).success
    successor.settle()
    assert world.osd("client.stray") == EVERYWHERE


def test_file_systems_whose_mds_is_silent_for_a_new_manager_are_not_taken_away(world: World):
    world.serve_another()
    world.servers.silent = {"other"}
    successor = world.succeed()
    successor.observer.look()
    assert successor.gates.set(Wanted("other", "/o", "isolate", namespace="o-1")).code == errno.EAGAIN
    assert successor.gates.set(EXCLUDE).success
    successor.settle()
    assert world.servers.caps["client.stray"]["mds"] == (
        "allow rw fsname=cephfs path=/home, allow rw fsname=other"
    )


def test_nothing_is_carried_out_by_what_was_known_before_the_last_change(world: World):
    world.gates.set(ISOLATE)
    assert world.keeper.act()
    assert world.gates.set(OBSERVE).success
    world.servers.silent = {"mon"}
    world.observer.look()
    assert not world.keeper.act()
    assert world.state() == "ending"
    world.servers.silent = set()
    world.settle()
    assert world.osd("client.stray") == EVERYWHERE


def test_nothing_has_drifted_by_what_was_known_before_the_last_change(world: World):
    world.gates.set(ISOLATE)
    assert world.keeper.act()
    world.servers.silent = {"mon"}
    world.settle()
    assert (world.state(), DRIFT in world.keeper.checks()) == ("set", False)


def test_a_change_that_comes_late_is_waited_for(world: World):
    world.servers.slow = {"client.stray"}
    world.gates.set(ISOLATE)
    world.settle()
    world.gates.set(OBSERVE)
    world.settle()
    assert world.state() == "ending"
    world.servers.land()
    assert world.osd("client.stray") != EVERYWHERE
    world.settle()
    assert world.osd("client.stray") == EVERYWHERE


def test_another_gate_within_the_same_second_is_another(world: World, monkeypatch: pytest.MonkeyPatch):
    set_caps = world.servers.set_caps

    def interrupted(entity: str, caps: Any) -> None:
        set_caps(entity, caps)
        world.gates.set(OBSERVE)

    world.gates.set(ISOLATE)
    with monkeypatch.context() as patch:
        patch.setattr(world.servers, "set_caps", interrupted)
        world.keeper.act()
    assert world.state() == "ending"
    world.settle()
    assert world.osd("client.stray") == EVERYWHERE


def test_attempts_that_fail_do_not_lose_the_original(world: World):
    world.gates.set(ISOLATE)
    world.settle()
    world.servers.silent = {"client.stray"}
    for keep in "abc":
        world.gates.set(replace(ISOLATE, keep=keep))
        world.settle()
    world.servers.silent = set()
    world.gates.set(OBSERVE)
    world.settle()
    assert world.osd("client.stray") == EVERYWHERE


@pytest.mark.parametrize("stuck", ["/wages", "/a"])
def test_a_gate_that_is_stuck_does_not_hide_the_drift_of_others(world: World, stuck: str):
    world.gates.set(ISOLATE)
    world.settle()
    world.register(stuck)
    world.servers.namespaces = {1001: "other"}
    world.gates.set(Wanted("cephfs", stuck, "isolate", namespace="slip"))
    world.settle()
    world.settle()
    # what the other one has still to do is no drift of this one
    assert (world.state(stuck), world.state()) == ("wanted", "set")
    world.servers.caps["client.new"] = {"mds": "allow rw", "osd": EVERYWHERE}
    world.settle()
    assert world.state() == "drifted"
    told = [line for line in world.keeper.checks()[DRIFT]["detail"] if "/vault" in line]
    assert ["client.new" in line for line in told] == [True]


def test_caps_that_change_between_the_look_and_the_act_are_looked_at_anew(world: World):
    world.gates.set(ISOLATE)
    world.servers.caps["client.stray"]["mon"] = "allow r fsname=cephfs"
    world.keeper.act()
    assert world.servers.done == []
    assert "changed meanwhile" in world.gates.show().rendered(None)[1]
    world.settle()
    assert world.state() == "set"
    assert world.servers.caps["client.stray"]["mon"] == "allow r fsname=cephfs"


def test_without_its_database_it_does_nothing(world: World):
    world.gates.set(ISOLATE)
    world.reachable = False
    assert not world.keeper.act()
    assert world.servers.done == []


@pytest.mark.parametrize(
    ("wanted", "code", "says"),
    [
        (Wanted("cepfs", "/vault", "isolate"), errno.ENOENT, 'did you mean "cephfs"?'),
        (Wanted("cephfs", "vault", "isolate"), errno.EINVAL, "does not begin with /"),
        (Wanted("cephfs", "/vault", "lock"), errno.EINVAL, "observe, require, isolate, exclude"),
        (Wanted("cephfs", "/vault", "require"), errno.EINVAL, "whole file system"),
        (Wanted("cephfs", "/", "isolate"), errno.EINVAL, "for a subtree"),
        (Wanted("cephfs", "/none", "isolate", "x"), errno.ENOENT, "no subtree /none is registered"),
        (Wanted("cephfs", "/vault", "isolate"), errno.EINVAL, "--namespace NAME"),
        (Wanted("cephfs", "/vault", "isolate", ""), errno.EINVAL, "--namespace NAME"),
        (Wanted("cephfs", "/vault", "isolate", 'a"b'), errno.EINVAL, "--namespace NAME"),
        (
            Wanted("cephfs", "/vault", "isolate", "x", admit="client.frend"),
            errno.ENOENT,
            'mean "client.friend"?',
        ),
        (Wanted("cephfs", "/vault", "exclude", "x"), errno.EINVAL, "--open"),
        (Wanted("cephfs", "/vault", "exclude", "x", open_paths="/vault/a"), errno.EINVAL, "cannot stay open"),
        (Wanted("cephfs", "/vault", "exclude", "x", open_paths="/"), errno.EINVAL, "cannot stay open"),
        (Wanted("cephfs", "/vault", "exclude", "x", open_paths="home"), errno.EINVAL, "does not begin"),
    ],
)
def test_refusals(world: World, wanted: Wanted, code: int, says: str):
    for act in (world.gates.preview, world.gates.set):
        result = act(wanted)
        assert (result.code, says in result.status, "nothing was changed" in result.status) == (
            code,
            True,
            True,
        ), result.status
    assert world.gates.show().rendered(None)[1].startswith("No gate is set")


def test_each_subtree_has_a_namespace_of_its_own(world: World):
    world.gates.set(ISOLATE)
    world.register("/second")
    result = world.gates.set(Wanted("cephfs", "/second", "isolate", namespace="fscrypt-1"))
    assert (result.code, "/vault" in result.status) == (errno.EEXIST, True)


def test_what_others_use_beside_is_asked_for_where_it_is_not_known(world: World):
    world.register("/wages")
    for act in (world.gates.preview, world.gates.set):
        refused = act(ISOLATE)
        assert (refused.code, "/wages is registered, too" in refused.status) == (errno.EINVAL, True)
        assert "nothing was changed" in refused.status
    assert world.gates.set(replace(ISOLATE, keep="fscrypt-2")).success
    world.settle()
    assert "namespace=fscrypt-2 " in world.osd("client.stray")
    # it was said once, and stays
    assert world.gates.set(ISOLATE).success
    assert world.gates.set(Wanted("cephfs", "/wages", "isolate", namespace="fscrypt-2")).success
    world.settle()
    assert "fscrypt-2" not in world.osd("client.stray")


def test_a_gate_on_a_subvolume_asks_for_the_others(world: World):
    one = Wanted("cephfs", "/vault", "isolate", namespace="fsvolumens_one")
    refused = world.gates.set(one)
    assert (refused.code, "--keep fsvolumens_NAME" in refused.status) == (errno.EINVAL, True)
    leaking = world.gates.set(replace(one, keep="fsvolumens_*"))
    assert (leaking.code, "to everybody" in leaking.status) == (errno.EINVAL, True)
    assert world.gates.set(replace(one, keep="fsvolumens_two")).success
    world.settle()
    assert "namespace=fsvolumens_two " in world.osd("client.stray")
    assert "fsvolumens_one" not in world.osd("client.stray")
    assert "fsvolumens_*" not in world.osd("client.stray")


def test_what_one_gate_keeps_is_not_taken_by_another(world: World):
    world.gates.set(ISOLATE)
    world.settle()
    world.register("/wages")
    world.gates.set(Wanted("cephfs", "/wages", "isolate", namespace="fsvolumens_one", keep="fsvolumens_two"))
    world.settle()
    assert "namespace=fsvolumens_two " in world.osd("client.stray")
    assert (world.state(), world.state("/wages")) == ("set", "set")


def test_the_observer_looks_only_where_there_is_something_to_look_for(world: World):
    acts: list[float] = []
    changed = [False]

    def act() -> bool:
        acts.append(world.observer.census().asked)
        return changed[0]

    def looks(watched: bool) -> int:
        acts.clear()
        world.observer.round(lambda: watched, act)
        return len(acts)

    assert (looks(watched=False), looks(watched=True)) == (0, 1)
    world.observer.refresh()
    assert looks(watched=False) == 0
    world.now += 60
    world.observer.refresh()
    changed[0] = True
    assert looks(watched=False) == 1
    changed[0] = False
    # what it changed is looked at at once, and once
    assert (looks(watched=False), looks(watched=False)) == (1, 0)
    world.observer.stop()
    world.observer.run(lambda: True, act)
    assert acts == []


def test_there_is_something_to_look_for(world: World):
    assert world.keeper.watched()
    world.subtrees.remove(1, "/vault")
    assert not world.keeper.watched()


def test_a_mistake_is_told_and_does_not_end_the_looking(world: World):
    def watched() -> bool:
        world.observer.stop()
        raise ZeroDivisionError

    world.observer.run(watched, bool)
    shown = world.audience.listing().rendered(None)[1]
    assert "host1" in shown
    assert "internal error (ZeroDivisionError)" in shown


def test_a_look_can_be_waited_for(world: World):
    observer = world.observer
    old = observer.census()
    world.now += 100
    assert observer.fresh(60) is old, "nobody looks"
    watcher = threading.Thread(target=observer.run, args=[lambda: False, lambda: False])
    watcher.start()
    try:
        # a look that is not asked for is not taken: nothing is watched
        while observer.fresh(60).asked != world.now:
            pass
        assert observer.fresh(60) is observer.census(), "one that is new is not waited for"
    finally:
        observer.stop()
        watcher.join()


def test_what_subvolume_authorize_adds_is_drift_where_it_reaches_a_gate_and_kept_elsewhere(world: World):
    """As `ceph fs subvolume authorize` writes it (doc/facts.md G4)."""
    world.gates.set(Wanted("cephfs", "/vault", "isolate", namespace="fsvolumens_one", keep="fsvolumens_two"))
    world.settle()
    other = "allow rw pool=cephfs_data namespace=fsvolumens_two"
    world.servers.caps["client.stray"]["osd"] += f", {other}"
    world.servers.caps["client.new"] = {"mds": "allow rw path=/two", "osd": other}
    world.settle()
    assert world.state() == "set"
    world.servers.caps["client.new"]["osd"] += ", allow rw pool=cephfs_data namespace=fsvolumens_one"
    world.settle()
    assert world.state() == "drifted"
    assert "the caps of client.new are not as the gate set them" in world.keeper.checks()[DRIFT]["detail"][0]
    world.gates.set(Wanted("cephfs", "/vault", "isolate", namespace="fsvolumens_one", keep="fsvolumens_two"))
    world.settle()
    assert (world.state(), world.osd("client.new")) == ("set", other)
    assert other in world.osd("client.stray")
