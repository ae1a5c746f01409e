"""``python3 -m qa.bench.manager [--json]``: does a command of ours hold ceph-mgr up?

All modules of a ceph-mgr share one Python interpreter: who keeps it stops them all. A thread in another module
(qa/facts/modules/factprobe) wants to run every millisecond, and tells the longest time for which it could not, while
three clients give one kind of command after the other, as large as it may be, to a module that knows a million
subtrees. Time in which the process had no processor is not counted. The bar is 50 ms.

Python's collector of garbage is told apart: it walks over all that all modules have, whoever made it begin.
"""

import json
import random
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import yaml

from mgr_fscrypt.control.declared import MOST
from mgr_fscrypt.control.documents import LONGEST
from mgr_fscrypt.control.paging import MAX_PAGE
from qa.lab.cluster import Cluster

from .manager_load.asking import Asking, asking
from .manager_load.million import SUBTREES, fill, key_of, path_of
from .report import Case, Ratio, Report, run_bench

BAR = 50.0
CLIENTS = 3
SECONDS = 4
ROUNDS = 3

Load = Callable[[Asking, random.Random], object]


def _resources(first: int) -> list[dict[str, object]]:
    """Subtrees that are registered, as they are declared."""
    return [
        {
            "kind": "fscrypt.subtree",
            "version": 1,
            "fs": "cephfs",
            "path": path_of(number),
            "inode": (1 << 40) + number,
            "mode": "kernel" if number % 50 == 0 else "engine",
            "policy": {
                "contents": "AES-256-XTS",
                "names": "AES-256-CBC-CTS",
                "padding": 32,
                "key_identifier": key_of(number),
            },
        }
        for number in range(first, first + MOST)
    ]


_JSON = json.dumps(_resources(10_000)).encode()
_YAML = yaml.safe_dump(_resources(20_000))[: LONGEST - 1].encode()


def _listing(**arguments: object) -> Load:
    def load(manager: Asking, chance: random.Random) -> object:
        after = f"1:{path_of(chance.randrange(SUBTREES // 2))}"
        return manager.ask("fscrypt subtree ls", after=after, **arguments)

    return load


def _change(manager: Asking, chance: random.Random) -> None:
    number = chance.randrange(SUBTREES, SUBTREES * 2)
    resource = _resources(number)[0]
    report = {name: resource[name] for name in ("inode", "mode", "policy")} | {
        "kind": "fscrypt.subtree",
        "version": 1,
    }
    path = f"/volumes/new/{number}"
    manager.ask("fscrypt subtree adopt", json.dumps(report).encode(), fs="cephfs", path=path)
    manager.ask("fscrypt subtree forget", fs="cephfs", path=path)


