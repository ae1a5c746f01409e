"""Jobs on a real cluster: a verify is begun, shown, stopped and gone on with, whoever dies meanwhile.

18.2.7's mgr crashes by itself (doc/facts.md M1): what is asked of it starts it again.
"""

import errno
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect_guarded
from mgr_fscrypt.ceph.epochs import EpochLease
from mgr_fscrypt.ceph.errors import TurnTakenError
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.ceph.turn_records import TurnRecords, records_reached
from mgr_fscrypt.engine import FileSystem
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.messages import Policy, SubtreeFacts
from qa.fakes.engine_cases import SECRET
from qa.fakes.file_service import interpreter
from qa.lab.cluster import Cluster, ClusterError

KEY = MasterKey(SECRET).identifier.hex()
ENTRIES = 150
"""At one a second a job is long enough to be stopped at each step, also where a command takes ten seconds."""


@pytest.fixture(scope="module", autouse=True)
def _service(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The manager's service has the key of these tests."""
    keys = tmp_path_factory.mktemp("keys")
    (keys / KEY).touch(mode=0o600)
    (keys / KEY).write_bytes(SECRET)
    cluster.enable_module("fscrypt")
    python = interpreter(tmp_path_factory.mktemp("service"), keys)
    cluster.ceph("config", "set", "mgr", "mgr/fscrypt/service_python", str(python))
    cluster.ceph("config", "set", "mgr", "mgr/fscrypt/service", "child")
    cluster.wait("the service", lambda: "file_service" in command_of(serving(cluster)), timeout=120)
    yield
    cluster.ceph("config", "set", "mgr", "mgr/fscrypt/service_python", "")


def asked(cluster: Cluster, *command: str) -> Any:
    """What the module answers; the manager is started where it crashed."""
    cluster.start("mgr", "x")
    return json.loads(cluster.ceph("fscrypt", *command, "--format", "json", timeout=20))


def answered(cluster: Cluster, *command: str) -> Any:
    """The same, once the module, the service and its turn are there again."""
    found: list[Any] = []

    def answers() -> bool:
        found.append(asked(cluster, *command))
        return True

    cluster.wait(f"ceph fscrypt {' '.join(command)}", answers, timeout=120)
    return found[0]


def refused(cluster: Cluster, reason: str, *command: str) -> None:
    """See a command be refused for that reason, once the module is there."""

    def is_refused() -> bool:
        try:
            asked(cluster, *command)
        except ClusterError as error:
            return reason in str(error)
        pytest.fail(f"{' '.join(command)} was not refused")

    cluster.wait(f"{' '.join(command)} being refused: {reason}", is_refused)


def serving(cluster: Cluster) -> int:
    """The process of the service that works; 0 while there is none."""
    report = asked(cluster, "service", "status")
    return int(report["service"]["pid"]) if report["state"] == "serving" else 0


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def children(program: str) -> list[int]:
    """Processes that this one has started, and that run that program."""
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    started = (int(word) for each in found for word in each.read_text().split())
    return [pid for pid in started if program in command_of(pid)]


def until(cluster: Cluster, job: str, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """The job, once it is as wanted."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found.append(answered(cluster, "job", "show", job))
        return wanted(found[-1])

    cluster.wait(what, there, timeout=120)
    return found[-1]


def working(job: dict[str, Any], beyond: int = 0) -> bool:
    return job["state"] == "running" and job["done"] > beyond


def events(cluster: Cluster) -> dict[str, str]:
    """What `ceph -s` shows of jobs."""
    shown = cluster.ceph_json("status")["progress_events"]
    return {
        name.removeprefix("fscrypt-job-"): event["message"]
        for name, event in shown.items()
        if name.startswith("fscrypt-job-")
    }


@pytest.fixture
def registered(cluster: Cluster, mount: CephMount, files: FileSystem, subtree: str) -> Iterator[str]:
    """A subtree that the manager knows, with some entries."""
    for number in range(ENTRIES):
        files.mkdir(f"{subtree}/{number}")
    facts = SubtreeFacts(
        mount.stat(subtree.encode()).ino, "engine", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, KEY)
    )
    answered(cluster, "subtree", "adopt", "cephfs", subtree, "--report", facts.encode())
    yield subtree
    answered(cluster, "subtree", "forget", "cephfs", subtree)


def test_a_job_outlives_its_service_and_its_manager(cluster: Cluster, registered: str):
    begin = ("subtree", "verify", "cephfs", registered, "--rate", "1")
    job = answered(cluster, *begin)["id"]
    assert answered(cluster, *begin)["id"] == job
    until(cluster, job, working, "the job at work")
    if cluster.release == "tentacle":
        shown = f"fscrypt verify {registered} ("
        cluster.wait("the job in ceph -s", lambda: events(cluster).get(job, "").startswith(shown))

    assert answered(cluster, "job", "pause", job)["state"] in ("pausing", "paused")
    until(cluster, job, lambda found: found["state"] == "paused", "the pause")
    answered(cluster, "job", "resume", job)
    until(cluster, job, working, "the job at work again")

    killed = serving(cluster)
    os.kill(killed, signal.SIGKILL)
    cluster.wait("another service", lambda: serving(cluster) not in (0, killed), timeout=120)
    until(cluster, job, working, "the job at work by another service")

    before = cluster.ceph_json("mgr", "dump")["active_gid"]
    if cluster.release == "tentacle":
        cluster.ceph("mgr", "fail")
    else:
        cluster.kill("mgr", "x")
        cluster.start("mgr", "x")
    cluster.wait("another mgr", lambda: cluster.ceph_json("mgr", "dump")["active_gid"] not in (0, before))
    until(cluster, job, working, "the job at work under another manager")
    assert job in [each["id"] for each in answered(cluster, "job", "ls")["jobs"]]
    if cluster.release == "tentacle":
        cluster.wait("the job in ceph -s again", lambda: job in events(cluster))

    assert answered(cluster, "job", "cancel", job)["state"] in ("cancelling", "cancelled")
    until(cluster, job, lambda found: found["state"] == "cancelled", "the end")
    cluster.wait("its end in ceph -s", lambda: job not in events(cluster))
    answered(cluster, "job", "forget", job)
    refused(cluster, "ENOENT", "job", "show", job)


def test_a_verify_waits_for_its_key_and_tells_of_damage(cluster: Cluster, mount: CephMount, registered: str):
    mount.mkdir(f"{registered}/not encrypted".encode(), 0o755)
    answered(cluster, "key", "lock", KEY)
    job = answered(cluster, "subtree", "verify", "cephfs", registered)["id"]
    waiting = until(cluster, job, lambda found: found["state"] == "waiting", "the wait")
    assert f"key unlock {KEY}" in waiting["why"]
    # it may not be kept beyond jobs here, but jobs may have it again
    refused(cluster, "EPERM", "key", "unlock", KEY, "60")
    done = until(cluster, job, lambda found: found["state"] in ("done", "failed"), "the end")
    assert (done["state"], done["code"]) == ("done", 1), done["why"]
    assert done["result"]["entries"] == ENTRIES + 1
    assert done["result"]["findings"]["missing-context"] == 1
    assert done["result"]["first"][0]["stored"] == f"{registered}/not encrypted"
    assert "missing-context" in cluster.ceph("fscrypt", "job", "show", job)
    answered(cluster, "job", "forget", job)


def test_the_managers_entity_mounts_and_ends_what_its_dead_child_left(mount: CephMount):
    """libcephfs makes clients by their names only; the service is `mgr.x`."""

    def engines() -> set[str]:
        listed = (one.metadata for one in mount.sessions())
        return {each["uuid"] for each in listed if each["entity_id"] == "x" and "fscrypt_engine" in each}

    # a service that was killed leaves one for a while
    others = engines()
    with connect_guarded(Access(entity="mgr.x")) as guarded:
        (dying,) = engines() - others
        (child,) = children("mgr_fscrypt.ceph.guard.child")
        os.kill(child, signal.SIGKILL)
        assert guarded.stat(b"/").ino == mount.stat(b"/").ino
        (heir,) = engines() - others
        assert heir != dying
    assert engines() <= others


# what the OSD refuses


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TurnRecords, Callable[[], EpochLease]]]:
    """Records on an object of their own, and claims to its turns."""
    for module in ("epochs", "turn_records"):
        monkeypatch.setattr(f"mgr_fscrypt.ceph.{module}.OBJECT", "test-turns")
    with records_reached(Access()) as found:
        yield found, lambda: EpochLease(found._ioctx, "a test", 30)
        found._ioctx.remove_object("test-turns")


def test_records_are_written_in_their_turn_only(
    records: tuple[TurnRecords, Callable[[], EpochLease]],
):
    kept, claim = records
    assert list(kept.all()) == []
    one, two = claim(), claim()
    first = one.take()
    assert first is not None
    kept.write(first, {f"job.{number:03}": bytes([number % 256]) * 100 for number in range(600)})
    kept.write(first, {"job.000": b"new", "job.001": None})
    assert len(found := dict(kept.all())) == 599
    assert (found["job.000"], found["job.599"]) == (b"new", bytes([599 % 256]) * 100)
    one.release()
    second = two.take()
    assert second == first + 1
    for epoch in (first, second + 1, 10 * second):
        with pytest.raises(TurnTakenError) as refused:
            kept.write(epoch, {"job.000": b"late", "job.002": None})
        assert refused.value.errno == errno.EBUSY
    assert dict(kept.all()) == found
    kept.write(second, {"job.000": b"in time"})
    two.release()


def test_a_late_write_is_refused_however_it_races(
    records: tuple[TurnRecords, Callable[[], EpochLease]],
):
    kept, claim = records
    one, two = claim(), claim()
    first = one.take()
    assert first is not None
    done: list[int] = []

    def write() -> None:
        try:
            for number in range(100_000):
                kept.write(first, {"job.a": str(number).encode()})
                done.append(number)
        except TurnTakenError:
            pass

    thread = threading.Thread(target=write)
    thread.start()
    while len(done) < 20:
        pass
    one.release()
    assert two.take() is not None
    left = dict(kept.all())["job.a"]
    thread.join()
    assert dict(kept.all())["job.a"] == left == str(done[-1]).encode()
    two.release()
