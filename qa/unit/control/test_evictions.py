"""Evictions and fences, whole, in memory: who is ended and when, who never is, the brake, what is taken back."""

import errno
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from mgr_fscrypt.control.caps import Rights
from mgr_fscrypt.control.eviction_answers import EVICTION, EvictionLine, EvictionPage, EvictionPreview
from mgr_fscrypt.control.eviction_plan import powers
from mgr_fscrypt.control.evictor import AT_ONCE, BLOCKED, RATE
from mgr_fscrypt.control.gates import Wanted
from mgr_fscrypt.control.rungs import RungPage
from mgr_fscrypt.store import LocalDatabase
from qa.fakes.gating import EVERYWHERE, EXCLUDE, ISOLATE, OBSERVE, World, furnished
from qa.fakes.servers import session

EVICT = Wanted("cephfs", "/vault", "evict", grace=0)
FENCE = Wanted("cephfs", "/vault", "fence", grace=0)
STRAY = "10.0.0.7:0/1"


@pytest.fixture
def world() -> Iterator[World]:
    with closing(LocalDatabase()) as database:
        yield furnished(database)


@pytest.fixture
def isolated(world: World) -> World:
    """The stray is connected from before the gate, and writes."""
    assert world.rungs.set(ISOLATE).success
    world.settle()
    world.now += 1
    world.servers.done.clear()
    world.acts.clear()
    return world


def listed(world: World, *sessions: dict[str, Any]) -> None:
    world.servers.listed["cephfs", 0] = list(sessions)
    world.observer.look()


def there(world: World) -> list[int]:
    return [each["id"] for each in world.servers.listed["cephfs", 0]]


def line(world: World) -> EvictionLine:
    page = world.evictions.show("cephfs", "/vault").answer
    assert isinstance(page, EvictionPage)
    (found,) = page.evictions
    return found


def due(world: World, wanted: Wanted) -> dict[int, str]:
    preview = world.rungs.preview(wanted).answer
    assert isinstance(preview, EvictionPreview)
    return {each.client.number: each.why for each in preview.chosen.due}


def spared(world: World, wanted: Wanted) -> dict[int, str]:
    preview = world.rungs.preview(wanted).answer
    assert isinstance(preview, EvictionPreview)
    return {each.client.number: each.why for each in preview.chosen.spared}


def shown(world: World) -> str:
    return world.rungs.show("cephfs", "/vault").rendered(None)[1]


def test_a_preview_names_who_is_ended_and_ends_nobody(isolated: World):
    text = isolated.rungs.preview(replace(EVICT, grace=60)).rendered(None)[1]
    for words in (
        "client.stray",
        "host1",
        "libcephfs 20.2",
        "1970-01-01 02:47:41 UTC",
        "list, truncate, rename, chmod, remove",
        "does not know fscrypt",
        "What they have not written yet is lost",
    ):
        assert words in text
    isolated.settle()
    assert isolated.servers.done == []
    assert isolated.evictions.show().answer == EvictionPage((), detailed=False)


def test_the_harmful_are_ended_and_kept_from_coming_back_with_what_they_had(isolated: World):
    assert isolated.rungs.set(EVICT).success
    isolated.settle()
    # refused by the OSDs before its capabilities go
    assert isolated.servers.done == [("block", STRAY), ("evict", "1")]
    assert there(isolated) == [2, 3, 999]
    assert (line(isolated).state, [each.session for each in line(isolated).own]) == ("set", [1])
    (act,) = isolated.acts
    assert act[:3] == ("gate carry out", "cephfs", "/vault")
    assert "evict: ending session 1 of client.stray on host1 (libcephfs 20.2, 10.0.0.7:0/1)" in act[3]
    assert (
        "10.0.0.7:0/1) at 1970-01-01 02:46:41 UTC: its address is refused until 1970-01-01 03:46:41"
        in shown(isolated)
    )
    # anew, with the caps of today, it is let alone
    listed(isolated, session(8, uptime=-1))
    isolated.settle()
    assert there(isolated) == [8]
    assert "set so already" in isolated.rungs.set(EVICT).status


