"""What is kept of jobs, so that another service goes on where one ended: in memory as in RADOS, never ahead of it.

A record is written before anybody is told of what is in it, and only in our turn: the OSD refuses it once another one
has begun (`ceph.turn_records`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol, Self

from ...messages.job import JobState
from ...messages.strict import decoded, expect, expect_version, fields, parsed

KIND = "fscrypt.job"
VERSION = 1
PREFIX = "job."
MOST_OVER = 1000
"""Jobs that are over and still known: of more, those that ended first are forgotten."""
LONGEST_OVER = 30 * 86400.0
"""Seconds for which one that is over is known."""
_LARGEST = 1 << 20


@dataclass(frozen=True)
class JobRecord:
    """A job as it is kept: its state, and the cursor that its kind saved last."""

    state: JobState
    cursor: str = ""

    def encode(self) -> bytes:
        """Give the bytes that are kept."""
        content = {"kind": KIND, "version": VERSION, "state": asdict(self.state), "cursor": self.cursor}
        return json.dumps(content).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read them.

        Raises:
            MessageError: they are no record of this version.
        """
        text = data.decode("utf-8", "replace")
        found = fields(parsed(text, _LARGEST), "the record", {"kind", "version", "state", "cursor"})
        expect(found["kind"] == KIND, "kind", KIND)
        expect_version(found["version"], VERSION)
        expect(isinstance(found["cursor"], str), "cursor", "a string")
        return cls(decoded(JobState, found["state"], "state"), found["cursor"])


class Records(Protocol):
    """As `ceph.turn_records.TurnRecords`. Every call may raise `CephError`."""

    @property
    def fscid(self) -> int:
        """The number of the file system whose jobs these are."""
        ...

    def all(self) -> Iterable[tuple[str, bytes]]:
        """Every record, with its name, in no order."""
        ...

    def write(self, epoch: int, changes: Mapping[str, bytes | None]) -> None:
        """Put these in place of what has these names, all or none, durably; None removes.

        Raises:
            TurnTakenError: another turn than this has begun.
        """
        ...


class Book:
    """The jobs of one turn. Reading waits for nothing, and may be done by any thread; changes are made one at a time.

    Attributes:
        unreadable: how many records are none that this release can read; they are left alone.
    """

    def __init__(self, records: Records, epoch: int) -> None:
        """Read all of them. Raises CephError."""
        self._records = records
        self.epoch = epoch
        self.fscid = records.fscid
        self.unreadable = 0
        self._jobs: dict[str, JobRecord] = {}
        for name, data in records.all():
            try:
                record = JobRecord.decode(data)
            except ValueError:
                self.unreadable += 1
            else:
                self._jobs[name.removeprefix(PREFIX)] = record

    def get(self, job: str) -> JobRecord | None:
        """One, by its id."""
        return self._jobs.get(job)

    def jobs(self) -> list[JobRecord]:
        """All, in the order in which they were asked for."""
        return sorted(self._jobs.values(), key=lambda each: (each.state.created, each.state.id))

    def put(self, record: JobRecord, now: float) -> None:
        """Keep this of a job; those that have been over for long are forgotten with it. Raises as `Records.write`."""
        after = {**self._jobs, record.state.id: record}
        gone = _forgotten(after.values(), now) if record.state.over else []
        self._write({record.state.id: record.encode(), **dict.fromkeys(gone)})
        for job in gone:
            del after[job]
        self._jobs = after

    def drop(self, job: str) -> None:
        """Forget one. Raises as `Records.write`."""
        self._write({job: None})
        self._jobs = {each: record for each, record in self._jobs.items() if each != job}

    def _write(self, changes: Mapping[str, bytes | None]) -> None:
        self._records.write(self.epoch, {f"{PREFIX}{job}": data for job, data in changes.items()})


def _forgotten(records: Iterable[JobRecord], now: float) -> list[str]:
    over = sorted(
        ((record.state.ended or 0.0, record.state.id) for record in records if record.state.over),
        reverse=True,
    )
    return [
        job for place, (ended, job) in enumerate(over) if place >= MOST_OVER or ended < now - LONGEST_OVER
    ]
