"""What the machine must offer, and what is taken from it: root, apt, the mirror and the proxies it uses."""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .report import LabError, Progress

_TOOLS = {"mmdebstrap": "mmdebstrap", "unshare": "util-linux", "nsenter": "util-linux", "mount": "mount"}


def require(progress: Progress) -> None:
    """Check the machine and install the tools that are missing.

    Raises:
        LabError: one line that says what is missing and what to do.
    """
    if os.geteuid() != 0:
        raise LabError("the embedded Ceph needs root (mounts and namespaces): run `sudo qa/run ...`")
    if platform.machine() != "x86_64":
        raise LabError(
            f"this machine is {platform.machine()}: the lab is tested on x86_64 only; use such a host"
        )
    if shutil.which("apt-get") is None:
        raise LabError("there is no apt here: run this on Debian 12 or newer (a container with root will do)")
    distribution = _os_release().get("ID", "unknown")
    if distribution != "debian":
        raise LabError(
            f"this is {distribution}, the lab needs Debian 12 or newer: run it in a Debian chroot or VM"
        )
    bring(_TOOLS, progress)


def bring(tools: Mapping[str, str], progress: Progress) -> None:
    """Install the packages of the tools that are missing.

    Raises:
        LabError: apt could not.
    """
    missing = sorted({package for tool, package in tools.items() if shutil.which(tool) is None})
    if missing:
        progress.say(f"installing {', '.join(missing)}")
        _apt_get("update")
        # an old keyring does not know the keys of newer suites
        _apt_get("install", "-y", "--no-install-recommends", "debian-archive-keyring", *missing)


def mirror() -> str:
    """The Debian mirror this machine's apt uses; suites newer than its own are reachable there too."""
    codename = _os_release().get("VERSION_CODENAME", "")
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in answer.stdout.splitlines():
        site, _, suite = line.partition(" ")
        if suite == codename and not site.startswith("file:"):
            return site
    raise LabError(f"apt has no package lists of {codename}: run `apt-get update` and try again")


def apt_options() -> list[str]:
    """apt's proxy settings of this machine, as lines of apt.conf for a rootfs."""
    dump = subprocess.run(
        ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False
    ).stdout
    return [
        line.removesuffix(";") for line in dump.splitlines() if "proxy" in line.lower() and '""' not in line
    ]


def network_environment() -> dict[str, str]:
    """Variables by which pip and others reach their registry from inside a chamber."""
    names = {"http_proxy", "https_proxy", "no_proxy", "pip_index_url", "pip_extra_index_url", "pip_proxy"}
    return {name: value for name, value in os.environ.items() if name.lower() in names}


def certificates() -> list[Path]:
    """Certificates that this machine's administrator added to the system's."""
    return sorted(Path("/usr/local/share/ca-certificates").glob("*.crt"))


def _os_release() -> dict[str, str]:
    path = Path("/etc/os-release")
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip('"') for key, value in pairs}


def _apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    answer = subprocess.run(
        ["apt-get", "-q", *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if answer.returncode != 0:
        last = (answer.stderr or answer.stdout).strip().splitlines()[-1:]
        raise LabError(
            f"`apt-get {' '.join(arguments)}` failed ({' '.join(last)}): check apt's sources and the network"
        )
