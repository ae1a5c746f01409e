"""The cluster's servers in memory, as `mgr_fscrypt.control.observing.Servers` has them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mgr_fscrypt.control.cluster import FileSystem
from mgr_fscrypt.control.observing import Caps, Served, SilentError

TENTACLE = "ceph version 20.2.4 (abc) tentacle (stable)"


def session(number: int, entity: str = "stray", *, uptime: float = 100, **metadata: Any) -> dict[str, Any]:
    """An element of `session ls`; a libcephfs client, unless the metadata say otherwise."""
    known = {
        "client_features": {"feature_bits": "0x3fffff"},
        "ceph_version": TENTACLE,
        "entity_id": entity,
        "hostname": f"host{number}",
        "root": "/",
    }
    return {
        "id": number,
        "entity": {"addr": {"addr": "10.0.0.7:0", "nonce": number}},
        "state": "open",
        "num_caps": 1,
        "uptime": uptime,
        "client_metadata": known | metadata,
    }


class FakeServers:
    """Servers that can be changed, and fall silent.

    Attributes:
        listed: the sessions, by file system and rank.
        caps: of all entities.
        required: the features that file systems require.
        namespaces: of directories, by inode; those that are not here are in no MDS's cache.
        silent: what does not answer: "mds", the MDSs of one file system, "mon", or an entity whose caps cannot be set.
        slow: entities whose caps are set when nobody waits for it any more: by `land`.
        done: what was changed.
        blocklist: addresses that are refused, and until when.
        holding: sessions that hold capabilities on directories, by inode.
        newest, maps: the newest map of the OSDs, and the one that each OSD has.
        lagging: the OSDs that get no newer one.
    """

    def __init__(self, date: Callable[[], float] = float) -> None:
        self.date = date
        self.listed: dict[tuple[str, int], list[dict[str, Any]]] = {("cephfs", 0): []}
        self.caps: dict[str, dict[str, str]] = {}
        self.required: dict[str, set[str]] = {"cephfs": set()}
        self.namespaces: dict[int, str] = {}
        self.silent: set[str] = set()
        self.slow: set[str] = set()
        self._flying: list[tuple[str, Caps]] = []
        self.done: list[tuple[str, ...]] = []
        self.blocklist: dict[str, float] = {}
        self.holding: dict[int, set[int]] = {}
        self.newest = 1
        self.maps: dict[int, int] = {0: 1, 1: 1}
        self.lagging: set[int] = set()

    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(number, name) for number, name in enumerate(self.required, 1)]

    def served(self) -> Sequence[Served]:
        self._hear("mon")
        if self._flying:
            raise SilentError("a change has not ended")
        return [
            Served(
                each,
                frozenset({f"{each.name}_data"}),
                tuple(rank for name, rank in self.listed if name == each.name),
                frozenset(self.required[each.name]),
            )
            for each in self.file_systems()
        ]

    def manager_addresses(self) -> frozenset[str]:
        return frozenset({"10.0.0.7:0/999"})

    def sessions(self, file_system: str, rank: int) -> Sequence[Mapping[str, Any]]:
        self._hear("mds")
        self._hear(file_system)
        return self.listed[file_system, rank]

    def namespace_of(self, file_system: str, inode: int) -> str | None:
        assert file_system in self.required
        self._hear("mds")
        return self.namespaces.get(inode)

    def entities(self) -> Mapping[str, Caps]:
        self._hear("mon")
        return {entity: dict(caps) for entity, caps in self.caps.items()}

    def caps_of(self, entity: str) -> Caps:
        self._hear("mon")
        return dict(self.caps[entity])

    def set_caps(self, entity: str, caps: Caps) -> None:
        self._hear(entity)
        if entity in self.slow:
            self._flying.append((entity, caps))
            raise SilentError(f"{entity} took too long")
        self.done.append(("caps", entity))
        self.caps[entity] = dict(caps)

    def land(self) -> None:
        self.slow.clear()
        for entity, caps in self._flying:
            self.caps[entity] = dict(caps)
        self._flying.clear()

    def require_feature(self, file_system: str, feature: str, *, required: bool) -> None:
        self._hear("mon")
        self.done.append(("feature", feature, str(required)))
        known = self.required[file_system]
        (known.add if required else known.discard)(feature)

    def holders(self, file_system: str, inode: int) -> set[int]:
        self._hear(file_system)
        return self.holding.get(inode, set())

    def blocklisted(self) -> Mapping[str, float]:
        self._hear("mon")
        return dict(self.blocklist)

    def block(self, address: str, seconds: float) -> None:
        self._hear("mon")
        self.done.append(("block", address))
        self.blocklist[address] = self.date() + seconds
        self._publish()

    def lift(self, address: str) -> None:
        self._hear("mon")
        self.done.append(("lift", address))
        self.blocklist.pop(address, None)
        self._publish()

    def evict(self, file_system: str, ranks: Sequence[int], session: int) -> None:
        self._hear(file_system)
        assert ranks
        self.done.append(("evict", str(session)))
        for rank in ranks:
            known = self.listed[file_system, rank]
            known[:] = [each for each in known if each["id"] != session]

    def epoch(self) -> int:
        self._hear("mon")
        return self.newest

    def osds_behind(self, epoch: int) -> list[int]:
        return [number for number, known in self.maps.items() if known < epoch]

    def _publish(self) -> None:
        self.newest += 1
        for number in self.maps.keys() - self.lagging:
            self.maps[number] = self.newest

    def _hear(self, who: str) -> None:
        if who in self.silent:
            raise SilentError(f"{who} did not answer")
