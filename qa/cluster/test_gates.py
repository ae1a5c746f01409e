"""Gates on a real cluster: what they do to clients that are connected, and to those that come (doc/gating.md)."""

import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.cluster.test_manager import answered
from qa.facts.client import Client, Clients, RefusedError
from qa.fakes.engine_cases import SECRET, remove
from qa.lab.cluster import Cluster
from qa.load.program import done

EVERYWHERE = "allow rw tag cephfs data=cephfs"
LEASES = "allow rwx namespace=fscrypt.leases tag cephfs data=cephfs"
TEXT = b"what was there before"
NONE_KEPT = ("--keep", "")
"""Of other subtrees that may be registered, none has a namespace of its own."""


@dataclass(frozen=True)
class Place:
    """An encrypted subtree with a file in it, a plain directory beside it, a stray and a friend."""

    cluster: Cluster
    top: str
    namespace: str
    stray: str
    friend: str
    stored: str
    """The path of the subtree's file as those without the key see it."""

    @property
    def vault(self) -> str:
        return f"{self.top}/vault"

    @property
    def plain(self) -> str:
        return f"{self.top}/plain/file"

    def caps(self, entity: str) -> dict[str, str]:
        (found,) = self.cluster.ceph_json("auth", "get", f"client.{entity}")
        return dict(found["caps"])

    def gate(self, *words: str) -> str:
        return answered(self.cluster, "gate", *words)

    def shown(self) -> dict[str, Any]:
        """How the subtree's gate stands; empty: there is none."""
        gates = json.loads(self.gate("show", "cephfs", "--format", "json"))["gates"]
        return next((each for each in gates if each["path"] == self.vault), {})

    def becomes(self, state: str | None) -> None:
        self.cluster.wait(f"the gate: {state}", lambda: self.shown().get("state") == state)

    def listed(self) -> dict[int, str]:
        """The worst verdict on each session."""
        page = json.loads(answered(self.cluster, "client", "ls", "cephfs", "--format", "json"))
        return {line["session"]: line["verdict"] for line in page["clients"]}

    def verdict(self, client: Client) -> str:
        """Of the client on this subtree; there may be others about."""
        told = answered(self.cluster, "client", "explain", str(client.session), "--format", "json")
        found = {each["path"]: each["verdict"] for each in json.loads(told)["verdicts"]}
        return str(found.get(self.vault, "does not meet it"))

    def judges(self, client: Client, verdict: str) -> None:
        self.cluster.wait(f"session {client.session}: {verdict}", lambda: self.verdict(client) == verdict)


@pytest.fixture(scope="module", autouse=True)
def enabled(cluster: Cluster) -> None:
    cluster.enable_module("fscrypt")


@pytest.fixture
def place(cluster: Cluster, key: Path) -> Iterator[Place]:
    mark = uuid.uuid4().hex[:8]
    top, namespace = f"/gates-{mark}", f"fscrypt-{mark}"
    with connect(Access()) as mount:
        mount.mkdir(top.encode(), 0o777)
        mount.mkdir(f"{top}/plain".encode(), 0o777)
    done("subtree", "create", f"{top}/vault", "--make", "--namespace", namespace, "--key", key)
    with connect(Access()) as mount, opened(mount) as files:
        with files.create(f"{top}/vault/secret".encode()) as file:
            file.pwrite(TEXT, 0)
        (entry,) = mount.scandir(f"{top}/vault".encode())
    made = Place(
        cluster, top, namespace, f"stray-{mark}", f"friend-{mark}", f"{top}/vault/{os.fsdecode(entry.name)}"
    )
    caps = ("mon", "allow r", "mds", "allow rw", "osd")
    cluster.ceph("auth", "get-or-create", f"client.{made.stray}", *caps, EVERYWHERE)
    cluster.ceph("auth", "get-or-create", f"client.{made.friend}", *caps, f"{EVERYWHERE}, {LEASES}")
    yield made
    made.gate("set", "cephfs", made.vault, "observe")
    made.becomes(None)
    for entity in (made.stray, made.friend):
        cluster.ceph("auth", "rm", f"client.{entity}")
    answered(cluster, "subtree", "forget", "cephfs", made.vault)
    with connect(Access()) as mount:
        remove(mount, top.encode())


@contextmanager
def opened(mount: Any) -> Iterator[FileSystem]:
    keyring = Keyring()
    keyring.add(MasterKey(SECRET))
    with FileSystem(mount, keyring, durable_close=True) as files:
        yield files


@pytest.fixture
def clients(cluster: Cluster) -> Iterator[Clients]:
    with Clients(cluster) as made:
        yield made


@pytest.fixture
def stray(place: Place, clients: Clients) -> Client:
    """A plain libcephfs client, which is connected before there is a gate, and writes."""
    client = entering(place, clients)
    write(client, place.plain)
    write(client, f"{place.vault}/before")
    return client


@pytest.fixture
def friend(place: Place, tmp_path: Path) -> Iterator[FileSystem]:
    """Our engine, by an entity that is admitted: connected all the time."""
    keyring = tmp_path / "friend"
    keyring.write_text(place.cluster.ceph("auth", "get", f"client.{place.friend}"))
    with connect(Access(entity=f"client.{place.friend}", keyring=keyring)) as mount, opened(mount) as files:
        yield files


def entering(place: Place, clients: Clients, root: str = "/") -> Client:
    """The stray, connected anew."""
    key = place.cluster.ceph("auth", "get-key", f"client.{place.stray}")
    return clients.open(place.stray, root=root, key=key)


