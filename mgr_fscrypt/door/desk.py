"""What a command has at hand."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from mgr_module import HandleCommandResult

from ..control import Keys, Result, Subtrees
from ..control.audience import Audience
from ..control.gates import Gates
from ..control.observing import Observer
from ..control.service import ServiceKeeper


class Desk(ABC):
    """What each noun's commands work with; `module.Module` is one.

    Attributes:
        subtrees: the register of subtrees.
        keys: the register of keys.
        service: the engine service.
        audience: who can meet what is encrypted.
        gates: who is kept out of it.
        observer: learns of clients and caps.
    """

    subtrees: Subtrees
    keys: Keys
    service: ServiceKeeper[Any]
    audience: Audience
    gates: Gates
    observer: Observer

    @abstractmethod
    def overview(self) -> Result:
        """What is encrypted on each file system."""

    @abstractmethod
    def reply(self, work: Callable[[], Result], form: str | None = None) -> HandleCommandResult:
        """Answer by work on the database, which waits for it on a thread of its own."""

    @abstractmethod
    def reply_at_once(self, work: Callable[[], Result], form: str | None = None) -> HandleCommandResult:
        """Answer by work that waits for nothing but the service, and touches no database."""
