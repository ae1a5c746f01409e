"""Events of ceph-mgr's module `progress`, which `ceph -s` shows (doc/facts.md M5)."""

from collections.abc import Collection
from typing import Any, Protocol

from .control.job_watch import BoardError

_MODULE = "progress"


class Remote(Protocol):
    """A module of ceph-mgr, as far as it calls others."""

    def remote(self, module: str, method: str, *args: Any, **options: Any) -> Any:
        """Call a method of another module. Raises ImportError: it is not there; RuntimeError: it failed."""
        ...


class ProgressBoard:
    """A `control.job_watch.Board`."""

    def __init__(self, module: Remote) -> None:
        self._module = module

    def events(self) -> Collection[str]:
        """See `Board`."""
        return [str(each["id"]) for each in self._called("_json")["events"]]

    def update(self, event: str, message: str, share: float) -> None:
        """See `Board`."""
        self._called("update", event, message, share, add_to_ceph_s=True)

    def complete(self, event: str) -> None:
        """See `Board`."""
        self._called("complete", event)

    def fail(self, event: str, why: str) -> None:
        """See `Board`."""
        self._called("fail", event, why)

    def _called(self, method: str, *arguments: object, **options: object) -> Any:
        try:
            return self._module.remote(_MODULE, method, *arguments, **options)
        except (ImportError, RuntimeError) as error:
            # it is about to start, or to end, as we are
            raise BoardError(f"the module progress: {error}") from error
