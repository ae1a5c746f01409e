"""A workplace: a chamber with the source, the tools of our checks and the folder of one cluster in it."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from . import rootfs, tools
from .cache import Cache
from .chamber import Bind, Chamber
from .releases import Release
from .report import Progress, StepError
from .source import SOURCE, commit

KEPT = "/cluster/kept"
MACHINE = "/cluster/machine"
# below the range from which the kernel takes ports for outgoing connections
_PORTS = range(21000, 32000, 50)


@dataclass(frozen=True)
class Workplace:
    """Where one cluster lives (`folder`) and the chamber in which it and our checks run.

    A ``with`` block ends the chamber.
    """

    release: Release
    folder: Path
    chamber: Chamber
    progress: Progress
    variables: Mapping[str, str] = field(default_factory=tools.environment)
    """For commands inside; by default our tools come first on the path."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # before its folder is removed: nothing may write there any more
        self.chamber.end()

    def step(self, what: str, *command: str) -> Path:
        """Run one step inside and answer its log.

        Raises:
            StepError: with the log that tells why.
        """
        logs = self.folder / "steps"
        logs.mkdir(exist_ok=True)
        log = logs / f"{what.replace(' ', '-')}.log"
        self.progress.say(f"{self.release.name}: {what}")
        with log.open("w") as output:
            if self.chamber.run(*command, output=output, environment=self.environment()) != 0:
                raise StepError(f"{self.release.name}: {what}", log)
        return log

    def boot(self, *address: str) -> None:
        """Boot the cluster, with our module enabled, to listen at another `address` than the loopback's own."""
        port = (self.folder / "port").read_text()
        self.step("booting the cluster", "python3", "-m", "qa.lab.cluster", "up", port, *address)

    def environment(self) -> dict[str, str]:
        """Variables for commands inside, and which commit this is."""
        return {**self.variables, "FSCRYPT_QA_COMMIT": commit()}


def enter(
    release: Release,
    folder: Path,
    cache: Cache,
    progress: Progress,
    *,
    source: Path,
    kept: Path | None = None,
    machine: Path | None = None,
    environments: Sequence[str] = (),
    detached: bool = False,
) -> Workplace:
    """Make a workplace in `folder` from rootfs, tools and source; what is there already is used again.

    `kept` is a folder of the host that outlives it, seen at `KEPT` inside; `machine` (machine.py) is seen at `MACHINE`,
    and the network is the workplace's own then. It has the tools of those `environments`, or all. Unless `detached`, it
    ends with the thread that calls this.
    """
    system = rootfs.obtain(release, cache, progress)
    toolbox = tools.obtain(release, system, cache, progress, environments)
    data = folder / "cluster"
    data.mkdir(parents=True, exist_ok=True)
    with cache.lock("ports"):
        choose_port(folder, cache)
    binds = [
        Bind(source, "/src", read_only=source == SOURCE),
        Bind(data, "/cluster"),
        Bind(toolbox, tools.INSIDE),
    ]
    for more, seen in ((kept, KEPT), (machine, MACHINE)):
        if more is not None:
            (data / Path(seen).name).mkdir(exist_ok=True)
            binds.append(Bind(more, seen))
    chamber = Chamber.start(system, binds, detached=detached, isolated=machine is not None)
    return Workplace(release, folder, chamber, progress)


def choose_port(folder: Path, cache: Cache) -> None:
    """Give the cluster of `folder` a port that no other one has, once; the lock `ports` has to be held."""
    file = folder / "port"
    if file.exists():
        return
    others = [*cache.place("clusters").glob("*/port"), *cache.place("runs").glob("*/*/port")]
    taken = {port for other in others if (port := _port_in(other)) is not None}
    file.write_text(str(next(port for port in _PORTS if port not in taken and _is_free(port))))


def _port_in(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except FileNotFoundError:
        # its run has just ended
        return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
