"""The Python environments of our checks (tox's), made once for each list of what is in them."""

import hashlib
from collections.abc import Sequence
from configparser import RawConfigParser
from pathlib import Path

from .cache import Cache
from .chamber import Bind, Chamber
from .releases import TENTACLE, Release
from .report import Progress, StepError
from .source import SOURCE, copy_source

INSIDE = "/tox"
USUAL = "tests"
"""The environment whose programs come first on the path."""
_SETTINGS_ONLY = ("mypy", "options.package_data", "pytest")
"""Beginnings of sections that say nothing of what is installed."""


def folder_inside() -> str:
    """tox's work folder as the chamber sees it; another one where setup.cfg or tox.ini ask for something else."""
    recipe = [
        (section, sorted(parser[section].items()))
        for parser in (_parsed("setup.cfg"), _parsed("tox.ini"))
        for section in parser.sections()
        if not section.startswith(_SETTINGS_ONLY)
    ]
    return f"{INSIDE}/{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}"


def _parsed(name: str) -> RawConfigParser:
    parser = RawConfigParser()
    parser.read(SOURCE / name)
    return parser


def environment() -> dict[str, str]:
    """Variables for commands in a chamber: our tools come first on the path."""
    work = folder_inside()
    return {
        "PATH": f"{work}/{USUAL}/bin:{INSIDE}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TOX_WORK_DIR": work,
        # a tmpfs of the chamber's own: the work folder is shared, and a named cluster sees the checkout read-only
        "TOX_LOG_DIR": "/tmp/tox",  # noqa: S108
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",  # noqa: S108
    }


def obtain(
    release: Release, rootfs: Path, cache: Cache, progress: Progress, wanted: Sequence[str] = ()
) -> Path:
    """The folder to bind at `INSIDE`, with the environments that are `wanted` (or all): from the cache, or made now in
    a chamber of its own.

    Raises:
        StepError: with the log of what could not be installed.
    """
    folder = cache.place("tox", rootfs.name)
    with cache.lock(f"tools-{release.suite}"):
        ready = folder / Path(folder_inside()).name
        # neither do key managers and the manual depend on the release; Ceph's dashboard has our pages on one alone
        more = ["kms", "web", "manual"] if release is TENTACLE else []
        every = ["lint", "types", USUAL, "fsspec", *more]
        missing = [name for name in wanted or every if not (ready / f"{name}.ready").exists()]
        if missing:
            progress.say(f"{release.name}: installing tools ({', '.join(missing)})")
            _make(folder, rootfs, cache, cache.place("logs") / f"tools-{release.suite}.log", missing)
            for name in missing:
                (ready / f"{name}.ready").touch()
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