def _scanned(manager: Asking, chance: random.Random) -> object:
    """What a scan found beside what is registered: nothing of it is there."""
    after = path_of(chance.randrange(SUBTREES // 2))
    return manager.ask("fscrypt subtree scanned", fs="cephfs", after=after, format="json")


def _refused(prefix: str, given: bytes = b"", **arguments: object) -> Load:
    def load(manager: Asking, chance: random.Random) -> None:
        try:
            manager.ask(prefix, given, **arguments)
        except RuntimeError:
            return
        raise SystemExit(f"{prefix} was not refused")

    return load


LOADS: Mapping[str, Load] = {
    "status": lambda manager, _chance: manager.ask("fscrypt status"),
    "subtree ls, table": _listing(limit=MAX_PAGE),
    "subtree ls, json": _listing(limit=MAX_PAGE, format="json"),
    "subtree ls, yaml": _listing(limit=1000, format="yaml"),
    "subtree ls by text": _listing(text="nowhere"),
    "subtree adopt, forget": _change,
    "a name that is not there": _refused(
        "fscrypt subtree show", fs="cephfs", path="/volumes/group-0000/csi-vol"
    ),
    "show": lambda manager, chance: manager.ask(
        "fscrypt show", after=f"1:subtree:{path_of(chance.randrange(SUBTREES // 2))}", limit=1000
    ),
    "apply json": lambda manager, _chance: manager.ask("fscrypt apply", _JSON),
    "apply yaml": lambda manager, _chance: manager.ask("fscrypt apply", _YAML),
    "apply garbage": _refused("fscrypt apply", b"- {a: [" * (LONGEST // 8)),
    "key ls": lambda manager, _chance: manager.ask("fscrypt key ls", limit=MAX_PAGE, format="json"),
    "audit ls": lambda manager, _chance: manager.ask("fscrypt audit ls", limit=MAX_PAGE, format="json"),
    "audit verify": lambda manager, _chance: manager.ask("fscrypt audit verify"),
    "doctor": lambda manager, _chance: manager.ask("fscrypt doctor", format="json"),
    "metrics": lambda manager, _chance: manager.ask("fscrypt metrics"),
    "client ls": lambda manager, _chance: manager.ask("fscrypt client ls"),
    "gate show": lambda manager, _chance: manager.ask("fscrypt gate show"),
    "scan": lambda manager, _chance: manager.ask("fscrypt scan", fs="cephfs"),
    "subtree scanned": _scanned,
    "job ls": lambda manager, _chance: manager.ask("fscrypt job ls", limit=100, format="json"),
}


def _mixed(manager: Asking, chance: random.Random) -> object:
    return chance.choice(list(LOADS.values()))(manager, chance)


def measure() -> Report:
    """Without a load, under each kind, and under all at once."""
    cluster = Cluster.current()
    cluster.enable_module("factprobe")
    fill(cluster)
    _scan(cluster)
    loads = {"nothing": None, **LOADS, "all at once": _mixed}
    runs: dict[tuple[str, str], list[float]] = {
        (name, what): [] for name in loads for what in ("held", "collector")
    }
    for _ in range(ROUNDS):
        for name, load in loads.items():
            held, collector = _held(load)
            runs[name, "held"].append(held)
            runs[name, "collector"].append(collector)
            sys.stderr.write(f"{name}: {held:.1f} ms, collector {collector:.1f} ms\n")
    cases = [Case(name, what, "ms", figures) for (name, what), figures in runs.items()]
    # the longest of all counts, and higher is better
    ratios = [
        Ratio(f"{BAR:g} ms / longest under {name}", BAR / max(*runs[name, "held"], 0.1), 1.0)
        for name, load in loads.items()
        if load is not None
    ]
    return Report.here(cases, ratios)


def _scan(cluster: Cluster) -> None:
    """Have a scan done, which finds nothing, so that all that is registered is missing."""

    def done() -> bool:
        jobs = json.loads(cluster.ceph("fscrypt", "job", "ls", "--format", "json"))["jobs"]
        return any(job["kind"] == "scan" and job["state"] == "done" for job in jobs)

    cluster.wait("the engine service", lambda: "serving" in cluster.ceph("fscrypt", "service", "status"))
    cluster.ceph("fscrypt", "scan", "cephfs")
    cluster.wait("a scan", done)


def _held(load: Load | None) -> tuple[float, float]:
    """Milliseconds: by commands, and by the collector."""
    with asking() as probe, ThreadPoolExecutor(CLIENTS + 1) as threads:
        held = threads.submit(probe.ask, "factprobe held", seconds=SECONDS)
        if load is not None:
            for done in [threads.submit(_client, load, number, held.done) for number in range(CLIENTS)]:
                done.result()
        by_commands, by_collector = map(float, held.result().split())
        return by_commands, by_collector


def _client(load: Load, number: int, ended: Callable[[], bool]) -> None:
    chance = random.Random(number)
    with asking() as manager:
        while not ended():
            load(manager, chance)


if __name__ == "__main__":
    sys.exit(run_bench("how long a command of ours holds ceph-mgr up", measure))
