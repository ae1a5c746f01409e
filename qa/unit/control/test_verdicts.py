"""Verdicts, as a table: who, on what, with which caps."""

from dataclasses import replace
from typing import Any

import pytest

from mgr_fscrypt.control.caps import Rights
from mgr_fscrypt.control.clients import Client, Software, client_of
from mgr_fscrypt.control.verdicts import Kind, Place, may_be_harmful, verdict

ALL = Rights(meets=True, changes=True, reads=True, writes=True)
READER = Rights(meets=True, changes=False, reads=True, writes=False)
ISOLATED = Rights(meets=True, changes=True, reads=False, writes=False)
EXCLUDED = Rights(meets=False, changes=False, reads=True, writes=True)
ENGINE = Place("/vault", "engine")
KERNEL = Place("/vault", "kernel")

LISTED: dict[str, Any] = {
    "id": 4301,
    "entity": {"addr": {"addr": "10.0.0.7:0", "nonce": 77}},
    "state": "open",
    "num_caps": 3,
    "uptime": 100.5,
    "client_metadata": {
        "client_features": {"feature_bits": "0x00000000003fffff"},
        "entity_id": "app",
        "hostname": "web1",
        "root": "/",
    },
}
REEF = "ceph version 18.2.7 (abc) reef (stable)"
TENTACLE = "ceph version 20.2.4 (abc) tentacle (stable)"


def client(managers: frozenset[str] = frozenset(), **metadata: Any) -> Client:
    listed = LISTED | {"client_metadata": LISTED["client_metadata"] | metadata}
    return client_of(listed, managers, now=1000.0)


OURS = client(ceph_version=TENTACLE, fscrypt_engine="1")
LIBRARY = client(ceph_version=TENTACLE)
OLD_LIBRARY = client(ceph_version=REEF)
FUTURE = client(ceph_version="ceph version 21.0.0 (abc) umbrella (dev)")
FUSE = client(ceph_version=REEF, mount_point="/mnt")
GANESHA = client(ceph_version=REEF, uuid="ganesha-nfs.a-0001")
SAMBA = client(ceph_version=REEF, entity_id="smb.fs.x")
NEW = client(kernel_version="6.12.48+deb13-amd64")
FIRST = client(kernel_version="6.6.0")
OLD = client(kernel_version="6.1.0-40-amd64")
VENDOR = client(kernel_version="5.14.0-503.11.1.el9_5.x86_64")
ODD = client(kernel_version="custom")
MANAGER = client(frozenset({"10.0.0.7:0/77"}), ceph_version=TENTACLE)
SILENT = client()


