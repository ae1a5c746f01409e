"""The commands at a second desk, where they answer with their results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..control import Result
from ..control.acting import Acting
from ..control.client_lines import left_to_a_client
from ..control.cluster import FileSystemMap
from ..door import Commands
from ..door.desk import Desk
from .exchange import Visitor


class ApiDesk(
    Commands,
):
    """What the commands work with when the API gives them, for one who asks.

    Their methods give a `Result` here, whatever they say: it is nobody's terminal that waits.

    Args:
        desk: the manager's own, whose parts it uses.
        cluster: the file systems that there are.
        acting: does things in the name of the one who asks.
        visitor: the one who asks.
    """

    def __init__(self, desk: Desk, cluster: FileSystemMap, acting: Acting, visitor: Visitor) -> None:
        for name in Desk.__annotations__:
            setattr(self, name, getattr(desk, name))
        self._desk = desk
        self._cluster = cluster
        self._acting = acting
        self.who = visitor.person
        self.behind = visitor.behind

    def overview(self) -> Result:
        """See `Desk`."""
        return self._desk.overview()

    def left_to_a_client(
        self,
        fs: str,
        words: Sequence[str],
        form: str | None,
        options: Mapping[str, str | bool | None] | None = None,
    ) -> Any:
        """See `Desk`."""
        return self.reply_at_once(lambda: left_to_a_client(self._cluster, fs, words, options))

    def reply(self, work: Callable[[], Result], form: str | None = None) -> Any:
        """See `Desk`."""
        return self._acting.asked(work)

    def reply_at_once(self, work: Callable[[], Result], form: str | None = None) -> Any:
        """See `Desk`."""
        return self._acting.asked_at_once(work)

    def act(
        self,
        command: str,
        about: Sequence[str],
        work: Callable[[], Result],
        form: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Any:
        """See `Desk`."""
        return self._acting.done(command, about, work, dry_run=dry_run)

    def act_at_once(
        self,
        command: str,
        about: Sequence[str],
        work: Callable[[], Result],
        form: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Any:
        """See `Desk`."""
        return self._acting.done_at_once(command, about, work, dry_run=dry_run)
