"""The engine service beside a real cluster: as ceph-mgr's child, and by itself.

18.2.7's mgr crashes by itself (doc/facts.md M1): what is asked of it starts it again, and how fast it comes back is not
asserted there.
"""

import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.cluster import Cluster as Rados
from mgr_fscrypt.ceph.epochs import DURATION, NAMESPACE, EpochLease, reached
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.messages.exchange import Answer, Request
from mgr_fscrypt.messages.lines import Lines, line_of
from mgr_fscrypt.messages.service import (
    Ask,
    Done,
    Greeting,
    Hello,
    KeyState,
    Lock,
    Said,
    ServiceStatus,
    Shutdown,
    StatusQuestion,
    Trouble,
    Unlock,
)
from qa.fakes.api_client import ROOT as API
from qa.fakes.api_client import ApiServer
from qa.fakes.api_client import served as api_served
from qa.fakes.file_service import interpreter
from qa.lab.cluster import Cluster, ClusterError
from qa.load.promptness import prompt

ROOT = Path(__file__).resolve().parents[2]
SECRET = bytes(range(7, 71))
KEY = MasterKey(SECRET).identifier.hex()
WAIT = 60.0


def processes() -> dict[int, str]:
    """Services that run (and are not merely waiting to be reaped), with their command lines."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "python" in words.split(" ")[0] and (
            "mgr_fscrypt.service" in words or "qa.fakes.file_service" in words
        ):
            found[int(entry.name)] = words
    return found


def until(found: Callable[[], bool], what: str, timeout: float = WAIT) -> float:
    """Seconds until it is so."""
    begun = time.monotonic()
    while not found():
        assert time.monotonic() < begun + timeout, f"{what} did not come in {timeout:.0f} s"
        time.sleep(0.05)
    return time.monotonic() - begun


class Connection:
    """To a service by its path."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._lines = Lines()
        self._number = 0

    def ask(self, ask: Ask) -> Said:
        self._number += 1
        self._socket.sendall(line_of(Request(self._number, ask).encode()))
        while True:
            data = self._socket.recv(65_536)
            assert data, "the service closed the connection"
            for line in self._lines.feed(data):
                answer = Answer.decode(line)
                assert answer.number == self._number
                return answer.said

    def status(self) -> ServiceStatus:
        said = self.ask(StatusQuestion())
        assert isinstance(said, ServiceStatus)
        return said

    def close(self) -> None:
        self._socket.close()


class OwnService:
    """A service that runs by itself."""

    def __init__(self, directory: Path, keys: Path, *more: str) -> None:
        self.path = directory / "run" / "service.sock"
        self._connections: list[Connection] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "qa.fakes.file_service", str(keys), "--socket", str(self.path), *more],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def connected(self) -> Connection:
        until(lambda: self.process.poll() is not None or self.path.exists(), "the socket")

        def connect() -> bool:
            assert self.process.poll() is None
            try:
                self._connections.append(Connection(self.path))
            except (ConnectionRefusedError, FileNotFoundError):
                return False
            return True

        until(connect, "a connection")
        return self._connections[-1]

    def end(self) -> str:
        """What it said."""
        self.process.terminate()
        return self.process.communicate(timeout=30)[1]

    def clear(self) -> None:
        """Leave nothing of it."""
        for connection in self._connections:
            connection.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The directory that the key manager of these tests has its key in."""
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    (directory / KEY).touch(mode=0o600)
    (directory / KEY).write_bytes(SECRET)
    return directory


@pytest.fixture(autouse=True, scope="module")
def _no_child(cluster: Cluster) -> Iterator[None]:
    """Tests begin without a service of the manager's."""
    options(cluster, service="off")
    until(lambda: not processes(), "the end of the manager's service", 90)
    yield
    options(cluster, service="child")


def options(cluster: Cluster, **values: str) -> None:
    """Set options of the module; ceph-mgr does not see that one is removed."""
    for name, value in values.items():
        cluster.ceph("config", "set", "mgr", f"mgr/fscrypt/{name}", value)


@contextmanager
def started(directory: Path, keys: Path, *more: str) -> Iterator[OwnService]:
    directory.mkdir(exist_ok=True)
    service = OwnService(directory, keys, *more)
    try:
        yield service
    finally:
        service.clear()


# the turn


