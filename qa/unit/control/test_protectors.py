"""Keys that one loss would make useless."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from mgr_fscrypt.control import FileSystem
from mgr_fscrypt.control.protectors import MISSING, ProtectorWatch
from mgr_fscrypt.keys.tenant_key import TenantKey
from mgr_fscrypt.store import Key, KeyTable, LocalDatabase, Subtree, SubtreeTable, Tenant, TenantTable

PASSPHRASE = ("mine", "passphrase", 1, 2)
CODE = ("paper", "recovery-code", 1, 2)
KMS = ("kms", TenantKey.kind, 1, 2)
ESCROW = ("vault", "escrow", 1, 0)
"""Its private half is far away: it was never seen to open."""


@dataclass
class World:
    database: LocalDatabase

    def __post_init__(self) -> None:
        self.keys, self.subtrees = KeyTable(self.database), SubtreeTable(self.database)
        self.tenants = TenantTable(self.database)

    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(1, "cephfs")]

    def key(self, number: int, *protectors: tuple[str, str, int, int], **more: object) -> None:
        key = Key(1, f"{number:032x}", f"k{number}", "acme", "active", 1, 1, 0, 0, 0, protectors, 1)
        self.keys.put(replace(key, **more))  # type: ignore[arg-type]

    def use(self, number: int) -> None:
        self.subtrees.put(
            Subtree(
                1,
                f"/{number}",
                "cephfs",
                100 + number,
                "engine",
                "AES-256-XTS",
                "AES-256-CBC-CTS",
                32,
                f"{number:032x}",
                1,
            )
        )

    def watch(self, watched: int = 500) -> ProtectorWatch:
        parts = {"keys": self.keys, "tenants": self.tenants, "subtrees": self.subtrees}
        return ProtectorWatch(**parts, cluster=self, watched=watched)  # type: ignore[arg-type]

    def told(self) -> list[str]:
        watch = self.watch()
        watch.look()
        return watch.checks().get(MISSING, {"detail": []})["detail"][:-1]


@pytest.fixture
def world() -> Iterator[World]:
    with closing(LocalDatabase()) as database:
        yield World(database)


@pytest.mark.parametrize(
    ("protectors", "says"),
    [
        ((), "nothing was ever seen to open it"),
        ((ESCROW,), "nothing was ever seen to open it"),
        ((PASSPHRASE,), "only mine opens it"),
        ((PASSPHRASE, ESCROW), "only mine opens it"),
        ((PASSPHRASE, CODE), ""),
        ((KMS,), "only kms opens it"),
    ],
)
def test_ways_are_counted(world: World, protectors: tuple[tuple[str, str, int, int], ...], says: str):
    world.key(1, *protectors)
    world.use(1)
    told = world.told()
    assert len(told) == bool(says)
    assert says in str(told)
    assert all("cephfs-fscrypt key add k1 --fs cephfs --with" in line for line in told)


def test_the_key_of_a_tenant_counts_with_its_own_protectors(world: World):
    world.key(1, KMS)
    world.use(1)
    tenant = Tenant(1, "acme", 1, 1, 0, ("vault",), (), 1)
    world.tenants.put([tenant])
    assert "only vault (of tenant acme) opens it" in world.told()[0]
    world.tenants.put([replace(tenant, others=("shares",))])
    assert world.told() == []


def test_keys_that_nothing_needs_are_not_told(world: World):
    world.key(1)
    assert world.told() == [], "no subtree is under it"
    world.use(2)
    world.key(2, state="destroying")
    assert world.told() == []
    world.keys.put(replace(world.keys.at(1, f"{1:032x}"), fscid=9))  # type: ignore[type-var]
    assert world.told() == [], "its file system is gone"


def test_many_keys_are_looked_at_bit_by_bit(world: World):
    for number in range(1, 31):
        world.key(number)
        world.use(number)
    watch = world.watch(10)
    for _ in range(3):
        watch.look()
        assert watch.checks() == {}
    watch.look()
    check = watch.checks()[MISSING]
    assert (check["count"], len(check["detail"])) == (30, 21)
    for number in range(1, 31):
        world.subtrees.remove(1, f"/{number}")
    for _ in range(4):
        assert watch.checks()
        watch.look()
    assert watch.checks() == {}
