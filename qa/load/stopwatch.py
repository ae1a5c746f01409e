"""How long single calls of a file system take, for loads that hold that nobody is held up for long."""

import time
from collections.abc import Callable
from typing import Any

from mgr_fscrypt.engine import FileSystem


class Stopwatch:
    """Stands before a `FileSystem`, or a file that it opened, and times every call. `longest` is in seconds."""

    def __init__(self, target: object, parent: "Stopwatch | None" = None) -> None:
        self._target = target
        self._first: Stopwatch = parent._first if parent else self
        self.longest = 0.0
        self.call = "nothing"

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *end: object) -> None:
        self._timed("close", self._target.__exit__, *end)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        if isinstance(getattr(type(self._target), name, None), property):
            return self._timed(name, lambda: getattr(self._target, name))
        found = getattr(self._target, name)
        return lambda *given, **named: self._wrapped(self._timed(name, found, *given, **named))

    def _wrapped(self, answer: Any) -> Any:
        return Stopwatch(answer, self) if hasattr(answer, "pwrite") else answer

    def _timed(self, name: str, act: Callable[..., Any], *given: Any, **named: Any) -> Any:
        begun = time.monotonic()
        try:
            return act(*given, **named)
        finally:
            took = time.monotonic() - begun
            if took > self._first.longest:
                self._first.longest, self._first.call = took, name


def timed(files: FileSystem) -> tuple[FileSystem, Stopwatch]:
    """The same file system under a stopwatch. Streams (`scandir`) are not timed."""
    watch = Stopwatch(files)
    return watch, watch  # type: ignore[return-value] # it answers to every call of a FileSystem
