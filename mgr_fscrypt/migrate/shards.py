"""What processes that copy are asked for: a shard of the tree at a time.

A shard names entries, and no key: whoever carries it out has those already. It may be carried out twice, or by half: a
file that has its mark is not copied again, and nobody but the process that has the lease of the migration decides what
is finished.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ..ceph.interface import Kind
from .belonging import Belonging
from .files import Copied, Copier
from .pace import UNLIMITED, Limits
from .trees import Sides


@dataclass(frozen=True)
class ShardEntry:
    """A file, link, special file, or a directory to be made, by its path below the top.

    Attributes:
        fresh: nothing is in its place, since its directory was made by this pass, and nobody has tried it before.
    """

    # not in logs of those who are handed it
    below: bytes = field(repr=False)
    kind: Kind
    fresh: bool


@dataclass(frozen=True)
class Shard:
    """Entries in the order of the directories; what lies in one that is to be made comes after it."""

    entries: tuple[ShardEntry, ...]


class Hands(Protocol):
    """Who carries out shards."""

    @property
    def width(self) -> int:
        """So many shards keep all of them busy."""

    def submit(self, shard: Shard, /) -> Future[Copied]:
        """Have it carried out. Its result may be `BrokenExecutor`: then some of them died.

        Raises:
            BrokenExecutor: some of them died before.
        """

    def replace(self) -> None:
        """After a `BrokenExecutor`: others take the place of all of them, of whom nobody is at work any more."""


def carry_out(sides: Sides, go_on: Callable[[], None], shard: Shard, limits: Limits = UNLIMITED) -> Copied:
    """Copy what is not current, no faster than `limits`. `go_on` is called before each entry and each piece of a file.

    Raises what concerns more than one entry, as `copying.Pass.run`.
    """
    copied = Copied()
    copier = Copier(sides, Belonging(sides.source, sides.top, sides.excluded), go_on, copied, limits)
    for each in shard.entries:
        go_on()
        copier.wait_for_window()
        copier.attempt(each.below, partial(copier.bring, each.below, each.kind, fresh=each.fresh))
        if copier.full:
            copier.finish()
    copier.finish()
    return copied


class InThisProcess:
    """Nobody else: a shard is done when it was submitted."""

    width = 0

    def __init__(self, sides: Sides, go_on: Callable[[], None], limits: Limits) -> None:
        self._sides = sides
        self._go_on = go_on
        self._limits = limits

    def submit(self, shard: Shard, /) -> Future[Copied]:
        """Raises what the shard raises."""
        done: Future[Copied] = Future()
        done.set_result(carry_out(self._sides, self._go_on, shard, self._limits))
        return done

    def replace(self) -> None:
        """This process is alive."""
