import errno
import json
import threading
from typing import Any

import pytest

from mgr_fscrypt.control.doctor_checks import Layout, Modules, Pool, Schedule
from mgr_fscrypt.control.observing import SilentError
from mgr_fscrypt.servers import ManagedServers


class Result:
    def __init__(self) -> None:
        self.ev = threading.Event()
        self.r, self.outb, self.outs = 0, "", ""


class Manager:
    """ceph-mgr as a module sees it: maps, and answers to commands by their prefix; None does not come."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.scheduled: Any = (0, "", "")
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.maps: dict[str, Any] = {"fs_map": {"filesystems": []}, "mgr_map": {}}

    def get(self, name: str) -> Any:
        return self.maps[name]

    def get_module_option_ex(self, module: str, key: str, default: object = None) -> Any:
        assert (module, key) == ("progress", "enabled")
        return default

    def remote(self, module: str, method: str, *words: object, **more: object) -> Any:
        assert (module, method, words) == ("snap_schedule", "snap_schedule_list", ("/",))
        assert more == {"recursive": True, "fs": "a"}
        if isinstance(self.scheduled, Exception):
            raise self.scheduled
        return self.scheduled

    def send_command(self, result: Result, kind: str, name: str, command: str, tag: str) -> None:
        asked = json.loads(command)
        self.asked.append((kind, name, asked))
        answer = self.answers[asked["prefix"].replace(" ", "_")]
        if answer is None:
            return
        if isinstance(answer, int):
            result.r, result.outs = answer, "no"
        else:
            result.outb = answer if isinstance(answer, str) else json.dumps(answer)
        result.ev.set()


def servers(**answers: Any) -> tuple[ManagedServers, Manager]:
    manager = Manager(**answers)
    return ManagedServers(manager, Result, patience=0.05), manager


def test_file_systems_are_told_by_their_maps():
    asked, manager = servers(
        osd_lspools=[{"poolnum": 2, "poolname": "meta"}, {"poolnum": 3, "poolname": "data"}]
    )
    manager.maps["fs_map"]["filesystems"] = [
        {
            "id": 7,
            "mdsmap": {
                "fs_name": "a",
                "data_pools": [3, 9],
                "in": [0, 1],
                "required_client_features": {"feature_15": "alternate_name"},
            },
        }
    ]
    (found,) = asked.served()
    assert (found.file_system.fscid, found.pools.name, found.pools.data) == (7, "a", {"data"})
    assert (found.ranks, found.required) == ((0, 1), {"alternate_name"})
    manager.maps["mgr_map"] = {"active_clients": [{"addrvec": [{"addr": "10.0.0.1:0", "nonce": 5}]}]}
    assert asked.manager_addresses() == {"10.0.0.1:0/5"}


@pytest.mark.parametrize(
    "text", ["[]", " [ ] ", '[{"id":1}]', '\n[\n{"id": 1}\n,\n {"id": 2, "a": [1, "]"]}\n]\n']
)
def test_sessions_are_read_one_by_one(text: str):
    asked, manager = servers(session_ls=text)
    assert asked.sessions("a", 1) == json.loads(text)
    assert manager.asked == [("mds", "a:1", {"prefix": "session ls"})]


@pytest.mark.parametrize("text", ["", "none", "[", '[{"id":1}', '[{"id":1}, x]'])
def test_what_is_no_list_is_an_error(text: str):
    with pytest.raises(SilentError, match=r"mds\.a:0"):
        servers(session_ls=text)[0].sessions("a", 0)


@pytest.mark.parametrize(
    ("answer", "namespace"),
    [
        ('{"layout": {"pool_id": 2, "pool_ns": "x"}}', "x"),
        ('{"layout": {"pool_id": 2, "pool_ns": ""}}', ""),
        ('{"layout": {"pool_id": -1, "pool_ns": ""}}', None),
        ("dump inode failed, wrong inode number or the inode is not cached", None),
    ],
)
def test_the_namespace_of_a_directory(answer: str, namespace: str | None):
    asked, manager = servers(dump_inode=answer)
    manager.maps["fs_map"]["filesystems"] = [{"id": 1, "mdsmap": {"fs_name": "a", "in": [0]}}]
    assert asked.namespace_of("a", 7) == namespace
    assert manager.asked == [("mds", "a:0", {"prefix": "dump inode", "number": 7})]
    assert asked.namespace_of("b", 7) is None


def test_keys_of_entities_are_not_kept():
    listed = {"auth_dump": [{"entity": "client.a", "key": "secret", "caps": {"mon": "allow r"}}]}
    asked, manager = servers(auth_ls=listed, auth_get=listed["auth_dump"], auth_caps="")
    assert asked.entities() == {"client.a": {"mon": "allow r"}}
    assert asked.caps_of("client.a") == {"mon": "allow r"}
    asked.set_caps("client.a", {"osd": "allow r", "mds": "allow"})
    assert manager.asked[-1][2] == {
        "prefix": "auth caps",
        "entity": "client.a",
        "caps": ["mds", "allow", "osd", "allow r"],
    }


def test_a_change_that_nobody_waits_for_any_more_may_still_come_about():
    made: list[Result] = []

    def answering() -> Result:
        made.append(Result())
        return made[-1]

    manager = Manager(auth_caps=None, osd_lspools=[])
    asked = ManagedServers(manager, answering, patience=0.05)
    with pytest.raises(SilentError, match="did not answer `auth caps`"):
        asked.set_caps("client.a", {"osd": "allow r"})
    with pytest.raises(SilentError, match="have not ended a change"):
        asked.served()
    made[0].ev.set()
    assert asked.served() == []


def test_features():
    asked, manager = servers(fs_required_client_features="")
    for required in (True, False):
        asked.require_feature("a", "alternate_name", required=required)
    assert [each[2]["subop"] for each in manager.asked] == ["add", "rm"]


@pytest.mark.parametrize(
    ("answer", "says"), [(None, r"did not answer .* in 0\.05 s"), (-13, "refused .*: no")]
)
def test_a_server_that_is_silent_or_refuses(answer: int | None, says: str):
    with pytest.raises(SilentError, match=says):
        servers(auth_ls=answer)[0].entities()


def test_what_the_doctor_asks():
    asked, manager = servers(
        versions={"mon": {"ceph version 20.2.4": 1}},
        osd_pool_ls=[
            {"pool_id": 2, "pool_name": "data", "type": 1, "flags_names": "hashpspool"},
            {"pool_id": 3, "pool_name": "coded", "type": 3, "flags_names": "hashpspool,ec_overwrites"},
        ],
        dump_inode={"layout": {"pool_id": 2, "pool_ns": "", "stripe_count": 4}},
    )
    manager.maps["fs_map"]["filesystems"] = [{"id": 7, "mdsmap": {"fs_name": "a", "in": [0]}}]
    assert asked.versions() == {"mon": {"ceph version 20.2.4": 1}}
    assert asked.pools() == [Pool(2, "data", False, False), Pool(3, "coded", True, True)]
    assert asked.layout_of("a", 1) == Layout(2, 4)
    assert asked.layout_of("other", 1) is None
    manager.maps["mgr_map"] = {"modules": ["prometheus"], "always_on_modules": {"tentacle": ["progress"]}}
    assert asked.modules() == Modules(frozenset({"prometheus", "progress"}), True)


def test_schedules_of_snapshots():
    asked, manager = servers()
    manager.scheduled = ImportError("it is never asked")
    assert asked.schedules("a") == ()
    manager.maps["mgr_map"] = {"modules": ["snap_schedule"]}
    with pytest.raises(SilentError, match="never asked"):
        asked.schedules("a")
    # as 18.2 and 20.2 print them: the retention may be empty
    manager.scheduled = (0, "/a b 1h 7d\n/c 1d ", "")
    assert asked.schedules("a") == [Schedule("/a b", "1h", "7d"), Schedule("/c", "1d", "")]
    manager.scheduled = (-errno.ENOENT, "", "SnapSchedule for / not found")
    assert asked.schedules("a") == ()
    manager.scheduled = (-errno.EIO, "", "no database")
    with pytest.raises(SilentError, match="no database"):
        asked.schedules("a")


def test_the_blocklist():
    text = '\n[{"addr":"10.0.0.1:0/5","until":"2026-11-30T21:10:18.304348+0000"}]listed 1 entries'
    asked, manager = servers(osd_blocklist_ls=text, osd_blocklist="")
    assert asked.blocklisted() == {"10.0.0.1:0/5": pytest.approx(1796073018.304348)}
    asked.block("10.0.0.1:0/6", 60)
    asked.lift("10.0.0.1:0/6")
    assert [each[2] for each in manager.asked[1:]] == [
        {"prefix": "osd blocklist", "blocklistop": "add", "addr": "10.0.0.1:0/6", "expire": 60},
        {"prefix": "osd blocklist", "blocklistop": "rm", "addr": "10.0.0.1:0/6"},
    ]


def test_a_session_is_evicted_at_each_rank():
    asked, manager = servers(client_evict="")
    asked.evict("a", (0, 2), 7)
    assert [each[1] for each in manager.asked] == ["a:0", "a:2"]
    assert manager.asked[0][2] == {"prefix": "client evict", "filters": ["id=7"]}


def test_who_holds_a_directory():
    asked, manager = servers(dump_inode='{"layout": {}, "client_caps": [{"client_id": 4}, {"client_id": 5}]}')
    manager.maps["fs_map"]["filesystems"] = [{"id": 1, "mdsmap": {"fs_name": "a", "in": [0, 1]}}]
    assert asked.holders("a", 7) == {4, 5}


def test_osds_without_the_newest_map():
    tree = {
        "nodes": [{"id": -1, "type": "root"}, {"id": 0, "type": "osd"}],
        "stray": [{"id": 3, "type": "osd"}],
    }
    asked, manager = servers(osd_stat={"epoch": 9}, osd_tree=tree, status={"newest_map": "8"})
    assert (asked.epoch(), asked.osds_behind(8), asked.osds_behind(9)) == (9, [], [0, 3])
    assert ("osd", "3", {"prefix": "status"}) in manager.asked
    with pytest.raises(SilentError, match=r"osd\.0 did not answer `status`"):
        servers(osd_tree=tree, status=None)[0].osds_behind(9)
