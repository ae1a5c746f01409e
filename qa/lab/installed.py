"""A host on which packages are installed, upgraded and removed: a copy of a rootfs, which may be written."""

import hashlib
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .chamber import run_contained
from .host import network_environment
from .report import StepError

_NEVER_INSTALLED = "etc/dpkg/dpkg.cfg.d/99mmdebstrap"
"""The lab's rootfs leaves out manual pages."""
_NOTEBOOKS = (
    "etc/ld.so.cache",
    "run",
    "var/cache/apt",
    "var/cache/debconf",
    "var/cache/ldconfig",
    "var/lib/apt",
    "var/lib/dpkg",
    "var/log",
)
"""Where dpkg, apt and the linker keep books for themselves, and what is empty after the next start of a host."""
_BACKUPS = (
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/.pwd.lock",
    "etc/subuid-",
    "etc/subgid-",
)
"""What the tools for accounts keep of the last change but one."""


@dataclass(frozen=True)
class Host:
    """The folder of a host, and where its steps are logged."""

    root: Path
    logs: Path

    @classmethod
    def of(cls, system: Path, folder: Path) -> "Host":
        """Make one: a copy of the rootfs, with apt's lists as they are now.

        Raises:
            StepError: as `run`.
        """
        host = cls(folder / "host", folder / "host-logs")
        host.logs.mkdir()
        subprocess.run(["cp", "-a", "--reflink=auto", str(system), str(host.root)], check=True)
        (host.root / _NEVER_INSTALLED).unlink()
        shutil.copy("/etc/resolv.conf", host.root / "etc/resolv.conf")
        shutil.copy("/etc/hosts", host.root / "etc/hosts")
        host.run("asking what Debian has", "apt-get", "-q", "update")
        # each host has it, and apt would take it for one that others want
        host.install("what a rootfs may lack", "mount")
        return host

    def install(self, what: str, *packages: str | Path) -> None:
        """Have apt install packages by name, or from files, which it is shown in /tmp. Raises as `run`."""
        files = [shutil.copy(package, self.root / "tmp") for package in packages if isinstance(package, Path)]
        names = [f"/tmp/{Path(file).name}" for file in files]  # noqa: S108 - of the host
        names += [package for package in packages if isinstance(package, str)]
        options = ("-q", "-y", "--no-install-recommends", "--allow-downgrades")
        self.run(what, "apt-get", *options, "install", *names)
        for file in files:
            Path(file).unlink()

    def purge(self, *packages: str) -> None:
        """Have apt remove packages and what came with them, settings too. Raises as `run`."""
        self.run("removing the packages", "apt-get", "-q", "-y", "purge", "--autoremove", *packages)

    def run(self, what: str, *words: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a program of the host as root; what it printed.

        Raises:
            StepError: it failed; with its log.
        """
        log = self.logs / f"{what.replace(' ', '-')}.log"
        root = shlex.quote(str(self.root))
        variables = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
        }
        settings = [f"{name}={value}" for name, value in {**variables, **(environment or {})}.items()]
        chrooted = shlex.join(["env", "-i", *settings, *words])
        # a chamber can be made inside: its root is a mount, and it takes over the devices
        mounts = (
            f"mount --bind {root} {root} && mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev"
        )
        with log.open("w") as output:
            if run_contained(["sh", "-c", f"{mounts} && exec chroot {root} {chrooted}"], output) != 0:
                raise StepError(what, log)
        return log.read_text(errors="replace")

    def fetch(self, what: str, *words: str, **variables: str) -> str:
        """The same for a program that asks a registry, by the way that this machine does. Raises as `run`."""
        return self.run(what, *words, environment={**network_environment(), **variables})

    def traces(self) -> dict[str, str]:
        """Each file, folder and link by its path, with all that tells whether it has changed, but for its times."""
        found: dict[str, str] = {}
        for folder, folders, files in os.walk(self.root):
            below = Path(folder).relative_to(self.root)
            folders[:] = [name for name in folders if not _of_others(str(below / name))]
            for name in (*folders, *files):
                path = str(below / name)
                if not _of_others(path):
                    found[path] = _described(self.root / path)
        return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is new, gone, or has changed, one line each."""
    lines = [f"new: {path}" for path in sorted(after.keys() - before.keys())]
    lines += [f"gone: {path}" for path in sorted(before.keys() - after.keys())]
    return lines + [
        f"changed: {path}" for path in sorted(before.keys() & after.keys()) if before[path] != after[path]
    ]


def _of_others(path: str) -> bool:
    return path in _BACKUPS or any(path == book or path.startswith(f"{book}/") for book in _NOTEBOOKS)


def _described(path: Path) -> str:
    state = path.lstat()
    what = f"{state.st_mode:o} {state.st_uid}:{state.st_gid}"
    if stat.S_ISLNK(state.st_mode):
        return f"{what} -> {path.readlink()}"
    if stat.S_ISREG(state.st_mode):
        return f"{what} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return what


def names_of(debs: Sequence[Path]) -> list[str]:
    """What the packages in these files are called."""
    return [deb.name.partition("_")[0] for deb in debs]
