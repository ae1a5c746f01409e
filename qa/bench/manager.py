"""``python3 -m qa.bench.manager [--json]``: does a command of ours hold ceph-mgr up?

All modules of a ceph-mgr share one Python interpreter: who keeps it stops them all. A thread in another module
(qa/facts/modules/factprobe) wants to run every millisecond, and tells the longest time for which it could not, while
three clients give one kind of command after the other, as large as it may be, to a module that knows a million
subtrees and has a full history; ask for the same by the API; look at pages; and while a sample of the history is taken,
which the module does by itself once in ten minutes. Time in which the process had no processor is not counted. The bar
is 50 ms.

Python's collector of garbage is told apart: it walks over all that all modules have, whoever made it begin.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import yaml

from mgr_fscrypt.control.declared import MOST
from mgr_fscrypt.control.documents import LONGEST
from mgr_fscrypt.control.paging import MAX_PAGE
from mgr_fscrypt.store import FINE
from qa.fakes.api_client import ApiServer, served
from qa.lab.cluster import Cluster

from .manager_load.asking import NotNowError, asking
from .manager_load.client import Client, working
from .manager_load.million import SUBTREES, fill, key_of, path_of
from .report import Case, Ratio, Report, run_bench

BAR = 50.0
CLIENTS = 3
SECONDS = 4
ROUNDS = 3
_PAUSE = 0.2
"""Seconds that a client waits which has asked too often, or more than a slow database answers."""
SAMPLING = 25
"""Seconds within which a sample is taken: the module looks each ten seconds whether it is time."""

Load = Callable[[Client, random.Random], object]


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
    def load(manager: Client, chance: random.Random) -> object:
        after = f"1:{path_of(chance.randrange(SUBTREES // 2))}"
        return manager.ask("fscrypt subtree ls", after=after, **arguments)

    return load


def _change(manager: Client, chance: random.Random) -> None:
    number = chance.randrange(SUBTREES, SUBTREES * 2)
    resource = _resources(number)[0]
    report = {name: resource[name] for name in ("inode", "mode", "policy")} | {
        "kind": "fscrypt.subtree",
        "version": 1,
    }
    path = f"/volumes/new/{number}"
    manager.ask("fscrypt subtree adopt", json.dumps(report).encode(), fs="cephfs", path=path)
    manager.ask("fscrypt subtree forget", fs="cephfs", path=path)


def _scanned(manager: Client, chance: random.Random) -> object:
    """What a scan found beside what is registered: nothing of it is there."""
    after = path_of(chance.randrange(SUBTREES // 2))
    return manager.ask("fscrypt subtree scanned", fs="cephfs", after=after, format="json")


def _called(path: str) -> Load:
    """A list by the API, from somewhere on."""

    def load(manager: Client, chance: random.Random) -> None:
        manager.call("GET", path.format(path_of(chance.randrange(SUBTREES // 2))))

    return load


def _refused(prefix: str, given: bytes = b"", **arguments: object) -> Load:
    def load(manager: Client, chance: random.Random) -> None:
        try:
            manager.ask(prefix, given, **arguments)
        except RuntimeError:
            return
        raise SystemExit(f"{prefix} was not refused")

    return load


_SAMPLE = "a sample of the history"
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
    "history": lambda manager, _chance: manager.ask("fscrypt history", what="bytes", days=730, format="json"),
    "history, 30 days": lambda manager, _chance: manager.ask("fscrypt history", what="bytes", days=30),
    "API: subtrees": _called("/subtrees?after=1:{}"),
    "API: resources": _called("/resources?after=1:subtree:{}"),
    "API: apply": lambda manager, _chance: manager.call("PUT", "/resources", _JSON),
    "API: audit": lambda manager, _chance: manager.call("GET", "/audit"),
    "API: history": lambda manager, _chance: manager.call("GET", "/history/bytes?days=730"),
    "API: metrics, doctor": lambda manager, chance: manager.call(
        "GET", chance.choice(("/metrics", "/doctor"))
    ),
    "API: its description": lambda manager, _chance: manager.call("GET", "/openapi.json"),
    "page of subtrees": lambda manager, chance: manager.look(
        f"/subtrees?after=1:{path_of(chance.randrange(SUBTREES // 2))}"
    ),
    "pages with curves": lambda manager, chance: manager.look(
        chance.choice(("/?days=730", "/keys?days=730"))
    ),
}


def _mixed(manager: Client, chance: random.Random) -> object:
    return chance.choice(list(LOADS.values()))(manager, chance)


def measure() -> Report:
    """Without a load, under each kind, under all at once; and while a sample is taken."""
    cluster = Cluster.current()
    cluster.enable_module("factprobe")
    fill(cluster)
    _scan(cluster)
    loads = {"nothing": None, **LOADS, "all at once": _mixed}
    runs: dict[tuple[str, str], list[float]] = {}

    def note(name: str, held: float, collector: float) -> None:
        runs.setdefault((name, "held"), []).append(held)
        runs.setdefault((name, "collector"), []).append(collector)
        sys.stderr.write(f"{name}: {held:.1f} ms, collector {collector:.1f} ms\n")

    with served(cluster) as server:
        for _ in range(ROUNDS):
            for name, load in loads.items():
                if _until_a_sample() < 2 * SECONDS:
                    note(_SAMPLE, *_sampled(server))
                note(name, *_held(load, server))
        if (_SAMPLE, "held") not in runs:
            note(_SAMPLE, *_sampled(server))
    cases = [Case(name, what, "ms", figures) for (name, what), figures in runs.items()]
    # the longest of all counts, and higher is better
    ratios = [
        Ratio(f"{BAR:g} ms / longest under {name}", BAR / max(*runs[name, "held"], 0.1), 1.0)
        for name in (*LOADS, "all at once", _SAMPLE)
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


def _until_a_sample() -> float:
    """Seconds until the next one is due: the clock says."""
    return FINE - time.time() % FINE


def _sampled(server: ApiServer) -> tuple[float, float]:
    """Milliseconds while the next sample is taken."""
    left = _until_a_sample()
    due = time.time() + left - 1
    time.sleep(max(0.0, left - 1))
    found = _held(None, server, SAMPLING)
    with asking() as manager:
        told = json.loads(manager.ask("fscrypt history", what="subtrees", days=1, format="json"))
    last = max(point["at"] for curve in told["curves"] for point in curve["points"])
    if last < due:
        raise SystemExit(f"no sample was taken in the {SAMPLING} s after it was due")
    return found


def _held(load: Load | None, server: ApiServer, seconds: int = SECONDS) -> tuple[float, float]:
    """Milliseconds: by what is loaded with, and by the collector."""
    with asking() as probe, ThreadPoolExecutor(CLIENTS + 1) as threads:
        held = threads.submit(probe.ask, "factprobe held", seconds=seconds)
        if load is not None:
            clients = [threads.submit(_client, load, server, number, held.done) for number in range(CLIENTS)]
            for done in clients:
                done.result()
        by_commands, by_collector = map(float, held.result().split())
        return by_commands, by_collector


def _client(load: Load, server: ApiServer, number: int, ended: Callable[[], bool]) -> None:
    chance = random.Random(number)
    with working(server, f"bench.{time.time_ns()}.{number}") as client:
        while not ended():
            try:
                load(client, chance)
            except NotNowError:
                time.sleep(_PAUSE)


if __name__ == "__main__":
    sys.exit(run_bench("how long a command of ours holds ceph-mgr up", measure))
