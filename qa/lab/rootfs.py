"""Debian rootfs folders with Ceph in them, made once and kept."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from . import host
from .cache import Cache, remove_tree
from .chamber import run_contained
from .releases import Release
from .report import Progress, StepError

_DPKG_OPTIONS = ("path-exclude=/usr/share/doc/*", "path-exclude=/usr/share/man/*", "force-unsafe-io")
_KEPT_UNUSED = 14 * 86400.0
_MOUNT_POINTS = ("src", "cluster", "tox", "var/lib/ceph", "var/log/ceph")


def obtain(release: Release, cache: Cache, progress: Progress) -> Path:
    """The rootfs of `release`: from the cache, or made now.

    A folder is named by the recipe's digest and gets its name when it is whole, so that a half-made one is
    never used: it is thrown away and made again.

    Raises:
        StepError: the rootfs could not be made; nothing half-made stays under its name.
    """
    recipe = repr((release.suite, release.packages, _DPKG_OPTIONS, _MOUNT_POINTS))
    name = f"{release.suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    folder = cache.place("rootfs") / name
    with cache.lock(f"rootfs-{release.suite}"):
        partial = folder.with_name(folder.name + ".partial")
        remove_tree(partial)
        if not folder.exists():
            _make(release, partial, cache.place("logs") / f"rootfs-{release.suite}.log", progress)
            partial.rename(folder)
        # its time says when it was last used
        os.utime(folder)
        _remove_outgrown(release, cache, progress)
    return folder


def _remove_outgrown(release: Release, cache: Cache, progress: Progress) -> None:
    """Remove rootfs folders of older recipes, and their tools, that nothing used for some time or uses now."""
    for folder in cache.place("rootfs").glob(f"{release.suite}-*"):
        if time.time() - folder.stat().st_mtime < _KEPT_UNUSED or _is_in_use(folder):
            continue
        progress.say(f"{release.name}: removing a rootfs that nothing used for two weeks: {folder.name}")
        gone = folder.with_suffix(".partial")
        folder.rename(gone)
        remove_tree(cache.place("tox", folder.name))
        remove_tree(gone)


def _is_in_use(folder: Path) -> bool:
    """Whether a chamber runs in it (init.py)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def bootstrap(variant: str, suite: str, packages: Sequence[str], folder: Path) -> list[str]:
    """The command that makes a folder of packages of a suite and of what they need (mmdebstrap(1) has the variants)."""
    options = ['Acquire::Check-Valid-Until "false"', 'APT::Install-Recommends "false"', *host.apt_options()]
    command = ["mmdebstrap", "--mode=root", f"--variant={variant}", "--format=directory"]
    command += [f"--aptopt={option}" for option in options]
    command += [f"--dpkgopt={option}" for option in _DPKG_OPTIONS]
    return [*command, f"--include={','.join(packages)}", suite, str(folder), host.mirror()]


def _make(release: Release, partial: Path, log: Path, progress: Progress) -> None:
    started = time.monotonic()
    progress.say(f"{release.name}: making the rootfs (Debian {release.suite})")
    with log.open("w") as output:
        if run_contained(bootstrap("apt", release.suite, release.packages, partial), output) != 0:
            raise StepError(f"making the {release.name} rootfs (apt-get update may help)", log)
        for certificate in host.certificates():
            shutil.copy(certificate, partial / "usr/local/share/ca-certificates")
        for point in _MOUNT_POINTS:
            (partial / point).mkdir(parents=True, exist_ok=True)
        for file in ("etc/resolv.conf", "etc/hosts"):
            (partial / file).touch()
        if run_contained(["chroot", str(partial), "update-ca-certificates"], output) != 0:
            raise StepError(f"adding this machine's certificates to the {release.name} rootfs", log)
    progress.say(f"{release.name}: rootfs made in {time.monotonic() - started:.0f} s")
