"""Who did what to which key: records of which none can be changed, dropped or moved by itself.

Each has the SHA-256 of the one before it in it. They lie in segments of some hundred, or a MiB, of which the newest is
the object `audit`; a full one is kept as `audit.N`. Whoever may write the namespace can write all of it anew, or cut
off the newest records; whoever kept the last hash, such as the manager or a log server, sees that.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

from .container import LATEST
from .errors import ChangedError, ContainerError
from .objects import Objects

_HEAD = "audit"
_SEGMENT = 200
_FULL = 1 << 20
_TRIES = 50
_FIRST = "0" * 64


@dataclass(frozen=True)
class Record:
    """One act.

    Attributes:
        number: from 1 on, without a gap.
        at: seconds since the epoch.
        who: user, host and entity, as the actor's host told it.
        act: what was done: a verb of `cephfs-fscrypt key`.
        key: the key's name and identifier, or what else it was about.
        result: `done`, or why not.
        previous: SHA-256 of the record before it, as 64 hexadecimal digits.
    """

    number: int
    at: int
    who: str
    act: str
    key: str
    result: str
    previous: str

    def encode(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """What the next record has in it."""
        return hashlib.sha256(self.encode().encode()).hexdigest()


@dataclass(frozen=True)
class _Segment:
    number: int
    records: tuple[Record, ...]
    before: str

    def __post_init__(self) -> None:
        if type(self.number) is not int or not 0 <= self.number < LATEST or not isinstance(self.before, str):
            raise ContainerError("a part of the audit has other fields")

    def encode(self) -> bytes:
        first = json.dumps({"segment": self.number, "before": self.before})
        return "\n".join([first, *(record.encode() for record in self.records)]).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        try:
            first, *rest = (json.loads(line) for line in data.decode().split("\n"))
            return cls(first["segment"], tuple(Record(**_fields(each)) for each in rest), first["before"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ContainerError(f"a part of the audit cannot be read ({type(error).__name__})") from error

    @property
    def last(self) -> tuple[int, str]:
        """Number and digest of the newest record."""
        if not self.records:
            return 0, self.before
        return self.records[-1].number, self.records[-1].digest


class Audit:
    """The records of one file system's keys.

    Args:
        objects: where they lie.
        who: the actor of this process.
        clock: seconds since the epoch.
    """

    def __init__(self, objects: Objects, who: str, clock: Callable[[], float]) -> None:
        self._objects = objects
        self._who = who
        self._clock = clock

    def record(self, act: str, key: str, result: str = "done") -> Record:
        """Append a record, durably. `key` is at most some 100 KB: a segment is read as a whole.

        Raises:
            ChangedError: too many others append at the same time.
        """
        for _ in range(_TRIES):
            stored = self._objects.read(_HEAD)
            segment = _Segment(0, (), _FIRST) if stored is None else _Segment.decode(stored.data)
            number, digest = segment.last
            if stored is not None and (len(segment.records) >= _SEGMENT or len(stored.data) > _FULL):
                # whoever comes first keeps it; all would keep the same
                self._objects.create(f"{_HEAD}.{segment.number}", segment.encode())
                segment = _Segment(segment.number + 1, (), digest)
            made = Record(number + 1, int(self._clock()), self._who, act, key, result, digest)
            data = _Segment(segment.number, (*segment.records, made), segment.before).encode()
            if stored is None:
                if self._objects.create(_HEAD, data):
                    return made
            elif self._objects.replace(_HEAD, data, stored.version):
                return made
        raise ChangedError("the audit is written by too many at once", remedy="Run it again.")

    def head(self) -> tuple[int, str]:
        """Number and digest of the newest record; 0 and zeros where there is none. Nothing is checked.

        Raises:
            ContainerError: it cannot be read.
        """
        stored = self._objects.read(_HEAD)
        return (0, _FIRST) if stored is None else _Segment.decode(stored.data).last

    def records(self) -> Iterator[Record]:
        """All, oldest first, each checked against the one before.

        Raises:
            ContainerError: the chain is broken; the message names the first record that does not fit.
        """
        stored = self._objects.read(_HEAD)
        if stored is None:
            return
        newest = _Segment.decode(stored.data)
        expected, digest = 1, _FIRST
        for number in range(newest.number + 1):
            for record in (newest if number == newest.number else self._segment(number)).records:
                if (record.number, record.previous) != (expected, digest):
                    raise ContainerError(
                        f"the audit is broken before record {record.number}: something was changed or dropped",
                        remedy="Compare it with the cluster's own log, and find out who could write it.",
                    )
                yield record
                expected, digest = record.number + 1, record.digest

    def _segment(self, number: int) -> _Segment:
        stored = self._objects.read(f"{_HEAD}.{number}")
        if stored is None:
            raise ContainerError(f"the audit is broken: its part {number} is missing")
        return _Segment.decode(stored.data)


def _fields(value: dict[str, Any]) -> dict[str, Any]:
    for name, each in value.items():
        whole = type(each) is int and 0 <= each < LATEST
        if not (whole if name in ("number", "at") else isinstance(each, str)):
            raise ContainerError("a record of the audit has other fields")
    return value
