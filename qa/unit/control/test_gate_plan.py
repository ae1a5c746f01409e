"""Plans, as a table: caps before and after."""

from dataclasses import replace

import pytest

from mgr_fscrypt.control.caps import FileSystemPools
from mgr_fscrypt.control.clients import Client, Software
from mgr_fscrypt.control.gate_plan import Enclosure, Plan, cut_off, planned

CEPHFS = FileSystemPools("cephfs", frozenset({"cephfs_data"}))
ISOLATE = Enclosure(CEPHFS, "/vault", "fscrypt-1", frozenset({"client.friend"}))
EXCLUDE = replace(ISOLATE, excluding=True, open_paths=("/home", "/srv"))
EVERYWHERE = "allow rw tag cephfs data=cephfs"
NARROW = (
    'allow rw namespace="" tag cephfs data=cephfs, allow rw namespace=fscrypt.leases tag cephfs data=cephfs, '
    "allow rw namespace=fsvolumens_* tag cephfs data=cephfs"
)
STRAY = Client(
    number=7,
    entity="client.stray",
    host="web1",
    address="10.0.0.7:0/1",
    root="/",
    software=Software.LIBRARY,
    release=(20, 2),
    text="ceph version 20.2.4",
    features=None,
    since=100.0,
    state="open",
    capabilities=1,
)


def plan(
    osd: str,
    mds: str = "allow rw",
    enclosure: Enclosure = ISOLATE,
    entity: str = "client.stray",
    others: tuple[Enclosure, ...] = (),
    file_systems: tuple[str, ...] = ("cephfs",),
) -> Plan:
    caps = {"mon": "allow r", "mds": mds, "osd": osd}
    return planned(
        {entity: {service: text for service, text in caps.items() if text}},
        [enclosure, *others],
        originals={},
        file_systems=file_systems,
    )


@pytest.mark.parametrize(
    ("osd", "after"),
    [
        (EVERYWHERE, NARROW),
        (f"{EVERYWHERE}, allow rw pool=rbd", f"{NARROW}, allow rw pool=rbd"),
        (
            "allow r pool=cephfs_data",
            'allow r pool=cephfs_data namespace="", allow r pool=cephfs_data namespace=fscrypt.leases, '
            "allow r pool=cephfs_data namespace=fsvolumens_*",
        ),
        # what it uses already stays
        (
            "allow rw tag cephfs data=cephfs, allow rw namespace=mine tag cephfs data=cephfs",
            f"{NARROW}, allow rw namespace=mine tag cephfs data=cephfs",
        ),
        (
            'allow rw namespace="" tag cephfs data=cephfs,allow rw namespace=fscrypt-1 tag cephfs data=cephfs',
            'allow rw namespace="" tag cephfs data=cephfs',
        ),
        ("allow rw namespace=fscrypt-1 pool=cephfs_data", None),
    ],
)
def test_isolate_narrows_osd_caps(osd: str, after: str | None):
    found = plan(osd)
    if after is None:
        assert [(each.entity, found.changes) for each in found.untouched] == [("client.stray", ())]
        return
    (change,) = found.changes
    assert change.after == {"mon": "allow r", "mds": "allow rw", "osd": after}
    assert planned({change.entity: change.after}, [ISOLATE], originals={}, file_systems=()).changes == ()


@pytest.mark.parametrize(
    "osd",
    [
        "",
        NARROW,
        'allow rw namespace="" tag cephfs data=cephfs',
        "allow rw tag cephfs data=other",
        "allow rwx pool=rbd,profile rbd pool=images",
        "allow class-read object_prefix rbd_children",
    ],
)
def test_what_does_not_reach_the_subtree_is_left_as_it_is_written(osd: str):
    assert plan(osd) == Plan((), ())


@pytest.mark.parametrize(
    ("osd", "says"),
    [
        ("allow *", "every pool"),
        ("allow rw", "every pool"),
        ("allow rw tag cephfs data=*", "more than this file system"),
        ("allow rw namespace=fs* tag cephfs data=cephfs", "all namespaces of that beginning"),
        ("allow pool foo rwx", "not understood"),
        ("profile rbd", "every pool"),
    ],
)
def test_caps_that_cannot_be_narrowed_are_left_alone_and_reported(osd: str, says: str):
    found = plan(osd)
    assert found.changes == ()
    (left,) = found.untouched
    assert says in left.why


def test_mds_caps_that_are_not_understood_leave_all_alone():
    found = plan(EVERYWHERE, "allow rx")
    assert (found.changes, "not understood" in found.untouched[0].why) == ((), True)


def test_daemons_are_no_clients():
    assert plan("allow *", entity="osd.0") == plan(EVERYWHERE, entity="mgr.x") == Plan((), ())


@pytest.mark.parametrize(
    ("osd", "mds", "after"),
    [
        (EVERYWHERE, "allow rw", None),
        (
            'allow rw namespace="" tag cephfs data=cephfs',
            "allow rw",
            'allow rw namespace="" tag cephfs data=cephfs, allow rw namespace=fscrypt-1 tag cephfs data=cephfs',
        ),
        ("", "allow r path=/vault", "allow r namespace=fscrypt-1 tag cephfs data=cephfs"),
    ],
)
def test_the_admitted_get_what_they_lack(osd: str, mds: str, after: str | None):
    found = plan(osd, mds, entity="client.friend")
    assert [change.after["osd"] for change in found.changes] == ([] if after is None else [after])
    assert found.untouched == ()


