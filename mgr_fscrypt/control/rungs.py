"""All rungs by which clients are kept out of a subtree: those that change caps, and those that end sessions."""

import errno
from dataclasses import dataclass, replace

from .eviction_answers import EvictionPage
from .evictions import Evictions
from .gate_answers import GatePage
from .gates import ENDING, Gates, Wanted
from .refusal import RefusalError
from .results import Result
from .values import Simplified

_OF_CAPS = {"--namespace": "namespace", "--admit": "admit", "--open": "open_paths"}
_OF_SESSIONS = {"--grace": "grace", "--confirm": "confirm", "--gateway": "gateways"}


@dataclass(frozen=True)
class RungPage:
    """What is set, of both kinds.

    Args:
        gates: on caps.
        evictions: on sessions.
    """

    gates: GatePage | None
    evictions: EvictionPage

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        gates = {"gates": []} if self.gates is None else self.gates.simplified()
        return gates | self.evictions.simplified()

    def plain(self) -> str:
        """Show it to a person."""
        gates = "" if self.gates is None else self.gates.plain()
        return "\n\n".join(filter(None, (gates, self.evictions.plain())))


class Rungs:
    """What `ceph fscrypt gate ...` does: it gives each rung to those whose matter it is.

    Args:
        gates: change caps.
        evictions: end sessions.
    """

    def __init__(self, gates: Gates, evictions: Evictions) -> None:
        self._gates = gates
        self._evictions = evictions

    def show(self, fs_name: str | None = None, path: str | None = None) -> Result:
        """List what is set, and how it stands; with a path, to a person too, with all details."""
        gates, evictions = self._gates.show(fs_name, path), self._evictions.show(fs_name, path)
        if not isinstance(evictions.answer, EvictionPage):
            return evictions
        if not isinstance(gates.answer, GatePage):
            # no gate is on the path; an eviction or a fence may be
            return Result(answer=RungPage(None, evictions.answer)) if evictions.answer.evictions else gates
        return Result(answer=RungPage(gates.answer, evictions.answer))

    def preview(self, wanted: Wanted) -> Result:
        """Tell what setting a rung would do, and to whom."""
        try:
            _require_fitting(wanted)
        except RefusalError as refusal:
            return refusal.result
        return self._evictions.preview(wanted) if wanted.rung in ENDING else self._gates.preview(wanted)

    def set(self, wanted: Wanted) -> Result:
        """Have a rung set. One below those that end sessions ends no more; `observe` also lifts what was blocked."""
        try:
            _require_fitting(wanted)
        except RefusalError as refusal:
            return refusal.result
        if wanted.rung in ENDING:
            return self._evictions.set(wanted)
        done = self._gates.set(wanted)
        if not done.success:
            return done
        ended = self._evictions.end(wanted.fs_name, wanted.path, lift=wanted.rung == "observe")
        if done.answer is None and ended.status:
            # of the caps nothing was to be changed
            return replace(done, status=f"{wanted.path} of {wanted.fs_name}: {ended.status}")
        return replace(done, status="; ".join(filter(None, (done.status, ended.status))))


def _require_fitting(wanted: Wanted) -> None:
    """Hold that no option is given that the rung does not have. Raises `RefusalError`."""
    strange, what = (_OF_CAPS, "changes caps") if wanted.rung in ENDING else (_OF_SESSIONS, "ends sessions")
    for option, name in strange.items():
        if getattr(wanted, name) is not None:
            raise RefusalError(
                errno.EINVAL,
                f"{option} is for a rung that {what}, and {wanted.rung} does not; nothing was changed; leave it out",
            )
