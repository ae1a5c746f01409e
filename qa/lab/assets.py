"""What the pages and their tests take from npm, made once on the host for each recipe: the chambers have no npm."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from . import host
from .cache import Cache
from .report import Progress, StepError
from .source import SOURCE

_PAGES = "dashboard_ui"
_AXE = Path("qa", "web", "axe.min.js")


def put(source: Path, cache: Cache, progress: Progress) -> None:
    """Put the assets of the pages, and the checker of accessibility, into a copy of the checkout or into itself.

    Raises:
        StepError: with the log of what npm could not do.
    """
    kept = cache.place("assets") / _recipe()
    with cache.lock("assets"):
        if not kept.exists():
            host.bring({"npm": "npm", "node": "nodejs"}, progress)
            progress.say("making the assets of the pages")
            log = cache.place("logs") / "assets.log"
            command = [
                sys.executable,
                "-m",
                f"{_PAGES}.build",
                "--to",
                str(kept / _PAGES),
                "--axe",
                str(kept / _AXE.name),
            ]
            with log.open("w") as output:
                done = subprocess.run(command, cwd=SOURCE, stdout=output, stderr=output, check=False)
            if done.returncode != 0:
                shutil.rmtree(kept, ignore_errors=True)
                raise StepError("the assets of the pages (is npm there, and its registry reachable?)", log)
    shutil.copytree(kept / _PAGES, source / _PAGES / "assets", dirs_exist_ok=True)
    shutil.copy(kept / _AXE.name, source / _AXE)


def _recipe() -> str:
    """A name for what they are made of and how."""
    files = [SOURCE / _PAGES / "build.py", *sorted((SOURCE / _PAGES / "carbon").iterdir())]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:12]
