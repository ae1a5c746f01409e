"""A real Ceph cluster of one host, from inside its chamber: make it, boot it, stop and kill its daemons.

`python3 -m qa.lab.cluster up PORT [ADDRESS]|down|status`; tests use `Cluster.current()`. Everything of the cluster lies
in one folder (/cluster): conf, keyring, data, logs, sockets and process numbers.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BUILT_IN_MODULES = Path("/usr/share/ceph/mgr")
_RELEASE_OF_MAJOR = {"18": "reef", "20": "tentacle"}
_CAPABILITIES: dict[str, dict[str, str]] = {
    "mon": {"mon": "allow *"},
    "client": {"mon": "allow *", "osd": "allow *", "mds": "allow *", "mgr": "allow *"},
    "mgr": {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"},
    "mds": {"mon": "allow profile mds", "osd": "allow *", "mds": "allow *", "mgr": "allow profile mds"},
    "osd": {"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"},
}


class ClusterError(Exception):
    """A daemon or a `ceph` command did not do what was asked; the message holds its last words."""


@dataclass(frozen=True)
class Cluster:
    """One cluster: mon.a, mgr.x, osd.0, mds.a and the file system `cephfs` (pools cephfs_meta, cephfs_data)."""

    directory: Path

    @classmethod
    def current(cls) -> "Cluster":
        """The cluster that CEPH_CONF belongs to."""
        return cls(Path(os.environ["CEPH_CONF"]).parent)

    @property
    def release(self) -> str:
        """`tentacle` or `reef`: the release of the daemons here."""
        words = subprocess.run(
            ["ceph", "--version"], capture_output=True, text=True, check=True
        ).stdout.split()
        return _RELEASE_OF_MAJOR[words[2].split(".")[0]]

    def ceph(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """What the command `ceph ARGUMENTS` prints.

        Raises:
            ClusterError: it failed or took longer than `timeout` seconds; with what it said.
        """
        try:
            answer = subprocess.run(
                ["ceph", *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                env=self._environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"ceph {' '.join(arguments)}: no answer in {timeout:.0f} s") from error
        if answer.returncode != 0:
            raise ClusterError(f"ceph {' '.join(arguments)}: {answer.stderr.strip()[-1000:]}")
        return answer.stdout

    def ceph_json(self, *arguments: str, timeout: float = 60) -> Any:
        """The same with `--format json`, parsed."""
        return json.loads(self.ceph(*arguments, "--format", "json", timeout=timeout))

    def up(self, port: int, address: str = "127.0.0.1") -> None:
        """Make the cluster if it is new, with our module enabled; start what does not run; wait until all serves.

        Its daemons listen at `address`, which is also what its maps tell clients.
        """
        new = not (self.directory / "made").exists()
        if new:
            self._make(port, address)
        self._link_modules()
        self.start("mon", "a")
        if new:
            self.ceph("osd", "new", str(uuid.uuid4()), "0")
            identity = self.ceph_json("osd", "dump")["osds"][0]["uuid"]
            self._tool("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", identity)
            # by force, since no mgr has said yet that it is there. One that runs would run itself anew: it aborts when
            # its modules make threads just then, and sessions that they had would stay behind and block others for a
            # minute (doc/facts.md F14)
            self.ceph("mgr", "module", "enable", "fscrypt", "--force")
        for kind, name in (("mgr", "x"), ("osd", "0"), ("mds", "a")):
            self.start(kind, name)
        if new:
            self.ceph("osd", "pool", "create", "cephfs_meta", "8")
            self.ceph("osd", "pool", "create", "cephfs_data", "8")
            self.ceph("fs", "new", "cephfs", "cephfs_meta", "cephfs_data")
            (self.directory / "made").touch()
        self.wait("an active MDS", lambda: "up:active" in self.ceph("mds", "stat"))
        self.wait("the mgr", lambda: bool(self.ceph_json("mgr", "stat")["available"]))

    def enable_module(self, name: str) -> None:
        """Enable a manager module; until the mgr's first beacon, Ceph answers that it does not exist (M2)."""
        self.wait(f"the module {name}", lambda: self.ceph("mgr", "module", "enable", name) is not None)

    def start(self, kind: str, name: str) -> None:
        """Start a daemon if it does not run; a daemon that is new gets its keys and folder first."""
        if self.pid(kind, name) is not None:
            return
        # the first mon's and mgr's are made with the cluster
        folder = self.directory / (kind if (kind, name) in (("mon", "a"), ("mgr", "x")) else f"{kind}.{name}")
        if not folder.exists():
            folder.mkdir()
            self._introduce(kind, name)
        (self.directory / "run" / f"{kind}.{name}.asok").unlink(missing_ok=True)
        with (self.directory / "log" / f"{kind}.{name}.out").open("a") as output:
            # not Popen: nobody waits for a daemon, it outlives the process that starts it;
            # in /, since Debian's OSD looks for its classes by a relative path
            pid = os.posix_spawnp(
                "env",
                ["env", "--chdir=/", f"ceph-{kind}", "-f", "-i", name],
                self._environment(),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
                ],
                setsid=True,
            )
        self._pid_file(kind, name).write_text(str(pid))

    def revive(self, pid: int) -> None:
        """Start the MDS again that was process `pid`."""
        for kind, name in self.daemons():
            if kind == "mds" and self._pid_file(kind, name).read_text() == str(pid):
                self.start(kind, name)

    def stop(self, kind: str, name: str) -> None:
        """Ask a daemon to end (SIGTERM) and wait for it."""
        self._signal(kind, name, signal.SIGTERM)

    def kill(self, kind: str, name: str) -> None:
        """Kill a daemon (SIGKILL), as a crash would."""
        self._signal(kind, name, signal.SIGKILL)

    def pid(self, kind: str, name: str) -> int | None:
        """The daemon's process number; None if it does not run."""
        file = self._pid_file(kind, name)
        if not file.exists():
            return None
        pid = int(file.read_text())
        return pid if _runs(pid, f"ceph-{kind}") else None

    def daemons(self) -> list[tuple[str, str]]:
        """(kind, name) of every daemon that was started, in the order in which they may be stopped."""
        found = [tuple(file.stem.split(".", 1)) for file in (self.directory / "run").glob("*.pid")]
        return sorted(
            ((kind, name) for kind, name in found), key=lambda one: ("mgr", "mds", "osd", "mon").index(one[0])
        )

    def down(self) -> None:
        """Stop every daemon; the data stays."""
        for kind, name in self.daemons():
            self.stop(kind, name)

    def wait(self, what: str, done: Callable[[], bool], timeout: float = 90) -> None:
        """Wait until `done`; Ceph's refusals meanwhile count as not yet.

        Raises:
            ClusterError: `timeout` seconds went by; with the last refusal.
        """
        end = time.monotonic() + timeout
        last = "no refusal, just not yet"
        while time.monotonic() < end:
            try:
                if done():
                    return
            except ClusterError as error:
                last = str(error)
            time.sleep(0.2)
        raise ClusterError(f"{what} did not come in {timeout:.0f} s: {last}")

    def _make(self, port: int, address: str) -> None:
        for folder in ("log", "run", "crash"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        identity = str(uuid.uuid4())
        names = {
            "FSID": identity,
            "ADDRESS": address,
            "PORT": port,
            "PORT_V1": port + 1,
            "BIND_MIN": port + 2,
            "BIND_MAX": port + 40,
        }
        template = Path(__file__).with_name("ceph.conf").read_text()
        conf = re.sub(r"@(\w+)@", lambda match: str(names[match[1]]), template)
        (self.directory / "ceph.conf").write_text(conf)
        keyring = str(self.directory / "keyring")
        self._tool("ceph-authtool", "--create-keyring", keyring)
        for entity in ("mon.", "client.admin", "mgr.x", "mds.a", "osd.0"):
            self._new_key(entity)
        (self.directory / "mgr").mkdir()
        for name in ("osd.0", "mds.a"):
            (self.directory / name).mkdir()
        monitor = f"[v2:{address}:{port},v1:{address}:{port + 1}]"
        monmap = str(self.directory / "monmap")
        self._tool("monmaptool", "--create", "--clobber", "--fsid", identity, "--addv", "a", monitor, monmap)
        (self.directory / "mon").mkdir()
        self._tool("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)

    def _introduce(self, kind: str, name: str) -> None:
        entity = f"{kind}.{name}"
        self._new_key(entity)
        self.ceph("auth", "import", "-i", str(self.directory / "keyring"))

    def _new_key(self, entity: str) -> None:
        granted = _CAPABILITIES[entity.split(".")[0]]
        words = [word for service, capability in granted.items() for word in ("--cap", service, capability)]
        self._tool("ceph-authtool", str(self.directory / "keyring"), "--gen-key", "-n", entity, *words)

    def _link_modules(self) -> None:
        """`mgr_module_path` is one folder: the built-in modules and ours, as links (doc/facts.md M2).

        Where the checkout has no module, what packages installed is what runs: the folder itself.
        """
        farm = self.directory / "mgr-modules"
        if farm.is_symlink():
            return
        shutil.rmtree(farm, ignore_errors=True)
        source = Path(__file__).resolve().parents[2]
        if not (source / "mgr_fscrypt").exists():
            farm.symlink_to(_BUILT_IN_MODULES)
            return
        farm.mkdir()
        ours = {"fscrypt": source / "mgr_fscrypt", "dashboard_ui": source / "dashboard_ui"}
        probes = {probe.name: probe for probe in (source / "qa/facts/modules").glob("[a-z]*")}
        shims = {"bcrypt.py": source / "qa/lab/shims/bcrypt.py"} if self.release == "reef" else {}
        built_in = {entry.name: entry for entry in _BUILT_IN_MODULES.iterdir()}
        for name, target in {**built_in, **ours, **probes, **shims}.items():
            (farm / name).symlink_to(target)

    def _tool(self, *command: str) -> None:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment())
        if answer.returncode != 0:
            raise ClusterError(f"{' '.join(command)}: {answer.stderr.strip()[-1000:]}")

    def _environment(self) -> dict[str, str]:
        """Ceph's programs get none of our tools: a Python environment on the path would become the mgr's own."""
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        return {
            "PATH": path,
            "HOME": "/cluster",
            "LC_ALL": "C.UTF-8",
            "CEPH_CONF": str(self.directory / "ceph.conf"),
        }

    def _pid_file(self, kind: str, name: str) -> Path:
        return self.directory / "run" / f"{kind}.{name}.pid"

    def _signal(self, kind: str, name: str, number: signal.Signals) -> None:
        pid = self.pid(kind, name)
        if pid is not None:
            os.kill(pid, number)
            give_up = time.monotonic() + 60
            while _runs(pid, f"ceph-{kind}"):
                if time.monotonic() > give_up:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
        self._pid_file(kind, name).unlink(missing_ok=True)


def _runs(pid: int, program: str) -> bool:
    """Whether process `pid` is `program` and not merely waiting to be reaped."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return Path(os.fsdecode(words[0])).name == program


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; errors are one line."""
    cluster = Cluster.current()
    try:
        match arguments:
            case ["up", port, *address]:
                cluster.up(int(port), *address)
            case ["down"]:
                cluster.down()
            case ["revive", pid]:
                cluster.revive(int(pid))
            case ["status"]:
                sys.stdout.write(cluster.ceph("-s"))
                for kind, name in cluster.daemons():
                    sys.stdout.write(f"{kind}.{name}: process {cluster.pid(kind, name) or 'not running'}\n")
            case _:
                sys.stderr.write("usage: python3 -m qa.lab.cluster up PORT [ADDRESS] | down | status\n")
                return 2
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
