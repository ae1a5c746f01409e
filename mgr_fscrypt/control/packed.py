"""Long lists without their objects: an answer of some thousand lines is made and written a few lines at a time.

Python's collector of garbage walks over all that all modules of ceph-mgr have in memory, in one go, once enough new
objects have lived for a while. Texts are none of its business: a list that is kept as texts brings no such walk nearer.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

T = TypeVar("T")
V = TypeVar("V")

PART = 200
"""Lines that are there as objects at one moment: a tenth of what wakes the collector."""


class Made(Sequence[T]):
    """Values that are made of others when they are asked for, each time anew. Equal to any list of equal values."""

    def __init__(self, of: Sequence[V], make: Callable[[V], T]) -> None:
        self._of = of
        self._make = make

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...

    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return Made(self._of[index], self._make)
        return self._make(self._of[index])

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[T]:
        return map(self._make, self._of)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == each for one, each in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(list(self))


def packed(
    values: Iterable[T], simplify: Callable[[T], dict[str, Any]], restore: Callable[[dict[str, Any]], T]
) -> Sequence[T]:
    """Values, kept as texts.

    Args:
        values: taken one by one.
        simplify: gives plain JSON types of one.
        restore: gives it back.
    """
    texts = [json.dumps(simplify(each)) for each in values]
    return Made(texts, lambda text: restore(json.loads(text)))


def in_parts(limit: int, fetch: Callable[[T | None, int], Sequence[T]]) -> Iterator[T]:
    """Up to `limit` rows.

    Args:
        limit: at most so many.
        fetch: gives up to so many after a row; None: from the begin.
    """
    last: T | None = None
    while limit > 0:
        asked = min(limit, PART)
        part = fetch(last, asked)
        yield from part
        if len(part) < asked:
            return
        limit, last = limit - asked, part[-1]
