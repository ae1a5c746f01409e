"""A machine for a kernel: qemu, Debian's kernel and a busybox for the first steps, unpacked and not installed.

Its suite is that of the release that it is tested with: old kernels cannot use the keys of new Ceph.
"""

import hashlib
import time
from pathlib import Path

from . import rootfs
from .cache import Cache, remove_tree
from .chamber import run_contained
from .releases import Release
from .report import Progress, StepError

_PACKAGES = ("base-files", "busybox-static", "linux-image-amd64", "qemu-system-x86")


def obtain(release: Release, cache: Cache, progress: Progress) -> Path:
    """The folder of `release`'s machine: from the cache, or made now; one of another recipe goes.

    Raises:
        StepError: packages could not be had; nothing half-made stays under its name.
    """
    recipe = repr((release.suite, _PACKAGES))
    folder = cache.place("machines") / f"{release.suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with cache.lock(f"machine-{release.suite}"):
        if not folder.exists():
            for old in folder.parent.glob(f"{release.suite}-*"):
                remove_tree(old)
            partial = folder.with_name(folder.name + ".partial")
            _make(release, partial, cache.place("logs") / f"machine-{release.suite}.log", progress)
            partial.rename(folder)
    return folder


def _make(release: Release, partial: Path, log: Path, progress: Progress) -> None:
    started = time.monotonic()
    progress.say(f"{release.name}: unpacking a machine (qemu and the kernel of Debian {release.suite})")
    with log.open("w") as output:
        if run_contained(rootfs.bootstrap("extract", release.suite, _PACKAGES, partial), output) != 0:
            raise StepError(f"unpacking the {release.name} machine (apt-get update may help)", log)
    progress.say(f"{release.name}: machine unpacked in {time.monotonic() - started:.0f} s")
