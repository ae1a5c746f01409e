"""Process 1 of a chamber: makes its mounts, changes the root, then reaps what its daemons leave.

Started by `chamber.Chamber` in fresh mount and pid namespaces; when it ends, the kernel ends every process
and mount of the chamber with it (doc/facts.md C).
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_CRASHES = (signal.SIGABRT, signal.SIGSEGV)


def main() -> None:
    """Build the chamber that standard input describes, say so by closing standard output, reap until told to end."""
    wishes = json.loads(sys.stdin.read())
    _mounts(wishes)
    # held as long as this process lives: a rootfs in use is not removed (rootfs.py)
    fcntl.flock(os.open(wishes["rootfs"], os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_SH)
    os.chroot(wishes["rootfs"])
    os.chdir("/")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    _reap()


def _mounts(wishes: dict[str, Any]) -> None:
    root = Path(wishes["rootfs"])
    _mount("--bind", str(root), str(root))
    for source, target, read_only in wishes["binds"]:
        place = root / target.lstrip("/")
        _mount("--bind", source, str(place))
        if read_only:
            _mount("-o", "remount,bind,ro", str(place))
    _mount("-t", "proc", "proc", str(root / "proc"))
    _mount("-t", "sysfs", "-o", "ro", "sysfs", str(root / "sys"))
    _mount("--rbind", "/dev", str(root / "dev"))
    for folder in ("run", "tmp", "var/lib/ceph", "var/log/ceph"):
        _mount("-t", "tmpfs", "tmpfs", str(root / folder))
    _mount("-o", "remount,bind,ro", str(root))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _reap() -> None:
    watched = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    while signal.sigwait(watched) != signal.SIGTERM:
        while _reaped_one():
            pass


def _reaped_one() -> bool:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    if pid and os.WIFSIGNALED(status) and os.WTERMSIG(status) in _CRASHES:
        _revive(pid)
    return pid != 0


def _revive(pid: int) -> None:
    """An MDS that crashed is started again, as a host's service manager would: 18.2.7's was seen to, while it evicted a
    client, and clients wait for one without end. Any other process is left alone."""
    words = ["env", "--chdir=/src", "CEPH_CONF=/cluster/ceph.conf", "python3", "-m", "qa.lab.cluster"]
    with suppress(OSError):
        os.posix_spawnp("env", [*words, "revive", str(pid)], dict(os.environ), setsigmask=())


if __name__ == "__main__":
    main()
