"""Gates on a real cluster: what they do to clients that are connected, and to those that come (doc/gating.md)."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.engine import FileSystem
from qa.cluster.test_manager import answered
from qa.facts.client import Client, Clients, RefusedError
from qa.gate.place import EVERYWHERE, NONE_KEPT, Place, befriended, made, works
from qa.gate.story import Story
from qa.gate.strays import FuseStray, LibraryStray
from qa.lab.cluster import Cluster


@pytest.fixture(scope="module", autouse=True)
def enabled(cluster: Cluster) -> None:
    cluster.enable_module("fscrypt")


@pytest.fixture
def place(cluster: Cluster, key: Path) -> Iterator[Place]:
    with made(cluster, key) as found:
        yield found


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
    with befriended(place, tmp_path) as files:
        yield files


def listed(place: Place) -> dict[int, str]:
    """The worst verdict on each session."""
    page = json.loads(place.asked("client", "ls", "cephfs", "--format", "json"))
    return {line["session"]: line["verdict"] for line in page["clients"]}


def judges(place: Place, client: Client, verdict: str) -> None:
    """The client is judged so on this subtree; there may be others about."""

    def judged() -> bool:
        told = place.asked("client", "explain", str(client.session), "--format", "json")
        found = {each["path"]: each["verdict"] for each in json.loads(told)["verdicts"]}
        return found.get(place.vault, "does not meet it") == verdict

    place.cluster.wait(f"session {client.session}: {verdict}", judged)


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


def test_isolate(place: Place, stray: Client, friend: FileSystem, clients: Clients):
    works(friend, place)
    # of subtrees without a gate, one of each mode is told of: it may be another one than this
    place.cluster.wait("the stray being told of", lambda: listed(place).get(stray.session) == "harmful")
    explained = answered(place.cluster, "client", "explain", str(stray.session))
    assert "does not know fscrypt" in explained
    asked = ("cephfs", place.vault, "isolate", *place.isolating)
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
    judges(place, stray, "harmful")
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
    judges(place, anew, "blind")
    works(friend, place)
    anew.truncate(place.stored, 0)
    anew.unlink(place.stored)

    place.gate("set", "cephfs", place.vault, "observe")
    place.becomes(None)
    assert (place.caps(place.stray), place.caps(place.friend)) == before


def test_exclude(place: Place, stray: Client, friend: FileSystem, clients: Clients):
    before = place.caps(place.stray)
    stray.evict()
    place.set("exclude", *place.isolating, "--open", f"{place.top}/plain")
    with pytest.raises(RuntimeError, match="error calling ceph_mount: Operation not permitted"):
        entering(place, clients)
    inside = entering(place, clients, f"{place.top}/plain")
    write(inside, "/file")
    judges(place, inside, "does not meet it")
    works(friend, place)
    place.gate("set", "cephfs", place.vault, "observe")
    place.becomes(None)
    assert place.caps(place.stray) == before


def as_promised(story: Story) -> None:
    assert [row for row in story.rows if not row.ok] == []


def test_evicted_and_fenced(place: Place, friend: FileSystem, clients: Clients):
    """As `qa/run gate --client libcephfs`, the part about those whose sessions are ended."""
    story = Story(place, friend, lambda root: LibraryStray(place, clients, root), "libcephfs")
    story.isolated()
    ended = next(
        each
        for each in json.loads(place.asked("audit", "ls", "--format", "json"))["acts"]
        if "ending session" in each["result"]
    )
    number = ended["result"].split("ending session ")[1].split()[0]
    assert "was ended by this module" in place.asked("client", "explain", number)
    story.fenced()
    as_promised(story)


def test_ceph_fuse_is_fenced(place: Place, friend: FileSystem, tmp_path: Path):
    """As `qa/run gate --client ceph-fuse`, sampled."""
    story = Story(place, friend, lambda root: FuseStray(place, tmp_path, root), "ceph-fuse")
    story.fenced()
    as_promised(story)


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
