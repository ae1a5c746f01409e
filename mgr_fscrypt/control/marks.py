"""A few words that outlive a manager, and what is noted down by them."""

from typing import Protocol


class Marks(Protocol):
    """A few words that outlive a manager, by name. Not for the database's thread."""

    def mark(self, name: str) -> str | None:
        """What was kept under that name."""
        ...

    def set_mark(self, name: str, text: str) -> None:
        """Keep it."""
        ...


class SeenJobs:
    """The jobs of each file system that were seen to, those seen to last. For one thread, but for `knows`.

    Args:
        marks: where that is kept.
        most: how many of a file system are remembered; as many as the service keeps of those that are over.
    """

    def __init__(self, marks: Marks, most: int) -> None:
        self._marks = marks
        self._most = most
        # what is in it is put in place of, never changed
        self._seen: dict[int, tuple[str, ...]] = {}

    def has(self, fscid: int, job: str) -> bool:
        """Was it seen to?"""
        return job in self._of(fscid)

    def knows(self, job: str) -> bool:
        """Was it seen to, of a file system that was asked for before? Reads no mark; for any thread."""
        # tuple() of a dict's values is one step of the interpreter
        return any(job in seen for seen in tuple(self._seen.values()))

    def add(self, fscid: int, job: str) -> None:
        """It was."""
        seen = self._of(fscid)
        if job not in seen:
            seen = (*seen, job)[-self._most :]
            self._marks.set_mark(_name(fscid), " ".join(seen))
            self._seen[fscid] = seen

    def _of(self, fscid: int) -> tuple[str, ...]:
        if fscid not in self._seen:
            self._seen[fscid] = tuple((self._marks.mark(_name(fscid)) or "").split())
        return self._seen[fscid]


def _name(fscid: int) -> str:
    return f"jobs.{fscid}"