@pytest.fixture
def lease() -> Iterator[Callable[[float], EpochLease]]:
    with Rados(Access()) as rados:
        ioctx = rados.ioctx(rados.file_system().metadata_pool, NAMESPACE)
        made: list[EpochLease] = []

        def make(duration: float) -> EpochLease:
            made.append(EpochLease(ioctx, f"test {len(made)}", duration))
            return made[-1]

        yield make
        for each in made:
            each.release()
        ioctx.close()


def test_turns_are_counted_and_never_two_at_a_time(lease: Callable[[float], EpochLease]):
    one, two = lease(30), lease(30)
    first = one.take()
    assert first is not None
    assert two.take() is None
    assert two.holder() == "test 0"
    assert not two.renew()
    two.release()
    assert one.renew()
    one.release()
    assert not one.renew()
    assert two.take() == first + 1
    assert one.take() is None


def test_a_turn_that_is_not_renewed_ends(lease: Callable[[float], EpochLease]):
    one, two = lease(2), lease(30)
    first = one.take()
    assert first is not None
    begun = time.monotonic()
    until(lambda: two.take() is not None, "the next turn")
    took = time.monotonic() - begun
    assert took > 1.5
    prompt(took, 4)
    assert not one.renew()


def test_a_file_system_that_is_not_there():
    with pytest.raises(FileNotFoundError), reached(Access(file_system="none"), "test"):
        pass


# by itself


def test_keys_by_hand(tmp_path: Path, keys: Path):
    with started(tmp_path, keys, "--resident-limit", "60") as service:
        connection = service.connected()
        until(lambda: connection.status().state == "serving", "its turn")
        greeting = connection.ask(Hello("0.1.0"))
        assert isinstance(greeting, Greeting)
        assert greeting.pid == service.process.pid
        assert isinstance(connection.ask(Unlock(KEY, 3)), KeyState)
        until(lambda: [key.state for key in connection.status().keys] == ["unlocked"], "the key", 10)
        assert [(one.name, one.reachable) for one in connection.status().backends] == [("files", True)]
        lasted = until(lambda: connection.status().keys == (), "the end of its time", 10)
        prompt(lasted, 4)
        connection.ask(Unlock(KEY, 60))
        until(lambda: [key.state for key in connection.status().keys] == ["unlocked"], "the key", 10)
        assert connection.ask(Lock(KEY)) == Done()
        assert connection.status().keys == ()
        refused = connection.ask(Unlock(KEY, 61))
        assert isinstance(refused, Trouble)
        assert refused.code == "refused"
        connection.close()
        words = service.end()
        assert service.process.returncode == 0, words
        assert SECRET.hex() not in words
        assert not service.path.exists()


def test_nobody_else_looks_into_it(tmp_path: Path, keys: Path):
    with started(tmp_path, keys, "--resident-limit", "60") as service:
        connection = service.connected()
        until(lambda: connection.status().state == "serving", "its turn")
        connection.ask(Unlock(KEY, 60))
        until(lambda: [key.state for key in connection.status().keys] == ["unlocked"], "the key", 10)
        about = Path(f"/proc/{service.process.pid}")
        locked = [line for line in (about / "status").read_text().splitlines() if line.startswith("VmLck")]
        assert int(locked[0].split()[1]) >= 4
        limits = (about / "limits").read_text().splitlines()
        assert [line.split()[4:6] for line in limits if line.startswith("Max core file size")] == [["0", "0"]]
        command = (about / "cmdline").read_bytes() + (about / "environ").read_bytes()
        assert SECRET not in command
        assert SECRET.hex().encode() not in command
        connection.close()
        service.end()