def test_one_with_what_the_gate_took_is_ended_though_it_harms_nobody(isolated: World):
    listed(isolated, session(4, kernel_version="6.12.48"), session(5, "else", kernel_version="6.12.48"))
    assert {
        number: "connected before the gate took it: reading and writing" in why
        for number, why in due(isolated, EVICT).items()
    } == {4: True}


def test_who_is_never_ended(isolated: World):
    for entity in ("client.nfs.a", "client.batch"):
        isolated.servers.caps[entity] = {"mds": "allow rw", "osd": EVERYWHERE}
    listed(
        isolated,
        session(2, "stray", fscrypt_engine="1"),
        session(3, root="/plain"),
        session(4, "friend"),
        session(5, "nfs.a"),
        session(6, "batch"),
        session(999),
    )
    # 18.2's manager, before the monitors know of its clients
    isolated.servers.caps["mgr.x"] = {"mds": "allow *"}
    isolated.servers.listed["cephfs", 0].append(session(7, "x"))
    isolated.observer.look()
    wanted = replace(EVICT, keep="client.batch")
    assert due(isolated, wanted) == {}
    assert 7 not in due(isolated, FENCE)
    assert {
        number: why.partition(";")[0].partition(":")[0] for number, why in spared(isolated, wanted).items()
    } == {
        4: "admitted by the gate",
        5: "a gateway, for many who are not seen here",
        6: "kept by --keep",
    }
    assert "Left alone:" in isolated.rungs.preview(wanted).rendered(None)[1]
    isolated.rungs.set(wanted)
    isolated.settle()
    assert isolated.servers.done == []
    # a gateway goes when it is named
    assert list(due(isolated, replace(wanted, gateways="client.nfs.a"))) == [5]


def test_grace_is_given_and_told(isolated: World):
    assert isolated.rungs.set(replace(EVICT, grace=60)).success
    isolated.settle()
    assert (line(isolated).state, isolated.servers.done) == ("announced", [])
    check = isolated.evictor.checks()[EVICTION]
    assert "session 1 of client.stray on host1 is ended at 1970-01-01 02:47:41 UTC" in check["detail"][0]
    isolated.now += 59
    isolated.settle()
    assert isolated.servers.done == []
    isolated.now += 1
    # who comes meanwhile has its own time
    isolated.servers.listed["cephfs", 0].append(session(7, "else", uptime=10))
    isolated.settle()
    assert ("evict", "1") in isolated.servers.done
    assert (line(isolated).state, 7 in there(isolated)) == ("announced", True)
    isolated.now += 50
    listed(isolated, session(7, "else", uptime=60))
    isolated.settle()
    assert line(isolated).state == "set"
    assert EVICTION not in isolated.evictor.checks()


def test_the_brake(isolated: World):
    listed(isolated, *(session(number) for number in range(10, 22)))
    reply = isolated.rungs.set(EVICT)
    assert "none is ended without `--confirm 12`" in reply.status
    assert "more than 10" in isolated.rungs.preview(EVICT).rendered(None)[1]
    isolated.settle()
    assert (line(isolated).state, isolated.servers.done) == ("stopped", [])
    (asks, _) = isolated.evictor.checks()[EVICTION]["detail"]
    assert "0 sessions were ended and 12 are to be, of 10 that may be" in asks
    assert "gate set cephfs /vault evict --confirm 12" in asks
    assert isolated.rungs.set(replace(EVICT, confirm=12)).success
    isolated.settle()
    assert (line(isolated).state, there(isolated)) == ("set", [])
    # one more is one too many; the same command lets it go on
    isolated.now += 1
    listed(isolated, session(30))
    isolated.settle()
    assert line(isolated).state == "stopped"
    assert isolated.rungs.set(replace(EVICT, confirm=12)).success
    isolated.settle()
    assert line(isolated).state == "set"


