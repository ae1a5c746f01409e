"""What long work found, in memory, as `mgr_fscrypt.ceph.findings.FindingStore` keeps it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from mgr_fscrypt.ceph.errors import CephError


class FakeFindings:
    """By work and name. `error` is raised instead of an answer."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[bytes, bytes]] = {}
        self.error: CephError | None = None

    @contextmanager
    def reach(self) -> Iterator["FakeFindings"]:
        if self.error is not None:
            raise self.error
        yield self

    def put(self, work: str, findings: Mapping[bytes, bytes]) -> None:
        self.kept.setdefault(work, {}).update(findings)

    def page(self, work: str, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        return [pair for pair in sorted(self.kept.get(work, {}).items()) if pair[0] > after][:limit]

    def drop(self, work: str) -> None:
        self.kept.pop(work, None)

    def drop_old(self) -> None:
        """Nothing is old here."""
