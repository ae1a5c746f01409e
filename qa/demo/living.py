"""A cluster with some life in it, to click through: keys of all ages, subtrees, jobs, a client that can do harm.

The keys lie in files in the place of a key manager, as in tests; what the manager believes of them is reported to it,
as clients do.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.messages import KeyFacts, ProtectorFacts, TenantFacts
from mgr_fscrypt.migrate.trees import PlainTree, remove_all
from qa.fakes.file_service import interpreter
from qa.fakes.ports import free_port
from qa.lab.cluster import Cluster

_DAY = 86_400
_TENANT = "acme"
LETTERS = "/letters"
"""What lies in the clear, and has a plan for its migration."""
_LETTERS = 120
_CLIENT = "client.legacy"
"""An entity whose caps reach all that is encrypted."""
_STAYS = """
import sys, time, cephfs
mount = cephfs.LibCephFS(conffile=sys.argv[1], auth_id="legacy")
mount.conf_set("keyring", sys.argv[2])
mount.mount()
mount.stat(b"/")
while True:
    time.sleep(60)
"""


@dataclass(frozen=True)
class _Kept:
    """A key that is reported; days are from now."""

    name: str
    age: int
    state: str = "active"
    expires: int = 0
    due: int = 0
    drill: int = 0


_KEYS = (
    _Kept("payroll", 400, expires=20, drill=-3),
    _Kept("research", 45, expires=320, drill=60),
    _Kept("archive", 1200, state="disabled"),
    _Kept("merger", 12, state="destroying", due=6),
)


def show_pages() -> int:
    """Make a cluster live, serve its pages, and print where they are; for the cluster that CEPH_CONF belongs to."""
    cluster = Cluster.current()
    if not (cluster.directory / "living").exists():
        enliven(cluster)
    address = served(cluster)
    sys.stdout.write(
        f"\n== To click through\n  {address}\n"
        "  It logs in once, within 5 minutes. Another one: `qa/run cluster exec demo ceph fscrypt api login "
        "security-officer`\n"
        "  The certificate is of its own making: `ceph fscrypt api show` has its fingerprint\n"
    )
    return 0


def served(cluster: Cluster) -> str:
    """Have the module serve its pages at a port that is free; give a link that logs in once.

    Raises:
        ClusterError: it does not come in time.
    """
    port = free_port()
    for name, value in (("api_port", str(port)), ("api_server", "true")):
        cluster.ceph("config", "set", "mgr", f"mgr/fscrypt/{name}", value)
    cluster.wait("the pages", lambda: f":{port}/" in link(cluster))
    return link(cluster)


def link(cluster: Cluster) -> str:
    """A link to the pages that logs in once."""
    found: str = cluster.ceph_json("fscrypt", "api", "login", "security-officer")["link"]
    return found


def enliven(cluster: Cluster, credentials: Path | None = None) -> None:
    """Make it so; once for a cluster. Processes that it starts go on until the cluster ends.

    Args:
        credentials: what opens the key managers that are known, if any is.

    Raises:
        ClusterError: something was refused, or took too long.
    """
    folder = cluster.directory / "living"
    folder.mkdir()
    keys = folder / "keys"
    keys.mkdir(mode=0o700)
    _serve(cluster, folder, keys, credentials)
    _report_tenant(cluster)
    for kept in _KEYS:
        _report(cluster, keys, kept)
    _connect(cluster, folder)
    # open to all: that is what there is something to say about
    _make(cluster, "/payroll", "payroll", "--unprotected")
    _make(cluster, "/research", "research", "--keep", "")
    _fill(cluster, folder, keys, "/payroll")
    cluster.ceph("fscrypt", "subtree", "verify", "cephfs", "/payroll")
    _write(cluster, LETTERS)
    cluster.ceph("fscrypt", "migrate", "plan", "cephfs", LETTERS, "--master-key", "research")


def calm(cluster: Cluster) -> None:
    """End it: nothing warns any more, nobody is connected, and the engine service has other keys."""
    folder = cluster.directory / "living"
    # while the client can still give back what it holds of the directory above
    with _mounted(cluster) as mount:
        remove_all(PlainTree(mount), LETTERS.encode())
    client = int((folder / "client.pid").read_text())
    with suppress(ProcessLookupError):
        os.kill(client, signal.SIGKILL)
    for path in ("/payroll", "/research"):
        _open_gate(cluster, path)
        cluster.ceph("fscrypt", "subtree", "forget", "cephfs", path)
    for kept in _KEYS:
        gone = KeyFacts(_master(kept).identifier.hex(), kept.name, "", "destroyed", 2, 1, 0, 0, 0, ())
        cluster.ceph("fscrypt", "key", "adopt", "cephfs", "-i", "-", stdin=gone.encode())
    cluster.ceph("config", "set", "mgr", "mgr/fscrypt/service_python", "")
    cluster.ceph("auth", "rm", _CLIENT)
    shutil.rmtree(folder)


def _open_gate(cluster: Cluster, path: str) -> None:
    """Keep nobody out there. A manager that has just begun anew knows no clients, and refuses until it does."""

    def opened() -> bool:
        cluster.ceph("fscrypt", "gate", "set", "cephfs", path, "observe")
        return True

    cluster.wait(f"the gate of {path}", opened)


def _serve(cluster: Cluster, folder: Path, keys: Path, credentials: Path | None) -> None:
    (folder / "service").mkdir()
    more = () if credentials is None else ("--credentials", str(credentials))
    python = interpreter(folder / "service", keys, *more)
    cluster.ceph("config", "set", "mgr", "mgr/fscrypt/service_python", str(python))
    cluster.wait("the engine service", lambda: _serves(cluster, str(keys)))


def _serves(cluster: Cluster, keys: str) -> bool:
    process = (cluster.ceph_json("fscrypt", "service", "status")["service"] or {}).get("pid")
    command = Path("/proc", str(process), "cmdline")
    # the one before it may have just ended
    return process is not None and command.exists() and keys in command.read_text()


def _report_tenant(cluster: Cluster) -> None:
    now = int(time.time())
    facts = TenantFacts(_TENANT, 3, now - 80 * _DAY, 90 * _DAY, ("files",), ("recovery-code",))
    cluster.ceph("fscrypt", "tenant", "adopt", "cephfs", "-i", "-", stdin=facts.encode())


def _report(cluster: Cluster, keys: Path, kept: _Kept) -> None:
    master = _master(kept)
    file = keys / master.identifier.hex()
    file.touch(0o600)
    file.write_bytes(master.expose())
    now = int(time.time())
    made = now - kept.age * _DAY
    protectors = (
        ProtectorFacts("kms", "tenant", made, now - 3600),
        ProtectorFacts("recovery-code", "recovery-code", made, 0 if kept.name == "archive" else made),
    )
    facts = KeyFacts(
        identifier=master.identifier.hex(),
        name=kept.name,
        tenant=_TENANT,
        state=kept.state,
        generation=1,
        created=made,
        expires=now + kept.expires * _DAY if kept.expires else 0,
        due=now + kept.due * _DAY if kept.due else 0,
        drill_due=now + kept.drill * _DAY if kept.drill else 0,
        protectors=protectors,
    )
    cluster.ceph("fscrypt", "key", "adopt", "cephfs", "-i", "-", stdin=facts.encode())


def _master(kept: _Kept) -> MasterKey:
    """The same ones again and again: what is shown does not change from run to run."""
    return MasterKey(hashlib.sha512(kept.name.encode()).digest())


def _make(cluster: Cluster, path: str, key: str, *options: str) -> None:
    cluster.ceph("fscrypt", "subtree", "create", "cephfs", path, "--master-key", key, *options)
    cluster.wait(f"the subtree {path}", lambda: path in _registered(cluster))


def _registered(cluster: Cluster) -> Sequence[str]:
    return [each["path"] for each in cluster.ceph_json("fscrypt", "subtree", "ls", "cephfs")["subtrees"]]


def _fill(cluster: Cluster, folder: Path, keys: Path, path: str) -> None:
    """A thousand small files: a job has something to count."""
    tree = folder / "tree"
    tree.mkdir()
    shutil.copytree(Path(json.__file__).parent, tree / "json")
    for number in range(1000):
        (tree / f"letter-{number:04}").write_text(f"Dear customer {number},\n")
    identifier = next(
        each["key_identifier"]
        for each in cluster.ceph_json("fscrypt", "subtree", "ls", "cephfs")["subtrees"]
        if each["path"] == path
    )
    subprocess.run(
        ["cephfs-fscrypt", "put", str(tree), path, "--key", str(keys / identifier)],
        check=True,
        capture_output=True,
        env={**os.environ, "CEPH_CONF": str(cluster.directory / "ceph.conf")},
    )


def _mounted(cluster: Cluster) -> AbstractContextManager[CephMount]:
    return connect(Access(conf=cluster.directory / "ceph.conf"))


def _write(cluster: Cluster, path: str) -> None:
    """A tree in the clear, which somebody may want to migrate."""
    with _mounted(cluster) as mount:
        tree = PlainTree(mount)
        tree.mkdir(path.encode(), 0o755)
        for number in range(_LETTERS):
            with tree.open(f"{path}/{number:04}".encode(), os.O_RDWR | os.O_CREAT, 0o644) as file:
                file.pwrite(b"Dear customer %d,\n" % number, 0)


def _connect(cluster: Cluster, folder: Path) -> None:
    keyring = folder / "keyring"
    caps = ("mon", "allow r", "osd", "allow rw tag cephfs data=cephfs", "mds", "allow rw")
    keyring.write_text(cluster.ceph("auth", "get-or-create", _CLIENT, *caps))
    with (folder / "client.log").open("w") as log:
        # not Popen: nobody waits for it, it outlives the process that starts it
        client = os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", _STAYS, str(cluster.directory / "ceph.conf"), str(keyring)],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, log.fileno(), 1), (os.POSIX_SPAWN_DUP2, log.fileno(), 2)],
            setsid=True,
        )
    (folder / "client.pid").write_text(str(client))