def test_an_admitted_entity_that_cannot_get_there_is_told():
    (left,) = plan(EVERYWHERE, "allow rw path=/home", entity="client.friend").untouched
    assert "do not reach" in left.why


SECOND = replace(ISOLATE, path="/second", namespace="fscrypt-2", admitted=frozenset({"client.stray"}))


@pytest.mark.parametrize("enclosures", [(ISOLATE, SECOND), (SECOND, ISOLATE)])
def test_other_gates_stay_open_to_their_own(enclosures: tuple[Enclosure, Enclosure]):
    (change,) = plan(EVERYWHERE, enclosure=enclosures[0], others=enclosures[1:]).changes
    assert change.after["osd"] == f"{NARROW}, allow rw namespace=fscrypt-2 tag cephfs data=cephfs"


def test_one_gate_less_leaves_the_other_closed():
    both = [ISOLATE, replace(ISOLATE, path="/second", namespace="fscrypt-2")]
    caps = {"mds": "allow rw", "osd": EVERYWHERE}
    (change,) = planned({"client.stray": caps}, both, originals={}, file_systems=()).changes
    assert change.original == caps
    now, originals = {"client.stray": change.after}, {"client.stray": caps}
    assert planned(now, both[1:], originals=originals, file_systems=()).changes == ()
    (back,) = planned(now, [], originals=originals, file_systems=()).changes
    assert back.after == caps


@pytest.mark.parametrize(
    ("enclosure", "others"),
    [
        (replace(ISOLATE, namespace="fsvolumens_a"), ()),
        (ISOLATE, (replace(ISOLATE, path="/volumes/a", namespace="fsvolumens_a"),)),
    ],
)
def test_an_enclosed_subvolume_is_not_let_in_by_its_beginning(
    enclosure: Enclosure, others: tuple[Enclosure, ...]
):
    (change,) = plan(EVERYWHERE, enclosure=enclosure, others=others).changes
    assert "fsvolumens" not in change.after["osd"]


def test_namespaces_that_are_kept():
    (change,) = plan(EVERYWHERE, enclosure=replace(ISOLATE, kept=("logs",))).changes
    assert change.after["osd"] == f"{NARROW}, allow rw namespace=logs tag cephfs data=cephfs"


@pytest.mark.parametrize(
    ("mds", "after"),
    [
        ("allow rw", "allow rw fsname=cephfs path=/home, allow rw fsname=cephfs path=/srv"),
        (
            "allow rwp fsname=cephfs path=/",
            "allow rwp fsname=cephfs path=/home, allow rwp fsname=cephfs path=/srv",
        ),
        (
            "allow r, allow rw path=/home",
            "allow r fsname=cephfs path=/home, allow r fsname=cephfs path=/srv, allow rw path=/home",
        ),
        ("allow rw path=/vault", ""),
        ("allow rw path=/vault/inner, allow rw path=/home/a", "allow rw path=/home/a"),
        ("allow rw path=/home", "allow rw path=/home"),
        ("allow rw fsname=other", "allow rw fsname=other"),
    ],
)
def test_exclude_limits_mds_caps(mds: str, after: str):
    found = plan(NARROW, mds, EXCLUDE)
    assert found.untouched == ()
    assert [change.after.get("mds", "") for change in found.changes] == ([] if mds == after else [after])


def test_exclude_leaves_other_file_systems_as_they_are():
    (change,) = plan(
        NARROW, "allow rw", replace(EXCLUDE, open_paths=("/home",)), file_systems=("b", "cephfs")
    ).changes
    assert change.after["mds"] == "allow rw fsname=cephfs path=/home, allow rw fsname=b"


def test_exclude_leaves_those_alone_that_command_mdss():
    found = plan(EVERYWHERE, "allow *", EXCLUDE)
    assert (found.changes, "command the MDSs" in found.untouched[0].why) == ((), True)


def test_the_lines_do_it_and_take_it_back():
    (change,) = plan(EVERYWHERE).changes
    assert change.command == f"ceph auth caps client.stray mds 'allow rw' mon 'allow r' osd '{NARROW}'"
    assert change.undo == f"ceph auth caps client.stray mds 'allow rw' mon 'allow r' osd '{EVERYWHERE}'"


@pytest.mark.parametrize(
    ("enclosure", "client", "loses", "keeps"),
    [
        (ISOLATE, STRAY, "reading and writing", "truncate"),
        (EXCLUDE, STRAY, "can no longer mount /, only /home or /srv", ""),
        (EXCLUDE, replace(STRAY, root="/home"), None, None),
        (ISOLATE, replace(STRAY, root="/home"), None, None),
        (ISOLATE, replace(STRAY, entity="client.friend"), None, None),
        (ISOLATE, replace(STRAY, software=Software.MANAGER), None, None),
        (ISOLATE, replace(STRAY, software=Software.ENGINE), "reading and writing", "truncate"),
    ],
)
def test_who_is_cut_off(enclosure: Enclosure, client: Client, loses: str | None, keeps: str | None):
    found = cut_off([client], plan(EVERYWHERE, enclosure=enclosure).changes, enclosure)
    if loses is None:
        assert found == ()
    else:
        assert loses in found[0].loses
        assert (keeps or "") in found[0].keeps
        assert bool(keeps) == bool(found[0].keeps)
