"""A chamber: a rootfs with mounts and processes of its own, which all end with it.

A cluster's daemons, our mounts and the tests run in one. Whatever kills its process 1, nothing is left on the
host, and no clean-up can reach the host's devices through a bind mount (doc/facts.md C).
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from . import host
from .report import LabError

_PR_SET_PDEATHSIG = 1
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")


@dataclass(frozen=True)
class Bind:
    """A folder or file of the host, seen at `target` inside."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Chamber:
    """A running chamber, known by its process 1 as the host numbers it."""

    pid: int
    started: int

    @classmethod
    def start(
        cls, rootfs: Path, binds: Sequence[Bind], *, detached: bool, isolated: bool = False
    ) -> "Chamber":
        """Start one; unless `detached`, it ends with the process (and thread) that calls this.

        An `isolated` one has a network of its own, with nothing in it but a loopback device that is down.

        Raises:
            LabError: the namespaces or mounts could not be made; the message holds the system's own.
        """
        wishes = {
            "rootfs": str(rootfs),
            "binds": [(str(bind.source), bind.target, bind.read_only) for bind in (*binds, *_HOST_FILES)],
        }
        process = subprocess.Popen(
            [
                *_OWN_NAMESPACES,
                *(["--net"] if isolated else []),
                sys.executable,
                str(Path(__file__).with_name("init.py")),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=None if detached else _die_with_parent,
        )
        try:
            _build(process, json.dumps(wishes))
        except BaseException:
            # a detached one would outlive an interrupt, and nobody would know its number
            process.kill()
            process.wait()
            raise
        pid = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        return cls(pid, _start_time(pid))

    @classmethod
    def found(cls, record: Path) -> "Chamber | None":
        """The chamber that `record` tells of, if it still runs."""
        if not record.exists():
            return None
        pid, started = (int(word) for word in record.read_text().split())
        chamber = cls(pid, started)
        return chamber if chamber.alive() else None

    def write_record(self, record: Path) -> None:
        """Write down what `found` needs (the start time guards against a number that was given again)."""
        record.write_text(f"{self.pid} {self.started}\n")

    def alive(self) -> bool:
        """Whether process 1 is there and is the one we started."""
        return _start_time(self.pid) == self.started

    def command(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """The host's command that runs `arguments` inside, in /src."""
        variables = {
            "PATH": _PATH,
            "HOME": "/tmp",  # noqa: S108 - a tmpfs of the chamber's own
            "LC_ALL": "C.UTF-8",
            "TERM": os.environ.get("TERM", "dumb"),
            "CEPH_CONF": "/cluster/ceph.conf",
            "PYTHONPATH": "/src",
            "PYTHONDONTWRITEBYTECODE": "1",
            **host.network_environment(),
            **(environment or {}),
        }
        settings = [f"{name}={value}" for name, value in variables.items()]
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--root"]
        return [*enter, "--", "env", "-i", "--chdir=/src", *settings, *arguments]

    def run(
        self, *arguments: str, output: IO[str] | None = None, environment: Mapping[str, str] | None = None
    ) -> int:
        """Run a command inside, to its end, and answer its exit code (`output`: where both its streams go)."""
        errors = None if output is None else subprocess.STDOUT
        command = self.command(arguments, environment)
        return subprocess.run(command, stdout=output, stderr=errors, check=False).returncode

    def end(self) -> None:
        """End it with all its processes and mounts; done when this returns."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        while self.alive():
            time.sleep(0.02)


def _build(process: subprocess.Popen[str], wishes: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(wishes)
    process.stdin.close()
    if process.stdout.readline() != "ready\n":
        raise LabError(f"no chamber could be made here: {process.stderr.read().strip()[-300:]}")


def run_contained(command: Sequence[str], output: IO[str]) -> int:
    """Run a program of the host whose processes and mounts all end with it, and it with us; its exit code."""
    return subprocess.run(
        [*_OWN_NAMESPACES, "--mount-proc", *command],
        stdout=output,
        stderr=subprocess.STDOUT,
        check=False,
        preexec_fn=_die_with_parent,
    ).returncode


_HOST_FILES = (
    Bind(Path("/etc/resolv.conf").resolve(), "/etc/resolv.conf", read_only=True),
    Bind(Path("/etc/hosts"), "/etc/hosts", read_only=True),
)


def _start_time(pid: int) -> int:
    """When a process was started, in clock ticks since boot; 0 if there is none or it only awaits its parent."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
