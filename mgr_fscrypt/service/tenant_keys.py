"""Tenants' keys in this process's memory, each while a master key is needed that it opened.

So a tenant's key manager is called once, and not for each of a thousand master keys.
"""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass

from ..keys.binding import Binding
from ..keys.tenant_key import TenantKey
from ..messages.service import TenantKeyState
from .memory import SecretMemory


@dataclass(eq=False)
class _Kept:
    """One that is here, and the identifiers of the master keys for which it is."""

    memory: SecretMemory
    needed_by: set[bytes]


class TenantKeys:
    """The tenants' keys of this process. For several threads."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._kept: dict[tuple[Binding, int], _Kept] = {}
        self._asked: dict[tuple[Binding, int], Future[TenantKey]] = {}

    def key(
        self, binding: Binding, version: int, identifier: bytes, fetch: Callable[[], TenantKey]
    ) -> TenantKey:
        """A version of a tenant's key, for a master key that is kept here: from memory, or by `fetch`, which is called
        once for all who ask at the same time.

        Raises:
            SecretMemoryError: there is no more memory that may be locked.
            KeyStoreError: what `fetch` raises, for all who asked.
        """
        place = (binding, version)
        with self._turn:
            kept = self._kept.get(place)
            if kept is not None:
                kept.needed_by.add(identifier)
                return TenantKey(kept.memory.expose(), version)
            asked = self._asked.get(place)
            first = asked is None
            if asked is None:
                asked = self._asked[place] = Future()
        if first:
            self._answer(asked, place, identifier, fetch)
        key = asked.result()
        with self._turn:
            self._keep(place, key, identifier)
        return key

    def retain(self, needed: Collection[bytes]) -> None:
        """Wipe what none of these master keys needs."""
        with self._turn:
            for place, kept in tuple(self._kept.items()):
                kept.needed_by.intersection_update(needed)
                if not kept.needed_by:
                    self._wipe(place)

    def wipe_for(self, identifier: bytes) -> None:
        """Wipe what opened a master key, though others may need it: the next one asks anew."""
        with self._turn:
            for place, kept in tuple(self._kept.items()):
                if identifier in kept.needed_by:
                    self._wipe(place)

    def states(self) -> tuple[TenantKeyState, ...]:
        """All that are here, by tenant and version."""
        with self._turn:
            return tuple(
                TenantKeyState(binding.tenant, version, len(self._kept[binding, version].needed_by))
                for binding, version in sorted(self._kept, key=lambda place: (place[0].tenant, place[1]))
            )

    def _answer(
        self,
        asked: Future[TenantKey],
        place: tuple[Binding, int],
        identifier: bytes,
        fetch: Callable[[], TenantKey],
    ) -> None:
        try:
            key = fetch()
            with self._turn:
                # before anybody can ask again
                self._keep(place, key, identifier)
                del self._asked[place]
        except BaseException as error:  # noqa: BLE001 - it is raised by who asked: `result` does
            with self._turn:
                self._asked.pop(place, None)
            asked.set_exception(error)
        else:
            asked.set_result(key)

    # under the turn

    def _keep(self, place: tuple[Binding, int], key: TenantKey, identifier: bytes) -> None:
        kept = self._kept.get(place)
        if kept is None:
            kept = self._kept[place] = _Kept(SecretMemory(key.expose()), set())
        kept.needed_by.add(identifier)

    def _wipe(self, place: tuple[Binding, int]) -> None:
        self._kept.pop(place).memory.wipe()