def test_the_rate(isolated: World):
    listed(isolated, *(session(number) for number in range(100, 100 + RATE + 2)))
    isolated.rungs.set(replace(EVICT, confirm=100))
    isolated.observer.look()
    assert isolated.act()
    assert len(there(isolated)) == RATE + 2 - AT_ONCE
    isolated.settle()
    assert (len(there(isolated)), line(isolated).state) == (2, "evicting")
    isolated.now += 61
    isolated.settle()
    assert there(isolated) == []


def test_caps_come_first(isolated: World):
    isolated.rungs.set(EXCLUDE)
    assert isolated.rungs.set(EVICT).success
    assert line(isolated).state == "waiting"
    isolated.evictor.act()
    assert isolated.servers.done == []
    isolated.settle()
    assert isolated.servers.done[0][0] == "caps"
    assert isolated.servers.done[-1] == ("evict", "1")


def test_a_gate_is_needed(world: World):
    refused = world.rungs.set(EVICT)
    assert (refused.code, "would come back as it was" in refused.status) == (errno.EINVAL, True)
    assert "gate preview cephfs /vault isolate" in refused.status
    world.rungs.set(ISOLATE)
    world.settle()
    world.rungs.set(EVICT)
    world.gates.set(OBSERVE)
    world.settle()
    assert line(world).state == "stuck"
    assert "its gate is gone" in world.evictor.checks()[EVICTION]["detail"][0]
    assert ("evict", "1") not in world.servers.done


def test_observe_lifts_what_was_blocked(isolated: World):
    isolated.servers.blocklist["10.0.0.9:0/1"] = isolated.now + 100
    isolated.rungs.set(EVICT)
    isolated.settle()
    reply = isolated.rungs.set(OBSERVE)
    assert "no more sessions are ended, and 1 addresses are being let in again" in reply.status
    assert line(isolated).state == "ending"
    isolated.settle()
    # somebody else's stays
    assert list(isolated.servers.blocklist) == ["10.0.0.9:0/1"]
    assert not isolated.evictor.watched()
    assert isolated.rungs.show("cephfs", "/vault").code == errno.ENOENT
    assert "10.0.0.7:0/1 was taken from the blocklist" in isolated.acts[-1][3]
    assert (
        "refused until 1970-01-01 02:46:41 UTC, when that was lifted"
        in isolated.audience.explain(1).rendered(None)[1]
    )


def test_a_lower_rung_ends_no_more_and_leaves_the_blocklist_to_its_time(isolated: World):
    isolated.rungs.set(EVICT)
    isolated.settle()
    reply = isolated.rungs.set(ISOLATE)
    assert "1 addresses are refused until the blocklist lets go of them" in reply.status
    isolated.settle()
    assert STRAY in isolated.servers.blocklist
    assert not isolated.evictor.watched()
    # which `observe` still lifts
    isolated.rungs.set(OBSERVE)
    isolated.settle()
    assert isolated.servers.blocklist == {}


def test_an_ended_session_is_explained(isolated: World):
    isolated.rungs.set(EVICT)
    isolated.settle()
    text = isolated.audience.explain(1).rendered(None)[1]
    for words in (
        "session 1 of cephfs was ended by this module at 1970-01-01 02:46:41 UTC",
        "libcephfs 20.2 on host host1 (10.0.0.7:0/1)",
        "it was ended for /vault: libcephfs 20.2 does not know fscrypt",
        "refused until 1970-01-01 03:46:41 UTC",
        "gate set cephfs /vault observe",
    ):
        assert words in text
    assert (
        json.loads(isolated.audience.explain(1, "cephfs").rendered("json")[1])["ended"][0]["entity"]
        == "client.stray"
    )
    isolated.now += BLOCKED
    assert "not refused (any more)" in isolated.audience.explain(1).rendered(None)[1]