def test_not_even_its_own_user_looks_into_it(tmp_path: Path):
    nobody = pwd.getpwnam("nobody")
    for directory in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        directory.chmod(0o755)
    place = tmp_path / "of-nobody"
    place.mkdir(mode=0o700)
    os.chown(place, nobody.pw_uid, nobody.pw_gid)
    path = place / "socket"
    # it cannot read the cluster's configuration, and serves its socket all the same
    with subprocess.Popen(
        ["/usr/bin/python3", "-m", "mgr_fscrypt.service", "--socket", str(path)],
        cwd=ROOT,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
    ) as process:
        try:
            until(path.exists, "its socket")
            reader = "import sys; open(f'/proc/{sys.argv[1]}/mem', 'rb')"
            tried = subprocess.run(
                ["/usr/bin/python3", "-c", reader, str(process.pid)],
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
            assert "Permission denied" in tried.stderr
            # and that one may look into its equals as a rule
            ours = "import os; open(f'/proc/{os.getpid()}/mem', 'rb')"
            subprocess.run(
                ["/usr/bin/python3", "-c", ours], user=nobody.pw_uid, group=nobody.pw_gid, cwd="/", check=True
            )
            connection = Connection(path)
            assert connection.status().state == "unreachable"
            connection.close()
        finally:
            process.terminate()


def test_an_outage_of_the_key_manager(tmp_path: Path, keys: Path):
    (keys / "down").touch()
    with started(tmp_path, keys, "--resident-limit", "60") as service:
        connection = service.connected()
        until(lambda: connection.status().state == "serving", "its turn")
        connection.ask(Unlock(KEY, 60))
        until(lambda: bool(connection.status().backends), "an attempt", 10)
        (backend,) = connection.status().backends
        assert (backend.name, backend.reachable, backend.error) == ("files", False, "KmsUnreachableError")
        assert [key.state for key in connection.status().keys] == ["unlocking"]
        (keys / "down").unlink()
        until(lambda: [key.state for key in connection.status().keys] == ["unlocked"], "the key", 10)
        assert connection.status().backends[0].reachable
        connection.close()
        service.end()


def test_the_second_waits_for_the_first_and_follows_it(tmp_path: Path, keys: Path):
    with (
        started(tmp_path / "one", keys, "--resident-limit", "60") as one,
        started(tmp_path / "two", keys, "--resident-limit", "60") as two,
    ):
        first = one.connected()
        second = two.connected()
        until(lambda: {first.status().state, second.status().state} == {"serving", "standby"}, "a turn")
        if first.status().state != "serving":
            one, two, first, second = two, one, second, first
        # the second may have asked between the lock and the words beside it
        until(lambda: f"process {one.process.pid} on" in second.status().holder, "the holder's name")
        refused = second.ask(Unlock(KEY, 1))
        assert isinstance(refused, Trouble)
        assert refused.code == "not-serving"
        epoch = first.status().epoch
        assert epoch is not None
        # stopped for longer than its turn: it may not work when it wakes up
        first.ask(Unlock(KEY, 60))
        until(lambda: [key.state for key in first.status().keys] == ["unlocked"], "the key", 10)
        one.process.send_signal(signal.SIGSTOP)
        taken = until(lambda: second.status().state == "serving", "the other's turn", 3 * DURATION)
        assert second.status().epoch == epoch + 1
        one.process.send_signal(signal.SIGCONT)
        until(lambda: first.status().keys == () and first.status().state == "standby", "its end", 5)
        # in good order the next one begins at once, after a kill when the turn ran out
        assert second.ask(Shutdown()) == Done()
        handed = until(lambda: first.status().state == "serving", "the turn again")
        prompt(handed, 3, "handing over a turn")
        print(
            f"sampled: turn taken from a stopped service in {taken:.1f} s, from one that ends in {handed:.1f} s"
        )
        assert first.status().epoch == epoch + 2
        assert two.process.wait(10) == 0


def test_a_cluster_that_does_not_answer_ends_the_turn(cluster: Cluster, tmp_path: Path, keys: Path):
    with started(tmp_path, keys, "--resident-limit", "60") as service:
        connection = service.connected()
        until(lambda: connection.status().state == "serving", "its turn")
        connection.ask(Unlock(KEY, 60))
        until(lambda: [key.state for key in connection.status().keys] == ["unlocked"], "the key", 10)
        cluster.stop("osd", "0")
        try:
            lasted = until(lambda: connection.status().keys == (), "the wiping")
            prompt(lasted, DURATION + 1, "the wiping")
            assert connection.status().state == "unreachable"
        finally:
            cluster.start("osd", "0")
        until(lambda: connection.status().state == "serving", "its turn again", 90)
        connection.close()
        service.end()


def test_a_killed_one_leaves_a_socket_that_the_next_one_replaces(tmp_path: Path, keys: Path):
    with started(tmp_path, keys) as service:
        service.connected().close()
        service.process.kill()
        service.process.wait()
        assert service.path.exists()
        with started(tmp_path, keys) as heir:
            connection = heir.connected()
            until(lambda: connection.status().state == "serving", "its turn", 3 * DURATION)
            connection.close()
            third = OwnService(tmp_path, keys)
            _, words = third.process.communicate(timeout=30)
            assert (third.process.returncode, "another service listens" in words) == (3, True)
            heir.end()


def test_only_some_users_may_connect(tmp_path: Path, keys: Path):
    tmp_path.parent.chmod(0o755)
    tmp_path.chmod(0o755)
    nobody, other = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
    client = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "s.settimeout(5); s.sendall(b'{}\\n'); sys.exit(0 if s.recv(100) else 4)"
    )

    def outcome(path: Path, user: int) -> int:
        return subprocess.run(
            ["/usr/bin/python3", "-c", client, str(path)],
            user=user,
            capture_output=True,
            cwd="/",
            check=False,
        ).returncode

    with started(tmp_path / "open", keys, "--peer", "nobody") as service:
        service.connected().close()
        assert outcome(service.path, nobody.pw_uid) == 0
        assert outcome(service.path, 0) == 0
        assert outcome(service.path, other.pw_uid) != 0
        service.end()
    with started(tmp_path / "closed", keys) as service:
        service.connected().close()
        assert outcome(service.path, nobody.pw_uid) == 1
        service.end()


