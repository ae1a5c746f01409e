"""Search what every user can read of processes while they run: their arguments, and their environment."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from .forms import Leak, Needles, Searched

_PERIOD = 0.01


class Watch:
    """Looks at all processes again and again, as long as its ``with`` block runs, and keeps what it sees.

    A process that lives for less than the period may be missed, so flows last longer than that.
    """

    def __init__(self) -> None:
        self._seen = dict[tuple[int, bytes], str]()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self.look()

    def search(self, needles: Needles) -> Searched:
        """Search what was seen so far; each process counts once for each of its command lines and environments."""
        leaks = set[Leak]()
        for (pid, data), name in self._seen.items():
            leaks.update(needles.found_in(data, f"{name} of process {pid}: {data[:60]!r}"))
        size = sum(len(data) for _, data in self._seen)
        return Searched("arguments and environment", len(self._seen), size, frozenset(leaks))

    def saw(self, words: bytes) -> bool:
        """Whether a process with these words was among them: what proves that this looked at the right moment."""
        return any(words in data for _, data in self._seen)

    def look(self) -> None:
        """Look at all processes once."""
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                for name in ("cmdline", "environ"):
                    self._read(int(process.name), process / name)

    def _read(self, pid: int, file: Path) -> None:
        try:
            data = file.read_bytes()
        except OSError:
            # it has ended
            return
        self._seen.setdefault((pid, data), file.name)

    def _watch(self) -> None:
        while not self._end.wait(_PERIOD):
            self.look()