@pytest.mark.parametrize("silent", ["mon", "cephfs"])
def test_what_a_silent_server_left_undone_is_done_later_and_told_once(isolated: World, silent: str):
    isolated.rungs.set(EVICT)
    isolated.observer.look()
    isolated.servers.silent = {silent}
    for _ in range(3):
        assert not isolated.evictor.act()
    assert "did not answer" in shown(isolated)
    assert [("begun" in act[3] or "ending" in act[3], "is not done" in act[3]) for act in isolated.acts] == [
        (True, False),
        (False, True),
    ]
    isolated.servers.silent = set()
    # what was tried before is looked at again in time, and not at once
    for _ in range(2):
        isolated.settle()
    assert (there(isolated), line(isolated).state, line(isolated).eviction.trouble) == (
        [2, 3, 999],
        "set",
        "",
    )
    assert isolated.acts[-1][3].endswith("goes on")


def test_nobody_is_ended_by_what_was_seen_before_the_servers_fell_silent(isolated: World):
    isolated.rungs.set(EVICT)
    isolated.servers.silent = {"mds"}
    isolated.observer.look()
    assert line(isolated).state == "waiting"
    assert not isolated.evictor.act()
    assert isolated.servers.done == []


@pytest.mark.parametrize("blocked", [False, True])
def test_a_manager_that_dies_in_between_is_succeeded(isolated: World, blocked: bool):
    isolated.rungs.set(EVICT)
    (target,) = line(isolated).ripe
    isolated.evictions.begin(line(isolated), target)
    if blocked:
        isolated.servers.block(STRAY, BLOCKED)
    successor = isolated.succeed()
    for _ in range(2):
        successor.settle()
    assert (line(successor).state, [each.session for each in line(successor).own]) == ("set", [1])
    assert (there(successor), STRAY in successor.servers.blocklist) == ([2, 3, 999], True)


def test_who_is_let_in_while_others_are_ended_is_left_alone(isolated: World):
    isolated.rungs.set(EVICT)
    found = line(isolated)
    (target,) = found.ripe
    assert isolated.rungs.set(replace(ISOLATE, admit="client.stray")).success
    isolated.rungs.set(EVICT)
    assert isolated.evictions.begin(found, target).code == errno.EAGAIN
    assert isolated.evictions.ended() == ()


def test_without_its_database_it_ends_nobody(isolated: World):
    isolated.rungs.set(EVICT)
    isolated.reachable = False
    assert not isolated.evictor.act()
    assert isolated.servers.done == []


def test_a_fence_ends_all_that_can_meet_the_subtree(world: World):
    listed(
        world,
        session(1),
        session(2, "friend", fscrypt_engine="1"),
        session(3, root="/plain"),
        session(4, "friend", kernel_version="6.12.48", root="/vault/inner"),
        session(999),
    )
    assert world.rungs.set(FENCE).success
    world.settle()
    assert there(world) == [2, 3, 999]
    found = line(world)
    assert (found.state, found.eviction.complete > 0) == ("fenced", True)
    assert (
        "fence: complete: no session but ours can meet it, 2 were ended, and all OSDs have map 3"
        in world.acts[-1][3]
    )
    assert "complete    since" in shown(world)
    # a fence stays one, and is told of when it is none any more
    world.now += 30
    listed(world, session(5))
    world.settle()
    assert [
        ("no longer complete: session 5 of client.stray" in act[3], "complete: no session" in act[3])
        for act in world.acts[-3:]
    ] == [
        (True, False),
        (False, False),
        (False, True),
    ]


def test_a_fence_without_a_gate_is_taken_back(world: World):
    world.rungs.set(FENCE)
    world.settle()
    reply = world.rungs.set(OBSERVE)
    assert reply.status == (
        "/vault of cephfs: no more sessions are ended, and 1 addresses are being let in again"
    )
    world.settle()
    assert (world.servers.blocklist, world.evictor.watched()) == ({}, False)


def test_a_fence_waits_for_the_osds(world: World):
    world.servers.lagging = {1}
    world.rungs.set(FENCE)
    world.settle()
    assert line(world).state == "open"
    assert "osd.1 do not have map 2 yet" in world.evictor.checks()[EVICTION]["detail"][0]
    world.servers.lagging = set()
    world.servers.maps[1] = world.servers.newest
    world.settle()
    assert (line(world).state, line(world).eviction.trouble) == ("fenced", "")
    world.settle()
    assert EVICTION not in world.evictor.checks()


