"""What was compared, how often, and what differed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from qa.load.tree import Found, Path_

MOST_READ_AGAIN = 20
"""So many first reads may be wrong in one witness; thrice what any had (doc/kernel-witness.md)."""
_SHOWN = 48


@dataclass(frozen=True)
class Difference:
    """A value that is not what it should be."""

    part: str
    what: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.part}: {self.what}: {self.found}, not {self.expected}"


@dataclass
class Tally:
    """Counts of one witness.

    Attributes:
        parts: how many values were compared in each part of the story.
        read_again: what a guest's first read had wrong (doc/kernel-witness.md).
    """

    parts: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    read_again: list[str] = field(default_factory=list)
    _part: str = ""

    @property
    def values(self) -> int:
        """Of all parts."""
        return sum(self.parts.values())

    def begin(self, part: str) -> None:
        """What is compared from now on belongs to this part."""
        self._part = part
        self.parts.setdefault(part, 0)

    def count(self, values: int) -> None:
        """So many that were compared elsewhere, and did not differ."""
        self.parts[self._part] += values

    def forgive(self, where: str) -> bool:
        """May a guest's wrong first read be made once more? Each is told; more than the bar allows are not forgiven."""
        self.read_again.append(where)
        return len(self.read_again) <= MOST_READ_AGAIN

    def compare(self, what: str, found: object, expected: object) -> None:
        """One value."""
        self.parts[self._part] += 1
        if found == expected:
            return
        if isinstance(found, bytes) and isinstance(expected, bytes) and len(found) == len(expected):
            what = f"{what}: {where_wrong(found, expected)}"
        self.differences.append(Difference(self._part, what, _shown(found), _shown(expected)))

    def compare_trees(
        self, where: str, found: Mapping[Path_, Found], expected: Mapping[Path_, Found]
    ) -> None:
        """Names both ways, and all that is certain of each."""
        for path in sorted(found.keys() | expected.keys()):
            what = f"{where}/{b'/'.join(path).decode(errors='backslashreplace')}"
            self.compare(f"{what}: there", path in found, path in expected)
            if path in found and path in expected:
                self._compare_found(what, found[path], expected[path])

    def _compare_found(self, what: str, found: Found, expected: Found) -> None:
        for each in fields(Found):
            wanted, seen = getattr(expected, each.name), getattr(found, each.name)
            if each.name == "content":
                self.compare(f"{what}: size", len(seen), len(wanted))
            if wanted is not None:
                self.compare(f"{what}: {each.name}", seen, wanted)

    def told(self) -> dict[str, object]:
        """For programs."""
        return {
            "values": self.values,
            "differ": len(self.differences),
            "parts": self.parts,
            "read_again": self.read_again,
            "differences": [asdict(each) for each in self.differences],
        }


def _shown(value: object) -> str:
    if isinstance(value, bytes) and len(value) > _SHOWN:
        return f"{len(value)} bytes {value[:_SHOWN].hex()}..."
    return str(value)


def where_wrong(found: bytes, expected: bytes) -> str:
    """Of two contents of one length."""
    places = [at for at, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]]
    return f"{len(places)} of {len(expected)} bytes, from {places[0]} to {places[-1]}"


def wrong_bytes(found: Mapping[Path_, Found], expected: Mapping[Path_, Found]) -> list[Path_]:
    """Files that have other bytes, and as many."""
    return [
        path
        for path, one in expected.items()
        if path in found
        and len(found[path].content) == len(one.content)
        and found[path].content != one.content
    ]
