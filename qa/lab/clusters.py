"""`qa/run cluster`: clusters that stay, each under a name, several side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .cache import Cache, remove_tree
from .chamber import Chamber
from .releases import RELEASES, Release
from .report import LabError, Progress
from .source import SOURCE
from .workplace import Workplace, enter


@dataclass(frozen=True)
class NamedClusters:
    """The clusters below the cache folder, by name."""

    cache: Cache
    progress: Progress

    def up(self, name: str, release: Release) -> int:
        """Boot the cluster NAME (made if it is new) with our module enabled, from the checkout as it is."""
        folder = self.cache.place("clusters") / name
        made_of = self._release_of(name) if folder.exists() else release
        if made_of is not release:
            raise LabError(
                f"{name} is a {made_of.name} cluster: `qa/run cluster destroy {name}` first, or choose another name"
            )
        running = self._find(name)
        if running is None:
            self.cache.place("clusters", name)
            (folder / "release").write_text(release.name)
            running = enter(release, folder, self.cache, self.progress, source=SOURCE, detached=True)
            running.chamber.write_record(folder / "chamber")
        running.boot()
        self.progress.say(f"{name} is up: `qa/run cluster exec {name} ceph -s`")
        return 0

    def down(self, name: str) -> int:
        """Stop the cluster; its data stays."""
        place = self._find(name)
        if place is not None:
            place.step("stopping the daemons", "python3", "-m", "qa.lab.cluster", "down")
            place.chamber.end()
        self.progress.say(f"{name} is down")
        return 0

    def destroy(self, name: str) -> int:
        """Stop the cluster and delete its data."""
        place = self._find(name)
        if place is not None:
            place.chamber.end()
        remove_tree(self._folder(name))
        self.progress.say(f"{name} is gone")
        return 0

    def status(self, name: str) -> int:
        """Print the cluster's own status and its daemons."""
        return self.execute(name, ["python3", "-m", "qa.lab.cluster", "status"])

    def execute(self, name: str, command: Sequence[str]) -> int:
        """Run a command inside, in /src, with our tools on the path; answer its exit code."""
        place = self._find(name)
        if place is None:
            raise LabError(f"{name} does not run: `qa/run cluster up {name}`")
        return place.chamber.run(*command, environment=place.environment())

    def shell(self, name: str) -> int:
        """An interactive shell inside."""
        return self.execute(name, ["bash", "-i"])

    def _folder(self, name: str) -> Path:
        folder = self.cache.place("clusters") / name
        if not folder.exists():
            known = ", ".join(sorted(path.name for path in self.cache.place("clusters").iterdir())) or "none"
            raise LabError(
                f"there is no cluster {name} (there are: {known}): `qa/run cluster up {name}` makes it"
            )
        return folder

    def _release_of(self, name: str) -> Release:
        return RELEASES[(self._folder(name) / "release").read_text()]

    def _find(self, name: str) -> Workplace | None:
        folder = self.cache.place("clusters") / name
        chamber = Chamber.found(folder / "chamber")
        if chamber is None:
            return None
        return Workplace(self._release_of(name), folder, chamber, self.progress)


def check_name(name: str) -> str:
    """A cluster's name: a plain word, since it names a folder.

    Raises:
        LabError: it is not.
    """
    if not name.replace("-", "").isalnum():
        raise LabError(f"a cluster's name is letters, digits and dashes, not {name!r}")
    return name