@pytest.mark.parametrize(
    ("wanted", "holding", "says"),
    [
        (
            replace(FENCE, keep="client.stray"),
            set(),
            "some are left alone: session 1 of client.stray on host1: kept",
        ),
        (FENCE, {3}, "sessions 3 hold capabilities on it"),
    ],
)
def test_a_fence_with_somebody_inside_is_not_complete(
    world: World, wanted: Wanted, holding: set[int], says: str
):
    world.servers.holding[1000] = holding | {2, 999}
    world.rungs.set(wanted)
    world.settle()
    assert line(world).state == "open"
    assert says in line(world).eviction.trouble
    world.settle()
    assert [says in act[3] for act in world.acts].count(True) == 1


def test_a_session_that_is_not_understood_keeps_a_fence_open(world: World):
    world.servers.listed["cephfs", 0].append({"id": 5})
    world.rungs.set(FENCE)
    world.settle()
    assert "1 sessions are not understood" in line(world).eviction.trouble


def test_what_a_fence_ended_is_refused_for_as_long_as_it_stands(world: World):
    world.rungs.set(FENCE)
    world.settle()
    world.now += BLOCKED - 100
    world.settle()
    assert world.servers.blocklist[STRAY] == world.now + BLOCKED
    # also when somebody else lifts it
    world.servers.blocklist.clear()
    for _ in range(2):
        world.settle()
    assert STRAY in world.servers.blocklist


@pytest.mark.parametrize(
    "meanwhile", ["an MDS is silent", "it is asked for in other words", "it was an eviction"]
)
def test_a_fence_is_renewed_whatever_comes_in_between(isolated: World, meanwhile: str):
    isolated.rungs.set(EVICT if meanwhile == "it was an eviction" else FENCE)
    isolated.settle()
    isolated.now += 5
    if meanwhile == "an MDS is silent":
        isolated.servers.silent = {"mds"}
    else:
        isolated.rungs.set(replace(FENCE, grace=7))
        isolated.settle()
    isolated.now += BLOCKED - 100
    isolated.settle()
    assert isolated.servers.blocklist[STRAY] == isolated.now + BLOCKED


@pytest.mark.parametrize("rung", [OBSERVE, replace(ISOLATE, keep="")])
def test_what_another_fence_stands_on_stays_refused(world: World, rung: Wanted):
    world.rungs.set(FENCE)
    world.settle()
    world.register("/other")
    world.rungs.set(replace(FENCE, path="/other"))
    world.settle()
    reply = world.rungs.set(rung)
    assert reply.success
    assert " 1 addresses" not in reply.status
    world.settle()
    assert STRAY in world.servers.blocklist
    world.now += BLOCKED - 100
    world.settle()
    assert world.servers.blocklist[STRAY] == world.now + BLOCKED
    # nobody stands on it any more
    world.rungs.set(replace(OBSERVE, path="/other"))
    world.settle()
    assert world.servers.blocklist == {}


def test_another_subtree_at_the_path_inherits_nothing(world: World):
    known = world.subtrees.at(1, "/vault")
    assert known is not None
    world.rungs.set(FENCE)
    world.subtrees.remove(1, "/vault")
    world.settle()
    assert (line(world).state, "not registered any more: register it" in line(world).asks) == ("stuck", True)
    world.subtrees.put(replace(known, inode=4711))
    world.settle()
    assert (line(world).state, world.servers.done) == ("stuck", [])
    assert (
        "another subtree is at that path by now: set `fence` again"
        in world.evictor.checks()[EVICTION]["detail"][0]
    )
    # which is not the same once more
    assert "fence is set; 1 sessions" in world.rungs.set(FENCE).status
    world.settle()
    assert (line(world).state, ("evict", "1") in world.servers.done) == ("fenced", True)


def test_grace_begins_anew_when_it_is_registered_again(world: World):
    known = world.subtrees.at(1, "/vault")
    assert known is not None
    world.rungs.set(replace(FENCE, grace=60))
    world.subtrees.remove(1, "/vault")
    world.now += 1000
    world.settle()
    world.subtrees.put(replace(known, registered=int(world.now)))
    world.settle()
    assert (line(world).state, world.servers.done) == ("announced", [])
    world.now += 61
    world.settle()
    assert ("evict", "1") in world.servers.done


