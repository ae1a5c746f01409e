"""`qa/run demo`: the product in five minutes, on real input."""

from . import assets, tools
from .cache import Cache
from .clusters import NamedClusters
from .releases import Release
from .report import Progress
from .source import SOURCE, copy_source
from .workplace import enter

_COMMAND = ("python", "-m", "qa.demo")


def run(release: Release, cache: Cache, progress: Progress, *, keep: bool) -> int:
    """Boot a cluster, show the main job on it, clean up.

    With `keep` it stays as the cluster `demo`, with more in it, and the way to its pages is told.
    """
    if keep:
        assets.put(SOURCE, cache, progress)
        clusters = NamedClusters(cache, progress)
        clusters.up("demo", release)
        code = clusters.execute("demo", _COMMAND) or clusters.execute("demo", [*_COMMAND, "--live"])
        progress.say("kept: `qa/run cluster shell demo`; `qa/run cluster destroy demo` ends it")
        return code
    with copy_source(cache, "demo") as source:
        folder = source.parent / release.name
        # it may be the first thing that is run here: nobody should wait for what it does not use
        with enter(release, folder, cache, progress, source=source, environments=(tools.USUAL,)) as place:
            place.boot()
            return place.chamber.run(*_COMMAND, environment=place.environment())
