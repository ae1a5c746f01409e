"""What happens to a whole key: expiry, drills, and its end."""

from collections.abc import Callable
from dataclasses import replace

from .errors import RefusedError
from .keeper import Keeper
from .lockbox import Lockbox, State, Tombstone


class Lifecycle:
    """What a keeper does to the times and states of keys."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._safe = keeper.safe

    def disable(self, named: str) -> Lockbox:
        """It unwraps for nobody that asks here; what is unlocked somewhere stays so."""
        return self._changed("disable", named, lambda box: box.changed(state=State.DISABLED), State.ACTIVE)

    def enable(self, named: str) -> Lockbox:
        """The end of `disable`."""
        return self._changed("enable", named, lambda box: box.changed(state=State.ACTIVE), State.DISABLED)

    def expire(self, named: str, at: int) -> Lockbox:
        """When it is to be replaced, in seconds since the epoch; 0: never. A warning is all that comes of it."""
        return self._changed("expire", named, lambda box: box.changed(expires=at))

    def drill_every(self, named: str, seconds: int) -> Lockbox:
        """How often somebody has to prove that it can be recovered; 0: never."""
        return self._changed("drill-every", named, lambda box: box.changed(drill_every=seconds))

    def destroy(self, named: str, wait: int) -> Lockbox:
        """Begin the end of a key: from now on it unwraps for nobody, and in `wait` seconds it may be `finish`ed."""
        due = self._keeper.now() + wait

        def begun(box: Lockbox) -> Lockbox:
            if box.state is State.DESTROYING:
                return box
            return box.changed(state=State.DESTROYING, due=due)

        return self._changed("destroy", named, begun)

    def cancel(self, named: str) -> Lockbox:
        """The end of `destroy`, as long as the key is there."""
        return self._changed(
            "cancel", named, lambda box: box.changed(state=State.ACTIVE, due=0), State.DESTROYING
        )

    def finish(self, named: str) -> Tombstone:
        """Destroy a key for good, once its waiting time is over: all of its containers go, a tombstone stays.

        Copies in bundles, in backups of the pool and in key managers are out of reach.

        Raises:
            RefusedError: it does not wait for that, or not long enough yet.
        """
        box = self._safe.find(named)
        with self._keeper.told("finish-destroying", box.title):
            left = box.due - self._keeper.now()
            if box.state is not State.DESTROYING:
                raise RefusedError(
                    f"nobody asked for the end of key {box.name}", remedy="Begin with `key destroy`."
                )
            if left > 0:
                raise RefusedError(
                    f"key {box.name} waits for another {left} s",
                    remedy=f"Until then `cephfs-fscrypt key cancel {box.name}` keeps it.",
                )
            tombstone = Tombstone(box.key, box.name, self._keeper.now(), self._keeper.who)
            self._safe.bury(box, tombstone)
            return tombstone

    def _changed(
        self, act: str, named: str, change: Callable[[Lockbox], Lockbox], only: State | None = None
    ) -> Lockbox:
        box = self._safe.find(named)
        with self._keeper.told(act, box.title):

            def checked(found: Lockbox) -> Lockbox:
                after = change(found)
                if only is not None and found.state is not only:
                    if replace(found, generation=after.generation, due=after.due) == after:
                        return found
                    raise RefusedError(f"key {box.name} is {found.state.value}, not {only.value}")
                return after

            return self._safe.revised(box.key, checked)