def write(client: Client, path: str) -> None:
    """Write something that has reached the OSD when it returns."""
    handle = client.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    client.write(handle, b"plaintext", 0)
    client.fsync(handle, 0)
    client.close(handle)


def refused(number: int, act: Any, *arguments: Any) -> None:
    with pytest.raises(RefusedError) as found:
        act(*arguments)
    assert found.value.errno == number


def works(friend: FileSystem, place: Place) -> None:
    """A capable client reads and writes."""
    name = f"{place.vault}/{uuid.uuid4().hex[:8]}".encode()
    with friend.create(name) as file:
        file.pwrite(TEXT, 0)
    with friend.open(f"{place.vault}/secret".encode()) as file:
        assert file.pread(100, 0) == TEXT


def test_isolate(place: Place, stray: Client, friend: FileSystem, clients: Clients):
    works(friend, place)
    # of subtrees without a gate, one of each mode is told of: it may be another one than this
    place.cluster.wait("the stray being told of", lambda: place.listed().get(stray.session) == "harmful")
    explained = answered(place.cluster, "client", "explain", str(stray.session))
    assert "does not know fscrypt" in explained
    asked = (
        "cephfs",
        place.vault,
        "isolate",
        "--namespace",
        place.namespace,
        "--admit",
        f"client.{place.friend}",
        *NONE_KEPT,
    )
    before = place.caps(place.stray), place.caps(place.friend)

    preview = json.loads(place.gate("preview", *asked, "--format", "json"))
    assert stray.session in [each["session"] for each in preview["cut_off"]]
    assert place.friend not in " ".join(preview["commands"])
    assert (place.caps(place.stray), place.caps(place.friend)) == before

    place.gate("set", *asked)
    place.becomes("set")
    command = next(line for line in preview["commands"] if place.stray in line)
    assert place.caps(place.stray)["osd"] in command
    assert place.caps(place.friend) == before[1]

    # who is connected goes on as before, and is told of, until it is evicted
    write(stray, f"{place.vault}/still")
    place.judges(stray, "harmful")
    assert "until it is evicted" in answered(place.cluster, "client", "explain", str(stray.session))
    stray.evict()
    refused(errno.ESHUTDOWN, write, stray, f"{place.vault}/evicted")
    works(friend, place)

    # who connects now is kept from contents by the OSDs, and from nothing else
    anew = entering(place, clients)
    write(anew, place.plain)
    handle = anew.open(place.stored, os.O_RDONLY, 0)
    refused(errno.EPERM, anew.read, handle, 0, 100)
    refused(errno.EPERM, write, anew, place.stored)
    place.judges(anew, "blind")
    works(friend, place)
    anew.truncate(place.stored, 0)
    anew.unlink(place.stored)

    place.gate("set", "cephfs", place.vault, "observe")
    place.becomes(None)
    assert (place.caps(place.stray), place.caps(place.friend)) == before


def test_exclude(place: Place, stray: Client, friend: FileSystem, clients: Clients):
    before = place.caps(place.stray)
    stray.evict()
    words = (
        "--namespace",
        place.namespace,
        "--admit",
        f"client.{place.friend}",
        "--open",
        f"{place.top}/plain",
        *NONE_KEPT,
    )
    place.gate("set", "cephfs", place.vault, "exclude", *words)
    place.becomes("set")
    with pytest.raises(RuntimeError, match="error calling ceph_mount: Operation not permitted"):
        entering(place, clients)
    inside = entering(place, clients, f"{place.top}/plain")
    write(inside, "/file")
    place.judges(inside, "does not meet it")
    works(friend, place)
    place.gate("set", "cephfs", place.vault, "observe")
    place.becomes(None)
    assert place.caps(place.stray) == before


def test_drift_is_told(place: Place):
    # a slip of the pen is found by what the MDS knows, before anything is changed
    place.gate("set", "cephfs", place.vault, "isolate", "--namespace", "fscrypt-slip", *NONE_KEPT)
    place.cluster.wait(
        "the trouble", lambda: f"--namespace {place.namespace}" in place.shown().get("trouble", "")
    )
    assert place.caps(place.stray)["osd"] == EVERYWHERE
    words = ("set", "cephfs", place.vault, "isolate", "--namespace", place.namespace, *NONE_KEPT)
    place.gate(*words)
    place.becomes("set")
    if place.cluster.release == "tentacle":
        # this rewrites OSD caps (doc/facts.md G5)
        place.cluster.ceph("fs", "authorize", "cephfs", f"client.{place.stray}", "/", "r")
    else:
        place.cluster.ceph("auth", "caps", f"client.{place.stray}", "mds", "allow rw", "osd", EVERYWHERE)
    place.becomes("drifted")
    checks = lambda: place.cluster.ceph_json("health", "detail")["checks"]  # noqa: E731 - said once
    place.cluster.wait("the health check", lambda: "FSCRYPT_GATE_DRIFT" in checks())
    assert place.stray in json.dumps(checks()["FSCRYPT_GATE_DRIFT"]["detail"])
    place.gate(*words)
    place.becomes("set")
    assert 'namespace=""' in place.caps(place.stray)["osd"]


def test_require(place: Place, friend: FileSystem):
    def names() -> list[str]:
        (found,) = place.cluster.ceph_json("fs", "dump")["filesystems"]
        return list(found["mdsmap"]["required_client_features"].values())

    place.gate("set", "cephfs", "/", "require")
    place.cluster.wait("the feature", lambda: "alternate_name" in names())
    works(friend, place)
    place.gate("set", "cephfs", "/", "observe")
    place.cluster.wait("it gone", lambda: "alternate_name" not in names())
    works(friend, place)