def test_an_entity_with_its_own_caps(cluster: Cluster, tmp_path: Path, keys: Path):
    granted = ("mon", "allow r", "osd", f"allow rwx pool=cephfs_meta namespace={NAMESPACE}")
    keyring = tmp_path / "keyring"
    keyring.write_text(cluster.ceph("auth", "get-or-create", "client.fscrypt-service", *granted))
    try:
        with started(
            tmp_path, keys, "--name", "client.fscrypt-service", "--keyring", str(keyring)
        ) as service:
            connection = service.connected()
            until(lambda: connection.status().state == "serving", "its turn", 3 * DURATION)
            connection.close()
            service.end()
    finally:
        cluster.ceph("auth", "rm", "client.fscrypt-service")


# of the manager


def reported(cluster: Cluster) -> dict[str, object]:
    """What the manager says of its service."""
    cluster.start("mgr", "x")
    answer: dict[str, object] = json.loads(
        cluster.ceph("fscrypt", "service", "status", "--format", "json", timeout=20)
    )
    return answer


def served(cluster: Cluster, but: int | None = None) -> int:
    """The process of the manager's service, which serves; another one than `but`."""
    found: list[int] = []

    def serves() -> bool:
        report = reported(cluster)
        service = report["service"]
        if report["state"] != "serving" or not isinstance(service, dict) or service["pid"] == but:
            return False
        found.append(service["pid"])
        return True

    cluster.wait("a service of the manager", serves, timeout=120)
    return found[0]


@pytest.fixture
def wrapper(tmp_path: Path, keys: Path) -> Path:
    """An interpreter for the manager's child, whose service has the keys of these tests."""
    return interpreter(tmp_path, keys)


@pytest.fixture
def child(cluster: Cluster, wrapper: Path) -> Iterator[int]:
    """The manager's service, with a key in its memory."""
    cluster.enable_module("fscrypt")
    options(cluster, service_python=str(wrapper), service_resident_limit="600", service="child")
    try:
        pid = served(cluster)
        with_key(cluster)
        yield pid
    finally:
        cluster.enable_module("fscrypt")
        options(cluster, service="off", service_python="", service_resident_limit="0")
        until(lambda: not processes(), "the end of the manager's service", 90)


def with_key(cluster: Cluster) -> None:
    """Have the manager's service unlock the key."""

    def unlocked() -> bool:
        cluster.ceph("fscrypt", "key", "unlock", KEY, "600", timeout=20)
        service = reported(cluster)["service"]
        return isinstance(service, dict) and [key["state"] for key in service["keys"]] == ["unlocked"]

    cluster.wait("the key", unlocked, timeout=60)


def instance(cluster: Cluster) -> int:
    number: int = cluster.ceph_json("mgr", "dump")["active_gid"]
    return number


