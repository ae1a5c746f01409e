"""``python3 -m qa.bench.api [--json]``: the API of a manager that knows 100,000 subtrees, and what that costs.

The first page of the list, at a client on the same host: it holds the time at the server. Then 50 clients, each on a
connection of its own and with a token of its own, ask one thing each second for a minute, while the command
`ceph fscrypt status` is timed beside them and without them; then one client beside others that say nothing.
"""

import http.client
import random
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from statistics import median
from urllib.parse import urlsplit

from qa.fakes.api_client import ACCEPT, ROOT, ApiServer, served, trusting
from qa.lab.cluster import Cluster

from .manager_load.asking import asking
from .manager_load.million import fill, path_of
from .report import Case, Ratio, Report, run_bench

SUBTREES = 100_000
PAGES = 50
CLIENTS = 50
PROCESSES = 5
SECONDS = 60.0
LARGEST = 200_000
FIRST_PAGE = 100.0
"""Milliseconds."""
SLOWER = 2.0
THINKING = 1.0
"""Seconds between an answer and the next question, as of a page that is made anew each second."""
SILENT = 30
"""Clients that open a connection, and say nothing."""
PLACES = (
    "/subtrees",
    "/subtrees?limit=100",
    "/status",
    "/keys?limit=100",
    "/jobs",
    "/tenants",
    "/audit?limit=50",
)


class Client:
    """One client, on one connection."""

    def __init__(self, address: str, token: str, context: ssl.SSLContext) -> None:
        place = urlsplit(address)
        self._connection = http.client.HTTPSConnection(
            place.hostname or "", place.port, context=context, timeout=60
        )
        self._headers = {"Accept": ACCEPT, "Authorization": f"Bearer {token}"}

    def get(self, path: str) -> tuple[float, int, bytes]:
        """Milliseconds, the status and the body."""
        begun = time.perf_counter()
        self._connection.request("GET", f"{ROOT}{path}", headers=self._headers)
        reply = self._connection.getresponse()
        body = reply.read()
        return (time.perf_counter() - begun) * 1000, reply.status, body

    def close(self) -> None:
        self._connection.close()


def _worked(address: str, tokens: Sequence[str], seed: int) -> tuple[list[float], list[str]]:
    """What so many clients met in a minute: milliseconds, and errors."""
    context = trusting(address)
    until = time.monotonic() + SECONDS

    def work(number: int) -> tuple[list[float], list[str]]:
        chance = random.Random(seed * 1000 + number)
        client = Client(address, tokens[number], context)
        times, errors = [], []
        try:
            while time.monotonic() < until:
                place = chance.choice(PLACES)
                if place == "/subtrees":
                    place += f"?after=1:{path_of(chance.randrange(SUBTREES))}"
                took, status, body = client.get(place)
                times.append(took)
                time.sleep(THINKING)
                if status != 200 or len(body) > LARGEST:
                    errors.append(f"{place}: {status}, {len(body)} bytes")
        except OSError as error:
            errors.append(f"{place}: {error}")
        finally:
            client.close()
        return times, errors

    with ThreadPoolExecutor(len(tokens)) as threads:
        done = list(threads.map(work, range(len(tokens))))
    return [took for times, _ in done for took in times], [error for _, errors in done for error in errors]


def _status(seconds: float) -> list[float]:
    """Milliseconds of `ceph fscrypt status`, again and again."""
    until = time.monotonic() + seconds
    times = []
    with asking() as manager:
        while time.monotonic() < until:
            times.append(manager.timed("fscrypt status", format="json"))
            time.sleep(0.05)
    return times


def _first_pages(server: ApiServer) -> tuple[list[float], list[int]]:
    client = Client(server.address, server.token("read-only"), server.context)
    client.get("/status")
    found = []
    for _ in range(PAGES):
        found.append(client.get("/subtrees"))
        time.sleep(0.05)
    client.close()
    return [took for took, _, _ in found], [len(body) for _, _, body in found]


def _beside_silent_ones(server: ApiServer) -> float:
    """Milliseconds of the slowest answer, each on a new connection."""
    place = urlsplit(server.address)
    silent = [socket.create_connection((place.hostname or "", place.port or 0)) for _ in range(SILENT)]
    times = []
    try:
        for _ in range(20):
            client = Client(server.address, server.token("read-only"), server.context)
            times.append(client.get("/status")[0])
            client.close()
    finally:
        for each in silent:
            each.close()
    return max(times)


def measure() -> Report:
    """All of it, on the cluster whose chamber this runs in."""
    cluster = Cluster.current()
    cluster.enable_module("fscrypt")
    fill(cluster, SUBTREES)
    with served(cluster) as server:
        pages, sizes = _first_pages(server)
        tokens = []
        for number in range(CLIENTS):
            body = {"name": f"bench.{time.time_ns()}.{number}", "role": "read-only", "expires": "1h"}
            tokens.append(server.send("POST", f"{ROOT}/access/tokens", body=body).json["value"]["token"])
        idle = _status(10)
        each = CLIENTS // PROCESSES
        with ProcessPoolExecutor(PROCESSES) as pool:
            working = [
                pool.submit(_worked, server.address, tokens[number * each : (number + 1) * each], number)
                for number in range(PROCESSES)
            ]
            loaded = _status(SECONDS - 5)
            done = [every.result() for every in working]
        silent = _beside_silent_ones(server)
    times = [took for every, _ in done for took in every]
    errors = [error for _, every in done for error in every]
    sys.stderr.write("".join(f"{error}\n" for error in errors[:20]))
    cases = [
        Case("first page of 100,000", "api", "ms", pages),
        Case("size of that page", "api", "bytes", [float(size) for size in sizes]),
        Case("answer to 1 of 50 clients", "api", "ms", times),
        Case("answers a second", "api", "1/s", [len(times) / SECONDS]),
        Case("fscrypt status, idle", "mgr command", "ms", idle),
        Case("fscrypt status, 50 clients", "mgr command", "ms", loaded),
        Case("beside 30 silent clients", "api", "ms", [silent]),
    ]
    ratios = [
        Ratio(f"{FIRST_PAGE:g} ms / first page", FIRST_PAGE / median(pages), 1.0),
        Ratio(f"{LARGEST} bytes / largest page", LARGEST / max(sizes), 1.0),
        Ratio("answers without an error", 1 - len(errors) / max(len(times), 1), 1.0),
        Ratio("twice idle / status beside 50 clients", SLOWER * median(idle) / median(loaded), 1.0),
        Ratio("1 s / beside silent clients", 1000 / silent, 1.0),
    ]
    return Report.here(cases, ratios)


if __name__ == "__main__":
    sys.exit(run_bench("the API of a manager that knows 100,000 subtrees", measure))
