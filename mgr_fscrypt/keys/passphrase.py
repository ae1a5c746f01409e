"""Protectors that a passphrase opens: Argon2id (RFC 9106), with costs that were measured where it was made."""

import os
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from ..format import Secretive
from .binding import Binding
from .errors import RefusedError
from .opener import WRAPPING_KEY, Parameters
from .parameters import encoded, number, octets

SHORTEST = 8
"""Characters of a new passphrase: fewer can be tried out, whatever each trial costs."""
_SALT = 16
_LARGEST_MEMORY = 4 << 20
_LARGEST_TIME = 1 << 10
_LARGEST_LANES = 64


@dataclass(frozen=True)
class Costs:
    """What one trial costs: `memory` in KiB, `time` in passes over it, `lanes` side by side."""

    memory: int = 64 << 10
    time: int = 3
    lanes: int = 4


LEAST = Costs()
"""RFC 9106's second recommendation."""


def calibrated(
    seconds: float = 1.0, largest_memory: int = 1 << 20, clock: Callable[[], float] = time.perf_counter
) -> Costs:
    """Costs for about so many seconds on this host, never below `LEAST`: first more memory, then more passes.

    Args:
        seconds: what unlocking may take.
        largest_memory: KiB that it may need; also on hosts that are smaller than this one.
    """
    memory = LEAST.memory
    took = _seconds(Costs(memory), clock)
    while 2 * took <= seconds and 2 * memory <= largest_memory:
        memory *= 2
        took = _seconds(Costs(memory), clock)
    return Costs(memory, max(LEAST.time, int(LEAST.time * seconds / took)))


class Passphrase(Secretive):
    """A passphrase, in Unicode's form NFKC, so that every keyboard types the same. `costs` are for new protectors."""

    kind = "passphrase"
    opens = True
    __slots__ = ("_costs", "_secret")

    def __init__(self, text: str, costs: Costs = LEAST) -> None:
        self._secret = unicodedata.normalize("NFKC", text).encode("utf-8", "surrogateescape")
        self._costs = costs

    def require_long_enough(self) -> None:
        """Raises `RefusedError` for what is too short for a new protector."""
        if len(self._secret.decode("utf-8", "surrogateescape")) < SHORTEST:
            raise RefusedError(
                f"a passphrase has at least {SHORTEST} characters",
                remedy="Use several words that belong together for you only.",
            )

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """See `Opener`."""
        self.require_long_enough()
        costs = self._costs
        parameters: Parameters = {
            "salt": encoded(os.urandom(_SALT)),
            "memory": costs.memory,
            "time": costs.time,
            "lanes": costs.lanes,
        }
        return parameters, self.wrapping_key(parameters, binding)

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """See `Opener`. Costs that no host can bear are refused."""
        lanes = number(parameters, "lanes", 1, _LARGEST_LANES)
        return Argon2id(
            salt=octets(parameters, "salt", _SALT),
            length=WRAPPING_KEY,
            iterations=number(parameters, "time", 1, _LARGEST_TIME),
            lanes=lanes,
            memory_cost=number(parameters, "memory", 8 * lanes, _LARGEST_MEMORY),
        ).derive(self._secret)


def _seconds(costs: Costs, clock: Callable[[], float]) -> float:
    begun = clock()
    Argon2id(
        salt=bytes(_SALT),
        length=WRAPPING_KEY,
        iterations=costs.time,
        lanes=costs.lanes,
        memory_cost=costs.memory,
    ).derive(b"how long does this take?")
    return clock() - begun