def test_the_managers_own_interpreter_runs_it(cluster: Cluster):
    """Where Ceph's Python has `cryptography`, as Debian's has, nothing is to be configured."""
    cluster.enable_module("fscrypt")
    options(cluster, service="child")
    try:
        pid = served(cluster)
        assert "mgr_fscrypt.service --inherited" in processes()[pid]
        shown = cluster.ceph("fscrypt", "service", "status")
        assert shown.startswith("engine service: serving since")
    finally:
        options(cluster, service="off")
        until(lambda: not processes(), "its end", 90)


def test_the_manager_shows_locks_and_ends_it(cluster: Cluster, child: int):
    assert list(processes()) == [child]
    cluster.ceph("fscrypt", "key", "lock", KEY)

    def locked() -> bool:
        service = reported(cluster)["service"]
        return isinstance(service, dict) and service["keys"] == []

    cluster.wait("the wiping", locked, timeout=30)
    with pytest.raises(ClusterError, match="EINVAL"):
        cluster.ceph("fscrypt", "key", "lock", "sesame")
    options(cluster, service="off")
    until(lambda: not processes(), "its end", 90)


def test_a_child_that_is_killed_is_followed_by_another(cluster: Cluster, child: int):
    os.kill(child, signal.SIGKILL)
    begun = time.monotonic()
    heir = served(cluster, but=child)
    print(f"sampled: {cluster.release}: a killed service was replaced in {time.monotonic() - begun:.1f} s")
    assert list(processes()) == [heir]
    with_key(cluster)


@pytest.mark.tentacle
def test_a_manager_that_fails_over_leaves_none_and_a_new_one_serves(cluster: Cluster, child: int):
    before = instance(cluster)
    cluster.ceph("mgr", "fail")
    until(lambda: child not in processes(), "the end of the old service", 30)
    cluster.wait("another mgr", lambda: instance(cluster) not in (0, before))
    heir = served(cluster, but=child)
    assert list(processes()) == [heir]


def test_a_manager_that_is_killed_leaves_none_and_a_new_one_serves(cluster: Cluster, child: int):
    cluster.kill("mgr", "x")
    gone = until(lambda: child not in processes(), "the end of the old service", 10)
    print(f"sampled: {cluster.release}: the service was gone {gone:.2f} s after its manager was killed")
    # this starts the manager again
    heir = served(cluster, but=child)
    assert list(processes()) == [heir]


@pytest.mark.tentacle
def test_a_module_that_is_disabled_leaves_none(cluster: Cluster, child: int):
    cluster.ceph("mgr", "module", "disable", "fscrypt")
    until(lambda: not processes(), "the end of the service", 30)
    time.sleep(3)
    assert processes() == {}
    cluster.enable_module("fscrypt")
    served(cluster, but=child)


@pytest.mark.tentacle
def test_of_two_managers_the_active_one_has_it(cluster: Cluster, child: int):
    cluster.start("mgr", "y")
    try:
        cluster.wait("a standby mgr", lambda: bool(cluster.ceph_json("mgr", "dump")["standbys"]))
        assert list(processes()) == [child]
        cluster.ceph("mgr", "fail")
        until(lambda: child not in processes(), "the end of the old service", 30)
        cluster.wait("the other mgr", lambda: cluster.ceph_json("mgr", "dump")["active_name"] == "y")
        heir = served(cluster, but=child)
        assert list(processes()) == [heir]
        with_key(cluster)
    finally:
        cluster.stop("mgr", "y")
        cluster.wait("mgr.x", lambda: cluster.ceph_json("mgr", "dump")["active_name"] == "x")


@pytest.mark.tentacle
def test_what_is_down_is_told_by_health_by_the_api_and_by_pages(cluster: Cluster, child: int, keys: Path):
    """The service hangs; then a key manager does not answer; then it is killed, and cannot be started again."""
    heir = check_a_child_that_hangs(cluster, child)
    with api_served(cluster) as server:
        session = server.logged_in("security-officer")
        assert "does not work" not in server.page("/jobs", session)
        check_a_key_manager_that_is_down(cluster, server, session, keys)
        options(cluster, service_python="/nowhere/python")
        if heir in processes():
            os.kill(heir, signal.SIGKILL)
        cluster.wait("a refusal", lambda: server.send("GET", f"{API}/jobs").status == 503)
        check_a_service_that_is_down(server, session)
        check_health(cluster)
        assert server.send("GET", f"{API}/jobs").status == 200
        assert "The engine service does not work" not in server.page("/jobs", session)


