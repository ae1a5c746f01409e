"""The cluster's servers, as ceph-mgr lets a module ask them: monitors and MDSs.

Nothing here is for ceph-mgr's own threads: a server may not answer for long.
"""

import errno
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Protocol

from .control.cluster import FileSystem
from .control.doctor_checks import Layout, Modules, Pool, Schedule
from .control.observing import Caps, Served, SilentError

PATIENCE = 15.0
"""Seconds that a server is waited for."""
_ERASURE = 3
"""The cluster's pg_pool_t::TYPE_ERASURE."""
_WORDS = 3
_GAP = re.compile(r"[\s,]*")
_TOGETHER = 100
"""OSDs that are asked at once."""


class Manager(Protocol):
    """What is used of ceph-mgr's `MgrModule`."""

    def get(self, name: str) -> Any:
        """A map."""
        ...

    def send_command(self, result: Any, kind: str, name: str, command: str, tag: str) -> None:
        """Ask a server; the result is completed on another thread."""
        ...

    def remote(self, module: str, method: str, *words: object, **more: object) -> Any:
        """Call a method of another module."""
        ...

    def get_module_option_ex(self, module: str, key: str, default: object = None) -> Any:
        """An option of another module."""
        ...


class Answering(Protocol):
    """What is used of ceph-mgr's `CommandResult`: an answer that comes on another thread."""

    ev: threading.Event
    r: int
    outb: str
    outs: str


