"""Cases of a long test: one after the other in this process, or several side by side in processes of their own."""

import multiprocessing
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

Case = Callable[[random.Random], str | None]
"""One case: draws what it does from the chance it is given; answers what was wrong, or None."""
Cases = Mapping[str, Case]
"""The kinds of cases by name; they take turns."""
Opened = Callable[[], AbstractContextManager[Cases]]
"""Opens what the cases work with; a function of a module, which other processes find by its name."""

# libcephfs does not survive a fork
_PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Outcome:
    """What was wrong with a case, or None."""

    number: int
    kind: str
    wrong: str | None


def kind_of(kinds: Iterable[str], number: int) -> str:
    """Which of the kinds a case is."""
    known = list(kinds)
    return known[number % len(known)]


def outcomes(opened: Opened, seed: int, numbers: Iterator[int], jobs: int) -> Iterator[Outcome]:
    """Run the cases with these numbers, so many `jobs` of them at once; give each when it is done.

    Raises:
        RuntimeError: a process ended by itself in the middle of a case, which is named.
    """
    if jobs == 1:
        with opened() as cases:
            for number in numbers:
                yield _outcome(cases, seed, number)
        return
    workers = [_Worker(opened, seed) for _ in range(jobs)]
    try:
        busy = {worker.answers: worker for worker in workers if worker.begin(next(numbers, None))}
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                worker = busy[ready]
                yield worker.outcome()
                if not worker.begin(next(numbers, None)):
                    del busy[ready]
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that does one case after the other. `answers` is ready when one is done."""

    def __init__(self, opened: Opened, seed: int) -> None:
        self.answers, theirs = _PROCESSES.Pipe()
        self._number: int | None = None
        self._process = _PROCESSES.Process(target=_work, args=(opened, seed, theirs))
        self._process.start()
        # the end of the process closes the last other end
        theirs.close()

    def begin(self, number: int | None) -> bool:
        """Begin a case; False where there is none left."""
        self._number = number
        if number is not None:
            self.answers.send(number)
        return number is not None

    def outcome(self) -> Outcome:
        try:
            found: Outcome = self.answers.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(
                f"the process of case {self._number} ended by itself, with {self._process.exitcode}; "
                "what was done before is kept, and another run goes on with that case"
            ) from None
        self._number = None
        return found

    def end(self) -> None:
        """After its case it would end by itself; a case that nobody waits for is given up."""
        self.answers.close()
        if self._number is not None:
            self._process.terminate()
        self._process.join()


def _work(opened: Opened, seed: int, parent: Connection) -> None:
    with opened() as cases:
        while True:
            try:
                number = parent.recv()
            except EOFError:
                return
            parent.send(_outcome(cases, seed, number))


def _outcome(cases: Cases, seed: int, number: int) -> Outcome:
    kind = kind_of(cases, number)
    return Outcome(number, kind, cases[kind](random.Random(f"{seed}:{number}")))
