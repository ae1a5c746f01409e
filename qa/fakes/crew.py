"""Who copies and compares for migrations that are jobs, in this process."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.migrate import Copied, Migration, Verdict
from mgr_fscrypt.migrate.pace import Limits
from mgr_fscrypt.migrate.shards import Hands, Shard, carry_out
from mgr_fscrypt.migrate.turns import Turn

from .ceph import FakeCluster, FakeMount


class FakeHands:
    """One who copies at once."""

    width = 0

    def __init__(self, migration: Migration, turn: Turn) -> None:
        self._migration = migration
        self._turn = turn

    def submit(self, shard: Shard, /) -> Future[Copied]:
        done: Future[Copied] = Future()
        sides = self._migration.sides(self._migration.required_record())
        done.set_result(carry_out(sides, lambda: self._migration.require_turn_of(self._turn), shard))
        return done

    def replace(self) -> None:
        pass


class FakeCrew:
    """A `Crew` on the fake file system.

    Attributes:
        compared: how often both trees were.
        asked_for: by so many, the last time.
    """

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self.compared = 0
        self.asked_for = 0

    @contextmanager
    def hands(self, keys: Sequence[MasterKey], count: int, turn: Turn, limits: Limits) -> Iterator[Hands]:
        with self._files(keys) as files:
            yield FakeHands(Migration(FakeMount(self._cluster), files, turn.path), turn)

    def compare(
        self,
        path: bytes,
        keys: Sequence[MasterKey],
        count: int,
        told: Callable[[Verdict], None],
        *,
        manifest: bool = False,
    ) -> Verdict:
        self.compared += 1
        self.asked_for = count
        verdict = Verdict()
        with self._files(keys) as files:
            migration = Migration(FakeMount(self._cluster), files, path)
            return migration.compare(verdict, lambda: told(verdict), manifest=manifest)

    def _files(self, keys: Sequence[MasterKey]) -> FileSystem:
        keyring = Keyring()
        for key in keys:
            keyring.add(key)
        return FileSystem(FakeMount(self._cluster), keyring)