@pytest.mark.parametrize(
    ("who", "place", "rights", "kind", "says"),
    [
        (OURS, ENGINE, ALL, Kind.HARMLESS, "our engine"),
        (OURS, KERNEL, None, Kind.HARMLESS, "our engine"),
        (LIBRARY, ENGINE, ALL, Kind.HARMFUL, "libcephfs 20.2 does not know fscrypt"),
        (LIBRARY, ENGINE, None, Kind.HARMFUL, "plaintext"),
        (LIBRARY, ENGINE, READER, Kind.BLIND, "do not let it write"),
        (LIBRARY, ENGINE, ISOLATED, Kind.BLIND, "may still truncate"),
        (LIBRARY, ENGINE, EXCLUDED, Kind.HARMLESS, "MDS caps of client.app do not reach"),
        (LIBRARY, KERNEL, ALL, Kind.HARMFUL, "aborted by truncates"),
        # knowing an inode is enough to be aborted
        (LIBRARY, KERNEL, READER, Kind.HARMFUL, "aborted by truncates"),
        (LIBRARY, KERNEL, ISOLATED, Kind.HARMFUL, "aborted by truncates"),
        (LIBRARY, KERNEL, EXCLUDED, Kind.HARMLESS, "MDS caps"),
        (OLD_LIBRARY, ENGINE, ALL, Kind.HARMFUL, "libcephfs 18.2"),
        (FUSE, ENGINE, ALL, Kind.HARMFUL, "ceph-fuse 18.2"),
        (GANESHA, ENGINE, ALL, Kind.HARMFUL, "a gateway"),
        (SAMBA, KERNEL, ALL, Kind.HARMFUL, "a gateway"),
        (FUTURE, ENGINE, ALL, Kind.UNKNOWN, "newer than all"),
        (FUTURE, ENGINE, ISOLATED, Kind.BLIND, "OSD caps"),
        (FUTURE, KERNEL, ISOLATED, Kind.UNKNOWN, "newer than all"),
        (NEW, KERNEL, ALL, Kind.HARMLESS, "knows fscrypt"),
        (NEW, ENGINE, ALL, Kind.BLIND, "EPERM"),
        (FIRST, KERNEL, ALL, Kind.HARMLESS, "kernel 6.6.0"),
        (OLD, KERNEL, ALL, Kind.HARMFUL, "older than 6.6"),
        (OLD, ENGINE, ALL, Kind.HARMFUL, "older than 6.6"),
        (OLD, KERNEL, ISOLATED, Kind.BLIND, "OSD caps"),
        (OLD, KERNEL, READER, Kind.BLIND, "do not let it write"),
        (VENDOR, KERNEL, ALL, Kind.UNKNOWN, "its vendor"),
        (ODD, KERNEL, ALL, Kind.UNKNOWN, '"custom"'),
        (MANAGER, KERNEL, ALL, Kind.BLIND, "ceph-mgr's own"),
        (SILENT, ENGINE, ALL, Kind.UNKNOWN, "does not say what it is"),
    ],
)
def test_verdicts(who: Client, place: Place, rights: Rights | None, kind: Kind, says: str):
    found = verdict(who, place, rights)
    assert (found.kind, says in found.reason) == (kind, True), found.reason


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (OURS, False),
        (NEW, False),
        (MANAGER, False),
        (VENDOR, False),
        (LIBRARY, True),
        (FUSE, True),
        (OLD, True),
    ],
)
def test_who_may_be_harmful_at_all(who: Client, expected: bool):
    assert may_be_harmful(who) == expected


@pytest.mark.parametrize(
    ("root", "kind"),
    [
        ("/", Kind.HARMFUL),
        ("/vault", Kind.HARMFUL),
        ("/vault/inner", Kind.HARMFUL),
        ("/plain", Kind.HARMLESS),
        ("/vaults", Kind.HARMLESS),
    ],
)
def test_a_client_meets_what_it_mounted(root: str, kind: Kind):
    assert verdict(replace(LIBRARY, root=root), ENGINE, ALL).kind is kind


@pytest.mark.parametrize(
    ("rights", "said"), [(ALL, True), (None, True), (ISOLATED, False), (EXCLUDED, False)]
)
def test_a_session_is_told_to_have_other_caps_where_that_is_of_matter(rights: Rights | None, said: bool):
    found = verdict(LIBRARY, ENGINE, rights, outdated=True)
    assert found.kind is verdict(LIBRARY, ENGINE, rights).kind
    assert ("until it is evicted" in found.reason) == said


def test_what_is_read_of_a_session():
    expected = Client(
        number=4301,
        entity="client.app",
        host="web1",
        address="10.0.0.7:0/77",
        root="/",
        software=Software.LIBRARY,
        release=(20, 2),
        text=TENTACLE,
        features=0x3FFFFF,
        since=899.5,
        state="open",
        capabilities=3,
    )
    assert expected == LIBRARY
    assert LIBRARY.speaks_alternate_names
    assert not client(client_features={"feature_bits": "0x7fff"}).speaks_alternate_names
    assert (
        client_of(LISTED | {"auth_name": {"type_str": "mgr", "id": "x"}}, set(), 0).software
        is Software.MANAGER
    )


@pytest.mark.parametrize("broken", [{}, {"client_metadata": {}}, LISTED | {"client_metadata": None}])
def test_what_is_no_session(broken: dict[str, Any]):
    with pytest.raises((KeyError, TypeError, AttributeError)):
        client_of(broken, frozenset(), 0)
