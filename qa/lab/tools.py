"""The Python environments of our checks (tox's), made once for each content of setup.cfg and tox.ini."""

import hashlib
from pathlib import Path

from .cache import Cache
from .chamber import Bind, Chamber
from .releases import TENTACLE, Release
from .report import Progress, StepError
from .source import SOURCE, copy_source

INSIDE = "/tox"


def folder_inside() -> str:
    """tox's work folder as the chamber sees it; another content of the two files has another folder."""
    recipe = b"".join((SOURCE / name).read_bytes() for name in ("setup.cfg", "tox.ini"))
    return f"{INSIDE}/{hashlib.sha256(recipe).hexdigest()[:12]}"


def environment() -> dict[str, str]:
    """Variables for commands in a chamber: our tools come first on the path."""
    work = folder_inside()
    return {
        "PATH": f"{work}/tests/bin:{INSIDE}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TOX_WORK_DIR": work,
        # a tmpfs of the chamber's own: the work folder is shared, and a named cluster sees the checkout read-only
        "TOX_LOG_DIR": "/tmp/tox",  # noqa: S108
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",  # noqa: S108
    }


def obtain(release: Release, rootfs: Path, cache: Cache, progress: Progress) -> Path:
    """The folder to bind at `INSIDE`: from the cache, or made now in a chamber of its own.

    Raises:
        StepError: with the log of what could not be installed.
    """
    folder = cache.place("tox", rootfs.name)
    with cache.lock(f"tools-{release.suite}"):
        stamp = folder / Path(folder_inside()).name / "ready"
        if not stamp.exists():
            progress.say(f"{release.name}: installing the tools of the checks")
            # key managers do not depend on the release
            environments = ["lint", "types", "tests", *(["kms"] if release is TENTACLE else [])]
            _make(folder, rootfs, cache, cache.place("logs") / f"tools-{release.suite}.log", environments)
            stamp.touch()
    return folder


def _make(folder: Path, rootfs: Path, cache: Cache, log: Path, environments: list[str]) -> None:
    with copy_source(cache, "tools") as source:
        chamber = Chamber.start(rootfs, [Bind(source, "/src"), Bind(folder, INSIDE)], detached=False)
        try:
            with log.open("w") as output:
                for command in (
                    ["python3", "-m", "venv", INSIDE],
                    ["pip", "install", "--quiet", "tox"],
                    ["tox", "run", "--notest", "-e", ",".join(environments)],
                ):
                    if chamber.run(*command, output=output, environment=environment()) != 0:
                        raise StepError(f"`{' '.join(command)}` (is the package registry reachable?)", log)
        finally:
            chamber.end()