def test_a_session_that_is_ended_for_two_subtrees_counts_for_both(world: World):
    world.register("/other")
    for wanted in (FENCE, replace(FENCE, path="/other")):
        world.rungs.set(wanted)
    world.settle()
    page = world.evictions.show("cephfs").answer
    assert isinstance(page, EvictionPage)
    assert [(each.eviction.path, [one.session for one in each.own]) for each in page.evictions] == [
        ("/other", [1]),
        ("/vault", [1]),
    ]
    # and stays refused until neither stands on it
    for path, blocked in (("/other", 1), ("/vault", 0)):
        world.rungs.set(replace(OBSERVE, path=path))
        world.settle()
        assert len(world.servers.blocklist) == blocked


def test_options_of_other_rungs_are_refused(isolated: World):
    for wanted, option in (
        (replace(EVICT, namespace="x"), "--namespace"),
        (replace(FENCE, open_paths="/home"), "--open"),
        (replace(ISOLATE, grace=5), "--grace"),
        (replace(ISOLATE, gateways="client.a"), "--gateway"),
    ):
        for act in (isolated.rungs.preview, isolated.rungs.set):
            refused = act(wanted)
            assert (
                refused.code,
                refused.status.startswith(option),
                "nothing was changed" in refused.status,
            ) == (
                errno.EINVAL,
                True,
                True,
            )


@pytest.mark.parametrize(
    ("wanted", "code", "says"),
    [
        (Wanted("cepfs", "/vault", "fence"), errno.ENOENT, 'did you mean "cephfs"?'),
        (Wanted("cephfs", "vault", "fence"), errno.EINVAL, "does not begin with /"),
        (Wanted("cephfs", "/none", "fence"), errno.ENOENT, "no subtree /none is registered"),
        (Wanted("cephfs", "/vault", "fence", keep="client.stry"), errno.ENOENT, 'mean "client.stray"?'),
        (Wanted("cephfs", "/vault", "fence", gateways="nfs"), errno.ENOENT, 'no entity "nfs"'),
        (Wanted("cephfs", "/vault", "fence", grace=-1), errno.EINVAL, "--grace -1"),
        (Wanted("cephfs", "/vault", "fence", confirm=10**9), errno.EINVAL, "--confirm 1000000000"),
    ],
)
def test_refusals(world: World, wanted: Wanted, code: int, says: str):
    for act in (world.rungs.preview, world.rungs.set):
        refused = act(wanted)
        assert (refused.code, says in refused.status) == (code, True), refused.status
    assert not world.evictor.watched()
    assert world.succeed().rungs.set(FENCE).code == errno.EAGAIN


def test_all_is_shown_together(isolated: World):
    isolated.rungs.set(EVICT)
    page = isolated.rungs.show().answer
    assert isinstance(page, RungPage)
    simplified = page.simplified()
    assert [each["rung"] for each in (*simplified["gates"], *simplified["evictions"])] == ["isolate", "evict"]
    assert page.plain().index("isolate") < page.plain().index("evict")
    isolated.rungs.set(OBSERVE)
    isolated.keeper.act()
    # the caps are back, and what was blocked is not yet
    alone = isolated.rungs.show("cephfs", "/vault").answer
    assert isinstance(alone, RungPage)
    assert (alone.simplified()["gates"], "ending" in alone.plain()) == ([], True)


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        (None, "what its caps say, which are not understood"),
        (Rights(meets=False, changes=False, reads=True, writes=True), "do nothing"),
        (
            Rights(meets=True, changes=True, reads=True, writes=True),
            "list, read, write, truncate, rename, chmod, remove",
        ),
        (Rights(meets=True, changes=False, reads=True, writes=True), "list, read"),
    ],
)
def test_rights_in_words(rights: Rights | None, words: str):
    assert powers(rights) == words