class ManagedServers:
    """A `control.observing.Servers`, and the `control.doctor.Witnesses`.

    Args:
        manager: ceph-mgr's module.
        answering: makes what an answer is put into.
        patience: seconds that a server is waited for.
    """

    def __init__(
        self, manager: Manager, answering: Callable[[], Answering], *, patience: float = PATIENCE
    ) -> None:
        self._manager = manager
        self._answering = answering
        self._patience = patience
        self._unfinished: list[Answering] = []

    def served(self) -> Sequence[Served]:
        """See `Servers.served`. The map of the OSDs would tell pools too, but takes long to become Python's."""
        self._unfinished = [each for each in self._unfinished if not each.ev.is_set()]
        if self._unfinished:
            raise SilentError("the monitors have not ended a change that they were asked for before")
        pools = {
            each["poolnum"]: each["poolname"]
            for each in json.loads(self._asked("mon", "", "osd lspools", format="json"))
        }
        found = []
        for each in self._manager.get("fs_map")["filesystems"]:
            known = each["mdsmap"]
            found.append(
                Served(
                    FileSystem(each["id"], known["fs_name"]),
                    frozenset(pools[number] for number in known["data_pools"] if number in pools),
                    tuple(known["in"]),
                    frozenset(known.get("required_client_features", {}).values()),
                )
            )
        return found

    def manager_addresses(self) -> AbstractSet[str]:
        """Give the addresses of ceph-mgr's own clients."""
        clients = self._manager.get("mgr_map").get("active_clients", [])
        return frozenset(
            f"{one['addr']}/{one['nonce']}" for client in clients for one in client.get("addrvec", [])
        )

    def sessions(self, file_system: str, rank: int) -> Sequence[Mapping[str, Any]]:
        """See `Servers.sessions`."""
        name = f"{file_system}:{rank}"
        return list(_elements(self._asked("mds", name, "session ls"), f"mds.{name}"))

    def namespace_of(self, file_system: str, inode: int) -> str | None:
        """See `Servers.namespace_of`."""
        layout = self._layout(file_system, inode)
        return None if layout is None else str(layout["pool_ns"])

    def holders(self, file_system: str, inode: int) -> AbstractSet[int]:
        """See `Servers.holders`."""
        return {
            int(each["client_id"])
            for found in self._inode(file_system, inode)
            for each in found.get("client_caps", [])
        }

    def entities(self) -> Mapping[str, Caps]:
        """See `Servers.entities`. Their keys come with the answer, and are dropped here."""
        listed = json.loads(self._asked("mon", "", "auth ls", format="json"))["auth_dump"]
        return {each["entity"]: dict(each["caps"]) for each in listed}

    def caps_of(self, entity: str) -> Caps:
        """See `Servers.caps_of`."""
        (found,) = json.loads(self._asked("mon", "", "auth get", entity=entity, format="json"))
        return dict(found["caps"])

    def set_caps(self, entity: str, caps: Caps) -> None:
        """See `Servers.set_caps`."""
        words = [word for pair in sorted(caps.items()) for word in pair]
        self._change("auth caps", entity=entity, caps=words)

    def require_feature(self, file_system: str, feature: str, *, required: bool) -> None:
        """See `Servers.require_feature`."""
        self._change(
            "fs required_client_features",
            fs_name=file_system,
            subop="add" if required else "rm",
            val=feature,
        )

    def blocklisted(self) -> Mapping[str, float]:
        """See `Servers.blocklisted`."""
        # behind the list there is a sentence
        listed = _elements(self._asked("mon", "", "osd blocklist ls", format="json"), "the monitors")
        return {each["addr"]: datetime.fromisoformat(each["until"]).timestamp() for each in listed}

    def block(self, address: str, seconds: float) -> None:
        """See `Servers.block`."""
        self._change("osd blocklist", blocklistop="add", addr=address, expire=seconds)

    def lift(self, address: str) -> None:
        """See `Servers.lift`."""
        self._change("osd blocklist", blocklistop="rm", addr=address)

    def evict(self, file_system: str, ranks: Sequence[int], session: int) -> None:
        """See `Servers.evict`."""
        for rank in ranks:
            self._asked("mds", f"{file_system}:{rank}", "client evict", filters=[f"id={session}"])

    def epoch(self) -> int:
        """See `Servers.epoch`."""
        return int(json.loads(self._asked("mon", "", "osd stat", format="json"))["epoch"])

    def osds_behind(self, epoch: int) -> Sequence[int]:
        """See `Servers.osds_behind`. The map of the OSDs would tell who is up, but takes long to become Python's."""
        tree = json.loads(self._asked("mon", "", "osd tree", states=["up"], format="json"))
        up = [each["id"] for each in (*tree["nodes"], *tree.get("stray", ())) if each["type"] == "osd"]
        behind = []
        for start in range(0, len(up), _TOGETHER):
            asked = [
                (number, self._sent("osd", str(number), "status")) for number in up[start : start + _TOGETHER]
            ]
            for number, result in asked:
                known = json.loads(self._heard(result, f"osd.{number}", "status"))
                if int(known["newest_map"]) < epoch:
                    behind.append(number)
        return behind

    def versions(self) -> Mapping[str, Mapping[str, int]]:
        """See `Witnesses.versions`."""
        found: Mapping[str, Mapping[str, int]] = json.loads(self._asked("mon", "", "versions", format="json"))
        return found

    def pools(self) -> Sequence[Pool]:
        """See `Witnesses.pools`."""
        answer = self._asked("mon", "", "osd pool ls", detail="detail", format="json")
        return [
            Pool(
                each["pool_id"],
                each["pool_name"],
                coded=each["type"] == _ERASURE,
                overwrites="ec_overwrites" in each["flags_names"].split(","),
            )
            for each in _elements(answer, "the monitors")
        ]

    def layout_of(self, file_system: str, inode: int) -> Layout | None:
        """See `Witnesses.layout_of`."""
        layout = self._layout(file_system, inode)
        return None if layout is None else Layout(layout["pool_id"], layout["stripe_count"])

    def modules(self) -> Modules:
        """See `Witnesses.modules`."""
        known = self._manager.get("mgr_map")
        # of each release of the cluster one list: that of the newest one holds
        always = known.get("always_on_modules", {}).values()
        running = {*known.get("modules", ()), *(name for names in always for name in names)}
        shown = self._manager.get_module_option_ex("progress", "enabled", default=True)
        return Modules(frozenset(running), progress_shown=bool(shown))

    def schedules(self, file_system: str) -> Sequence[Schedule]:
        """See `Witnesses.schedules`."""
        if "snap_schedule" not in self.modules().running:
            return ()
        try:
            code, text, why = self._manager.remote(
                "snap_schedule", "snap_schedule_list", "/", recursive=True, fs=file_system
            )
        except (ImportError, RuntimeError) as error:
            raise SilentError(f"the module snap_schedule does not answer: {error}") from error
        if code == -errno.ENOENT:
            return ()
        if code != 0:
            raise SilentError(f"the module snap_schedule refused to list its schedules: {why or code}")
        # "PATH EVERY RETENTION", where the last may be empty; its JSON leaves the paths out
        lines = [line.rsplit(" ", 2) for line in text.splitlines()]
        return [Schedule(*words) for words in lines if len(words) == _WORDS]

    def _layout(self, file_system: str, inode: int) -> Mapping[str, Any] | None:
        """The layout of a directory, from the first MDS that has it; None: none has, or it has none of its own."""
        for found in self._inode(file_system, inode):
            if found["layout"]["pool_id"] >= 0:
                return dict(found["layout"])
        return None

    def _inode(self, file_system: str, inode: int) -> Iterator[Mapping[str, Any]]:
        """What each MDS that has an inode in its cache knows of it."""
        for each in self._manager.get("fs_map")["filesystems"]:
            if each["mdsmap"]["fs_name"] == file_system:
                for rank in each["mdsmap"]["in"]:
                    answer = self._asked("mds", f"{file_system}:{rank}", "dump inode", number=inode)
                    # one that does not have it says so in words
                    if answer.startswith("{"):
                        yield json.loads(answer)

    def _change(self, prefix: str, **arguments: object) -> None:
        """Have the monitors change something. Raises `SilentError`: then it may still come about."""
        result = self._sent("mon", "", prefix, **arguments)
        try:
            self._heard(result, "the monitors", prefix)
        except SilentError:
            self._unfinished.append(result)
            raise

    def _asked(self, kind: str, name: str, prefix: str, **arguments: object) -> str:
        """What a server answers. Raises `SilentError`."""
        who = f"{kind}.{name}" if name else "the monitors"
        return self._heard(self._sent(kind, name, prefix, **arguments), who, prefix)

    def _sent(self, kind: str, name: str, prefix: str, **arguments: object) -> Answering:
        """A question that is on its way."""
        result = self._answering()
        self._manager.send_command(result, kind, name, json.dumps({"prefix": prefix, **arguments}), "")
        return result

    def _heard(self, result: Answering, who: str, prefix: str) -> str:
        """The answer to a question. Raises `SilentError`."""
        if not result.ev.wait(self._patience):
            raise SilentError(f"{who} did not answer `{prefix}` in {self._patience:g} s")
        if result.r != 0:
            raise SilentError(f"{who} refused `{prefix}`: {result.outs or result.r}")
        return str(result.outb)


def _elements(text: str, who: str) -> Iterator[Any]:
    """The elements of a JSON list, one at a time: thousands of sessions in one call would hold the interpreter."""
    decoder = json.JSONDecoder()
    place = text.find("[") + 1
    try:
        while text[place := _skipped(text, place)] != "]":
            element, place = decoder.raw_decode(text, place)
            yield element
    except (ValueError, IndexError) as error:
        raise SilentError(f"{who} answered what is no list: {error}") from error


def _skipped(text: str, place: int) -> int:
    """Where the next element begins, or the list ends."""
    gap = _GAP.match(text, place)
    return place if gap is None else gap.end()
