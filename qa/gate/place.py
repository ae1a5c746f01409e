"""An encrypted subtree on a real cluster, with those who may get there and those who may not."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.cluster import Cluster as Rados
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import SECRET, remove
from qa.lab.cluster import Cluster
from qa.load.program import done

EVERYWHERE = "allow rw tag cephfs data=cephfs"
LEASES = "allow rwx namespace=fscrypt.leases tag cephfs data=cephfs"
TEXT = b"what was there before"
NONE_KEPT = ("--keep", "")
"""Of other subtrees that may be registered, none has a namespace of its own."""


@dataclass(frozen=True)
class Place:
    """An encrypted subtree with a file in it, a plain directory beside it, a stray and a friend."""

    cluster: Cluster
    top: str
    namespace: str
    stray: str
    friend: str
    stored: str
    """The path of the subtree's file as those without the key see it."""

    @property
    def vault(self) -> str:
        return f"{self.top}/vault"

    @property
    def plain(self) -> str:
        return f"{self.top}/plain/file"

    @property
    def isolating(self) -> tuple[str, ...]:
        """The words that isolate or exclude the stray."""
        return ("--namespace", self.namespace, "--admit", f"client.{self.friend}", *NONE_KEPT)

    def caps(self, entity: str) -> dict[str, str]:
        (found,) = self.cluster.ceph_json("auth", "get", f"client.{entity}")
        return dict(found["caps"])

    def keyring(self, entity: str, folder: Path) -> Path:
        """A file with an entity's key."""
        file = folder / f"{entity}.keyring"
        file.write_text(self.cluster.ceph("auth", "get", f"client.{entity}"))
        return file

    def asked(self, *words: str) -> str:
        """What `ceph fscrypt` answers, once the module is there again."""
        found: list[str] = []

        def ask() -> bool:
            # 18.2.7's mgr crashes by itself (M1); one that runs is left alone
            self.cluster.start("mgr", "x")
            found.append(self.cluster.ceph("fscrypt", *words, timeout=20))
            return True

        self.cluster.wait(f"ceph fscrypt {' '.join(words)}", ask, timeout=90)
        return found[0]

    def gate(self, *words: str) -> str:
        return self.asked("gate", *words)

    def shown(self) -> dict[str, Any]:
        """How the subtree's gate stands; empty: there is none."""
        return self._shown("gates")

    def eviction(self) -> dict[str, Any]:
        """How its eviction or fence stands; empty: there is none."""
        return self._shown("evictions")

    def becomes(self, state: str | None) -> None:
        self.cluster.wait(f"the gate: {state}", lambda: self.shown().get("state") == state)

    def eviction_becomes(self, state: str | None) -> None:
        self.cluster.wait(f"the eviction: {state}", lambda: self.eviction().get("state") == state)

    def set(self, rung: str, *words: str) -> None:
        """Set a rung of caps, and wait until it is."""
        self.gate("set", "cephfs", self.vault, rung, *words)
        self.becomes("set")

    def end_sessions(self, rung: str, state: str) -> None:
        """Set a rung that ends sessions, and wait until it has; others than the test's may be about."""
        self.gate("set", "cephfs", self.vault, rung, "--grace", "0", "--confirm", "1000")
        self.eviction_becomes(state)

    def observed(self) -> None:
        """All is taken back."""
        self.gate("set", "cephfs", self.vault, "observe")
        self.becomes(None)
        self.eviction_becomes(None)

    def stored_path(self, inode: int) -> str:
        """The path of a file of the subtree as those without the key see it."""
        with connect(Access()) as mount:
            return next(
                f"{self.vault}/{os.fsdecode(entry.name)}"
                for entry in mount.scandir(self.vault.encode())
                if entry.ino == inode
            )

    def block_of(self, inode: int) -> bytes:
        """The first bytes of a file of the subtree, as its OSD has them."""
        with Rados(Access()) as rados, connect(Access()) as mount:
            ioctx = rados.ioctx(mount.layout(self.vault.encode()).pool, self.namespace)
            try:
                return bytes(ioctx.read(f"{inode:x}.00000000", 64))
            finally:
                ioctx.close()

    def blocklisted(self) -> list[str]:
        return list(self.cluster.ceph_json("osd", "dump")["blocklist"])

    def _shown(self, kind: str) -> dict[str, Any]:
        found = json.loads(self.gate("show", "cephfs", "--format", "json"))[kind]
        return next((each for each in found if each["path"] == self.vault), {})


@contextmanager
def made(cluster: Cluster, key: Path) -> Iterator[Place]:
    """A place, for a `with` block; no gate is left."""
    mark = uuid.uuid4().hex[:8]
    top, namespace = f"/gates-{mark}", f"fscrypt-{mark}"
    with connect(Access()) as mount:
        mount.mkdir(top.encode(), 0o777)
        mount.mkdir(f"{top}/plain".encode(), 0o777)
    done("subtree", "create", f"{top}/vault", "--make", "--namespace", namespace, "--key", key)
    with connect(Access()) as mount, opened(mount) as files:
        with files.create(f"{top}/vault/secret".encode()) as file:
            file.pwrite(TEXT, 0)
        (entry,) = mount.scandir(f"{top}/vault".encode())
    place = Place(
        cluster, top, namespace, f"stray-{mark}", f"friend-{mark}", f"{top}/vault/{os.fsdecode(entry.name)}"
    )
    caps = ("mon", "allow r", "mds", "allow rw", "osd")
    cluster.ceph("auth", "get-or-create", f"client.{place.stray}", *caps, EVERYWHERE)
    cluster.ceph("auth", "get-or-create", f"client.{place.friend}", *caps, f"{EVERYWHERE}, {LEASES}")
    try:
        yield place
    finally:
        place.observed()
        for entity in (place.stray, place.friend):
            cluster.ceph("auth", "rm", f"client.{entity}")
        place.asked("subtree", "forget", "cephfs", place.vault)
        with connect(Access()) as mount:
            remove(mount, top.encode())


@contextmanager
def opened(mount: Any) -> Iterator[FileSystem]:
    """Our engine with the key, on a mount."""
    keyring = Keyring()
    keyring.add(MasterKey(SECRET))
    with FileSystem(mount, keyring, durable_close=True) as files:
        yield files


@contextmanager
def befriended(place: Place, folder: Path) -> Iterator[FileSystem]:
    """Our engine, by the entity that is admitted."""
    access = Access(entity=f"client.{place.friend}", keyring=place.keyring(place.friend, folder))
    with connect(access) as mount, opened(mount) as files:
        yield files


def works(friend: FileSystem, place: Place) -> None:
    """A capable client makes, writes, reads and removes."""
    name = f"{place.vault}/{uuid.uuid4().hex[:8]}".encode()
    with friend.create(name) as file:
        file.pwrite(TEXT, 0)
    with friend.open(name) as file:
        assert file.pread(100, 0) == TEXT
    with friend.open(f"{place.vault}/secret".encode()) as file:
        assert file.pread(100, 0) == TEXT
    friend.unlink(name)
