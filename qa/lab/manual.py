"""`qa/run manual`: the manual's pages, and the commands in them."""

import shutil
from collections.abc import Sequence

from . import tools
from .cache import Cache
from .releases import TENTACLE
from .report import Progress
from .source import SOURCE, copy_source
from .workplace import KEPT, enter

RECORD = SOURCE / "doc" / "results" / "manual.json"
_PICTURES = "build/pages"
_MADE = SOURCE / "build" / "manual"


def build(cache: Cache, progress: Progress) -> int:
    """Make the pages, in build/manual of the checkout; Sphinx's answer is the exit code.

    Pictures that `qa/run browser` has left in build/pages are in it.
    """
    shutil.rmtree(_MADE, ignore_errors=True)
    _MADE.mkdir(parents=True)
    with copy_source(cache, "manual") as source:
        if (SOURCE / _PICTURES).exists():
            shutil.copytree(SOURCE / _PICTURES, source / _PICTURES)
        with enter(
            TENTACLE, source.parent / TENTACLE.name, cache, progress, source=source, kept=_MADE
        ) as place:
            command = ["tox", "run", "-q", "--skip-pkg-install", "-e", "manual", "--", "doc", KEPT]
            code = place.chamber.run(*command, environment=place.environment())
    progress.say(f"the manual is {(_MADE / 'index.html').relative_to(SOURCE)}")
    return code


def run(cache: Cache, progress: Progress, pages: Sequence[str]) -> int:
    """Run the commands of all pages (or of `pages`) on a fresh cluster; 1 if any did otherwise than its page says.

    What came of all of them is recorded in doc/results/manual.json.
    """
    with copy_source(cache, "manual") as source:
        kept = source.parent / "kept"
        kept.mkdir()
        folder = source.parent / TENTACLE.name
        with enter(TENTACLE, folder, cache, progress, source=source, kept=kept) as place:
            place.boot()
            python = f"{tools.folder_inside()}/kms/bin/python"
            command = [python, "-m", "qa.manual", *pages, "--record", f"{KEPT}/{RECORD.name}"]
            code = place.chamber.run(*command, environment=place.environment())
        if (kept / RECORD.name).exists():
            shutil.copy(kept / RECORD.name, RECORD)
            progress.say(f"the record is {RECORD.relative_to(SOURCE)}")
    return code
