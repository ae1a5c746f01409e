"""The network of a cluster and one guest: two addresses, one wire, no way out. It is the chamber's own."""

import subprocess

from qa.lab.workplace import MACHINE

BUSYBOX = f"{MACHINE}/usr/bin/busybox"

CLUSTER = "192.0.2.1"
GUEST = "192.0.2.2"
PREFIX = 24
WIRE = "wire"


def lay() -> None:
    """Make the cluster's end of the wire; qemu takes the other one. It must lie before the cluster boots, which
    listens there."""
    for words in (
        ("ip", "link", "set", "lo", "up"),
        ("tunctl", "-t", WIRE),
        ("ip", "address", "add", f"{CLUSTER}/{PREFIX}", "dev", WIRE),
        ("ip", "link", "set", WIRE, "up"),
    ):
        subprocess.run([BUSYBOX, *words], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    lay()
