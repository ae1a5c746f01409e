"""CephFS clients in processes of their own, which run functions for the spike that started them.

They are spawned, never forked, after a mount (doc/facts.md F15). One that was killed or stays paused is evicted when
its stage closes: its capabilities would block everybody else (F14).
"""

import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Self

import cephfs
import rados

from qa.lab.cluster import Cluster

DATA_POOL = "cephfs_data"
LEASES = "spike.leases"
"""The namespace of the lock objects."""
ANSWER_SECONDS = 240.0
O_DIRECT_LIKE = {"client_oc": "false"}
"""Options of a mount without a cache of contents."""


@dataclass
class Client:
    """What a function of a spike gets in its process: one mount, the pool's objects, and a memory between calls."""

    mount: Any
    objects: Any
    locks: Any
    memory: dict[str, Any] = field(default_factory=dict)

    def session(self) -> int:
        """The number under which the MDS knows this client."""
        return int(self.mount.get_instance_id())


class SilentError(Exception):
    """A client did not answer in time; it is still at it."""


class FailedError(Exception):
    """The function in the client ended with an exception; `errno` is Ceph's, if it was one of Ceph's."""

    def __init__(self, said: str, errno: int | None) -> None:
        super().__init__(said)
        self.errno = errno


def _connected(entity: str, options: dict[str, str]) -> Any:
    cluster = rados.Rados(conffile=os.environ["CEPH_CONF"], name=entity, conf=options)
    cluster.connect(timeout=20)
    return cluster


def _serve(pipe: Connection, entity: str, options: dict[str, str]) -> None:
    mount = cephfs.LibCephFS(conffile=os.environ["CEPH_CONF"], auth_id=entity.removeprefix("client."))
    for name, value in options.items():
        mount.conf_set(name, value)
    mount.mount()
    cluster = _connected(entity, options)
    objects, locks = cluster.open_ioctx(DATA_POOL), cluster.open_ioctx(DATA_POOL)
    locks.set_namespace(LEASES)
    client = Client(mount, objects, locks)
    addresses = [cluster.get_addrs(), mount.get_addrs()]
    pipe.send((client.session(), addresses))
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            break
        try:
            pipe.send((True, function(client, *arguments)))
        except (cephfs.Error, rados.Error, OSError) as error:
            pipe.send((False, (f"{type(error).__name__}: {error}", getattr(error, "errno", None))))
    mount.shutdown()
    cluster.shutdown()


class Actor:
    """One client process. `run` waits for the answer; `start` and `answer` are its halves."""

    def __init__(self, cluster: Cluster, entity: str, options: dict[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._cluster = cluster
        self.uuid = str(uuid.uuid4())
        """The uuid of its session, which `ceph_set_uuid` would set."""
        announced = {"client_metadata": f"uuid={self.uuid}"}
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, entity, announced | options))
        self._process.start()
        theirs.close()
        if not self._pipe.poll(60):
            raise SilentError("mount: no answer in 60 s")
        self.session, self.addresses = self._pipe.recv()
        self.gone = False
        """It was killed, or its session was ended by others: there is nothing to unmount."""

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Let it begin `function(client, *arguments)`; the function is found by its module and name."""
        self._pipe.send((function, arguments))

    def answer(self, seconds: float = ANSWER_SECONDS) -> Any:
        """What the function begun last returned."""
        if not self._pipe.poll(seconds):
            raise SilentError(f"no answer in {seconds} s")
        well, value = self._pipe.recv()
        if not well:
            raise FailedError(*value)
        return value

    def run(self, function: Callable[..., Any], *arguments: Any, seconds: float = ANSWER_SECONDS) -> Any:
        self.start(function, *arguments)
        return self.answer(seconds)

    def kill(self) -> None:
        """End it as a crash would; its session stays."""
        self._process.kill()
        self._process.join()
        self.gone = True

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def evict(self) -> None:
        """Have the MDS drop its session, which blocklists it too (M10)."""
        self._cluster.ceph("tell", "mds.cephfs:0", "client", "evict", f"id={self.session}")

    def end(self) -> None:
        """Unmount and end; one whose session is gone, or that takes long, is killed and evicted."""
        self._pipe.close()
        if self.gone:
            self.kill()
        self._process.join(20)
        if self._process.is_alive():
            self.kill()
        if self._process.exitcode != 0:
            self.evict()

    def _signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)


class Stage:
    """The clients of one spike and a folder of its own in the file system; all gone at the end."""

    def __init__(self) -> None:
        self.cluster = Cluster.current()
        self.folder = f"/spike-{uuid.uuid4().hex[:8]}"
        self._actors: list[Actor] = []

    def actor(self, entity: str = "client.admin", **options: str) -> Actor:
        """A new client; `options` are Ceph's."""
        actor = Actor(self.cluster, entity, options)
        self._actors.append(actor)
        return actor

    def actors(self, count: int, **options: str) -> list[Actor]:
        return [self.actor(**options) for _ in range(count)]

    def dismiss(self, *actors: Actor) -> None:
        """End these now."""
        for actor in sorted(actors, key=lambda one: not one.gone):
            self._actors.remove(actor)
            actor.end()

    def __enter__(self) -> Self:
        self.actor().run(make_folder, self.folder)
        self.dismiss(*self._actors)
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss(*self._actors)
        keeper = self.actor()
        keeper.run(remove_folder, self.folder)
        self.dismiss(keeper)


def all_of(actors: list[Actor], function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The answers of all actors, which run the same function at the same time."""
    for actor in actors:
        actor.start(function, *arguments)
    return [actor.answer() for actor in actors]


def make_folder(client: Client, path: str) -> None:
    client.mount.mkdir(path, 0o777)
    client.mount.chmod(path, 0o777)


def remove_folder(client: Client, path: str) -> None:
    mount = client.mount
    with mount.opendir(path) as folder:
        names = []
        while (entry := mount.readdir(folder)) is not None:
            names.append((entry.d_name.decode(), entry.is_dir()))
    for name, is_folder in names:
        if name not in {".", ".."}:
            mount.rmdir(f"{path}/{name}") if is_folder else mount.unlink(f"{path}/{name}")
    mount.rmdir(path)


def timed(function: Callable[[], Any]) -> float:
    """The seconds that a call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin
