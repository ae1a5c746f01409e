"""`qa/run bench` and `qa/run soak`: what is measured, and long tests in full size."""

import shutil

from .cache import Cache
from .releases import Release
from .report import LabError, Progress
from .source import SOURCE, copy_source
from .workplace import KEPT, enter


def bench(release: Release, cache: Cache, progress: Progress, name: str, *, as_json: bool) -> int:
    """Run qa/bench/NAME.py on a fresh cluster; its answer is the exit code."""
    _known("bench", name)
    with (
        copy_source(cache, "bench") as source,
        enter(release, source.parent / release.name, cache, progress, source=source) as place,
    ):
        place.boot()
        options = ["--json"] if as_json else []
        return place.chamber.run(
            "python", "-m", f"qa.bench.{name}", *options, environment=place.environment()
        )


def soak(
    release: Release, cache: Cache, progress: Progress, name: str, *, size: int | None, seed: int | None
) -> int:
    """Run qa/soak/NAME.py on a fresh cluster; what it has done is kept, so that a second call goes on.

    The result file doc/results/NAME.json is the record of the last full run.
    """
    _known("soak", name)
    kept = cache.place("soak", release.name)
    with (
        copy_source(cache, "soak") as source,
        enter(release, source.parent / release.name, cache, progress, source=source, kept=kept) as place,
    ):
        place.boot()
        options = [] if size is None else ["--n", str(size)]
        options += [] if seed is None else ["--seed", str(seed)]
        command = ["python", "-m", f"qa.soak.{name}", "--state", f"{KEPT}/{name}.json", *options]
        code = place.chamber.run(*command, environment=place.environment())
    result = kept / f"{name}.result"
    if result.exists():
        (SOURCE / "doc/results").mkdir(parents=True, exist_ok=True)
        shutil.move(result, SOURCE / "doc/results" / f"{name}.json")
        (kept / f"{name}.json").unlink(missing_ok=True)
        progress.say(f"the record is doc/results/{name}.json")
    return code


def _known(room: str, name: str) -> None:
    there = {path.stem for path in (SOURCE / "qa" / room).glob("[a-z]*.py")} - {"report", "state"}
    if name not in there:
        raise LabError(f"there is no {room} {name!r}; there are: {', '.join(sorted(there)) or 'none yet'}")