def check_a_child_that_hangs(cluster: Cluster, child: int) -> int:
    """It is replaced, and holds nobody up; the process of the one that follows."""
    os.kill(child, signal.SIGSTOP)
    begun = time.monotonic()
    cluster.ceph("fscrypt", "service", "status")
    cluster.ceph("fscrypt", "status")
    prompt(time.monotonic() - begun, 5)
    heir = served(cluster, but=child)
    assert list(processes()) == [heir]
    return heir


def check_a_key_manager_that_is_down(
    cluster: Cluster, server: ApiServer, session: Mapping[str, str], keys: Path
) -> None:
    cluster.ceph("fscrypt", "key", "lock", KEY)
    (keys / "down").touch()
    cluster.ceph("fscrypt", "key", "unlock", KEY, "600")

    def told() -> bool:
        return "The key manager files does not work:" in server.page("/keys", session)

    cluster.wait("the banner of pages", told, timeout=60)
    shown = server.page(f"/do/key/unlock?key={KEY}", session)
    assert "KmsUnreachableError" in shown
    assert "It waits:" in shown
    assert server.send("GET", f"{API}/jobs").status == 200, "what takes no key goes on"
    (keys / "down").unlink()


def check_a_service_that_is_down(server: ApiServer, session: Mapping[str, str]) -> None:
    refused = server.send("GET", f"{API}/jobs")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
    (down,) = [each for each in refused.json["down"] if each["what"] == "service"]
    assert down["why"]
    works = [each.partition(" ")[2] for each in refused.json["works"] if each.startswith("GET ")]
    assert {"/subtrees", "/keys", "/audit", "/service", "/doctor"} <= set(works)
    assert "/jobs" not in works
    answered = {
        path: server.send("GET", API + path).status
        for path in works
        if "{" not in path and not path.startswith("/lines/")
    }
    assert 503 not in answered.values(), answered
    assert server.send("POST", f"{API}/scans/cephfs", body={}).status == 503
    assert "GET /subtrees" in server.send("GET", f"{API}/jobs", "read-only").json["works"]
    page = server.page("/subtrees", session)
    assert "The engine service does not work:" in page
    assert "What works: lists, gates, access" in page
    form = server.page("/do/scan", session)
    assert "It waits:" in form
    csrf = re.search(r'name="csrf" value="([^"]+)"', form)
    assert csrf
    sent = urlencode({"csrf": csrf[1], "fs": "cephfs"}).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    done = server.send("POST", "/do/scan", None, sent, headers={**session, **kind})
    assert (done.status, b"What works: lists" in done.body) == (503, True)


def check_health(cluster: Cluster) -> None:
    """It tells, can be muted, and forgets."""
    cluster.wait("the health check", lambda: "FSCRYPT_SERVICE_DOWN" in cluster.ceph_json("health")["checks"])
    detail = cluster.ceph("health", "detail")
    assert "service_python" in detail
    cluster.ceph("health", "mute", "FSCRYPT_SERVICE_DOWN")
    assert cluster.ceph_json("health")["checks"]["FSCRYPT_SERVICE_DOWN"]["muted"]
    options(cluster, service_python="")
    served(cluster)
    cluster.wait("health", lambda: "FSCRYPT_SERVICE_DOWN" not in cluster.ceph_json("health")["checks"])


@pytest.mark.tentacle
def test_the_manager_asks_one_that_runs_by_itself_which_outlives_it(
    cluster: Cluster, tmp_path: Path, keys: Path
):
    with started(tmp_path, keys, "--resident-limit", "600") as service:
        service.connected().close()
        options(cluster, service_socket=str(service.path), service="socket")
        try:
            assert served(cluster) == service.process.pid
            with_key(cluster)
            before = instance(cluster)
            cluster.ceph("mgr", "fail")
            cluster.wait("another mgr", lambda: instance(cluster) not in (0, before))
            assert served(cluster) == service.process.pid
            kept = reported(cluster)["service"]
            assert isinstance(kept, dict)
            assert [key["state"] for key in kept["keys"]] == ["unlocked"]
        finally:
            options(cluster, service="off")
            options(cluster, service_socket="/run/cephfs-fscrypt/service.sock")
        service.end()
