"""Counts comparisons and keeps what differed."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import FormatError
from .fields import FieldError, Record

MOST_LINES = 200
"""Differences that are told one by one."""


class Tally:
    """How many values were compared, and which differ."""

    def __init__(self) -> None:
        self.values = 0
        self.differ = 0
        self.lines: list[str] = []
        self.notes: Counter[str] = Counter()

    def compare(self, where: str, computed: object, stored: object) -> bool:
        """Count one value; the answer is whether they are equal."""
        if computed == stored and type(computed) is type(stored):
            self.values += 1
            return True
        self.fail(f"{where}: computed {_short(computed)}, stored {_short(stored)}")
        return False

    def fail(self, line: str) -> None:
        """Count one value that differs."""
        self.values += 1
        self.differ += 1
        if len(self.lines) < MOST_LINES:
            self.lines.append(line)

    @contextmanager
    def judging(self, where: str) -> Iterator[None]:
        """Whatever is malformed inside counts as one value that differs; the rest inside is not reached."""
        try:
            yield
        except FieldError as error:
            self.fail(str(error))
        except FormatError as error:
            self.fail(f"{where}: {error}")

    def each(self, parent: Record, name: str, check: Callable[[Record], None]) -> None:
        """Check the objects of a list field one by one; a malformed one does not keep the next from its turn."""
        items: list[object] = []
        with self.judging(parent.where):
            items = parent.items(name)
        for index, item in enumerate(items):
            where = f"{parent.place(name)}[{index}]"
            with self.judging(where):
                check(Record(item, where))


class Agreement:
    """Values that nothing derives but that must be the same wherever they stand: the most common one is right."""

    def __init__(self) -> None:
        self._places: list[tuple[str, object]] = []

    def add(self, where: str, value: object) -> None:
        """Note a value and its place."""
        self._places.append((where, value))

    def compare_all(self, tally: Tally) -> None:
        """Compare each value with the most common one."""
        if not self._places:
            return
        common = Counter(value for _, value in self._places).most_common(1)[0][0]
        for where, value in self._places:
            tally.compare(where, common, value)


def _short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 64 else f"{text[:64]}... ({len(text)} characters)"
