"""Objects in memory at which somebody else does something in the middle of an act."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mgr_fscrypt.keys.objects import Stored

from .objects import FakeObjects


class Meanwhile(FakeObjects):
    """Objects at which somebody else does something, once, before one is read or changed."""

    def __init__(self) -> None:
        super().__init__()
        self._act: Callable[[], object] | None = None
        self._after = 0

    @contextmanager
    def somebody(self, act: Callable[[], object], after: int) -> Iterator[None]:
        """`act` is done before the call after so many."""
        self._act, self._after = act, after
        yield
        self._act = None

    @property
    def done(self) -> bool:
        return self._act is None

    def read(self, name: str) -> Stored | None:
        self._called()
        return super().read(name)

    def names(self) -> Iterator[str]:
        self._called()
        return super().names()

    def _step(self) -> None:
        self._called()
        super()._step()

    def _called(self) -> None:
        if self._act is not None:
            self._after -= 1
            if self._after < 0:
                act, self._act = self._act, None
                act()
