"""Ends the sessions that evictions and fences ask for, on the observer's thread: servers take their time."""

from collections.abc import Callable, Sequence
from logging import Logger

from .eviction_answers import EvictionLine, EvictionPage, eviction_check
from .eviction_plan import Due
from .evictions import Evictions
from .observing import Servers, SilentError
from .results import Result
from .values import Simplified

AT_ONCE = 5
"""Sessions that are ended before the cluster is looked at again."""
RATE = 30
"""Sessions that are ended in a minute, for one subtree."""
BLOCKED = 3600.0
"""Seconds for which an address is refused; a fence has that renewed."""
RENEWED = 1800.0
"""Seconds before the end of it at which it is renewed."""
_PATIENCE = 20
"""Times that OSDs without the newest map are asked again before the next look."""
_PAUSE = 0.25


class Evictor:
    """Acts after each look at the cluster.

    Args:
        evictions: what is wanted.
        servers: who ends sessions.
        answer: does work on the database, and answers in time.
        recorded: does work of a command about something, and records it in the audit.
        clock: seconds since the epoch.
        pause: waits for some seconds.
        log: where acts are told.
    """

    def __init__(
        self,
        *,
        evictions: Evictions,
        servers: Servers,
        answer: Callable[[Callable[[], Result]], Result],
        recorded: Callable[[str, Sequence[str], Callable[[], Result]], Result],
        clock: Callable[[], float],
        pause: Callable[[float], None],
        log: Logger,
    ) -> None:
        self._evictions = evictions
        self._servers = servers
        self._answer = answer
        self._recorded = recorded
        self._clock = clock
        self._pause = pause
        self._log = log
        self._checks: Simplified = {}

    def checks(self) -> Simplified:
        """Give the health checks, as ceph-mgr takes them, by the last look."""
        return self._checks

    def watched(self) -> bool:
        """Is there anything to do, or to watch?"""
        return self._answer(self._evictions.watched).success

    def act(self) -> bool:
        """Do what is wanted and not done; True: something was changed, and is worth another look."""
        page = self._answer(self._evictions.show).answer
        if not isinstance(page, EvictionPage):
            return False  # the database does not answer: health tells of that
        changed = [self._carry_out(line) for line in page.evictions]
        if any(line.ended for line in page.evictions) or any(changed):
            self._learn()
        left = self._answer(self._evictions.show).answer if page.evictions else page
        self._checks = eviction_check(left.evictions) if isinstance(left, EvictionPage) else self._checks
        return any(changed)

    def _carry_out(self, line: EvictionLine) -> bool:
        """Tells whether something was changed."""
        there = line.chosen.due or line.chosen.spared
        if line.eviction.complete and there and line.state != "waiting":
            self._told(line, lambda: self._evictions.reopened(line))
        trouble, changed = "", False
        try:
            match line.state:
                case "ending":
                    return self._take_back(line)
                case "evicting":
                    changed = self._end(line)
                case "open":
                    trouble = self._missing(line)
                    changed = not trouble
                case "waiting" | "stuck":
                    # nobody is ended now, and what is in the way is not known to be over
                    trouble = line.eviction.trouble
            if line.eviction.rung == "fence":
                self._renew(line)
        except SilentError as error:
            trouble = str(error)
        if trouble != line.eviction.trouble:
            self._told(line, lambda: self._evictions.trouble(line, trouble))
        return changed

    def _end(self, line: EvictionLine) -> bool:
        """End some of the sessions whose time has come. Raises `SilentError`."""
        recent = sum(each.at > self._clock() - 60 for each in line.ended)
        changed = False
        for due in line.ripe[: max(0, min(AT_ONCE, RATE - recent))]:
            again = self._evictions.is_begun(line, due)
            if not self._begun(line, due, again=again).success:
                break
            # first the blocklist: what the session has not written yet must not land when its capabilities are gone,
            # and an MDS can be told to evict without that
            self._servers.block(due.client.address, BLOCKED)
            self._servers.evict(line.fs_name, line.ranks, due.client.number)
            self._log.info("%s: ended session %d of %s", line.named, due.client.number, due.client.entity)
            # one that stays all the same is tried again at the next look, and not at once
            changed = changed or not again
        return changed

    def _begun(self, line: EvictionLine, due: Due, *, again: bool) -> Result:
        # an attempt each 20 s at what is stuck is one record, not thousands
        if again:
            return self._answer(lambda: self._evictions.begin(line, due))
        return self._told(line, lambda: self._evictions.begin(line, due))

    def _missing(self, line: EvictionLine) -> str:
        """What a fence lacks to be complete; empty: nothing, and it is recorded as such. Raises `SilentError`."""
        if line.chosen.spared:
            named = "; ".join(
                f"session {each.client.number} of {each.client.entity} on {each.client.host}: {each.why}"
                for each in line.chosen.spared
            )
            return f"not complete, since some are left alone: {named}"
        if line.unread:
            return f"not complete: {line.unread} sessions are not understood"
        holders = self._servers.holders(line.fs_name, line.inode) - line.ours
        if holders:
            return f"not complete: sessions {', '.join(map(str, sorted(holders)))} hold capabilities on it"
        blocklisted = self._servers.blocklisted()
        free = [each.address for each in line.own if each.address not in blocklisted]
        if free:
            return f"not complete: {', '.join(free)} are not on the blocklist"
        # the map that has them all on its list, or a later one
        epoch = self._servers.epoch()
        behind = self._servers.osds_behind(epoch)
        for _ in range(_PATIENCE):
            if not behind:
                break
            self._pause(_PAUSE)
            behind = self._servers.osds_behind(epoch)
        if behind:
            return f"not complete: osd.{', osd.'.join(map(str, behind))} do not have map {epoch} yet"
        if self._told(line, lambda: self._evictions.completed(line, epoch)).success:
            return ""
        return line.eviction.trouble

    def _renew(self, line: EvictionLine) -> None:
        """Have what was ended be refused for as long as a fence stands. Raises `SilentError`.

        That is also what is refused from before it was asked for, or asked for in other words.
        """
        now = self._clock()
        for each in dict.fromkeys((*line.own, *line.blocked)):
            if each.until - now < RENEWED and each.at < now - 60:
                self._servers.block(each.address, BLOCKED)

    def _take_back(self, line: EvictionLine) -> bool:
        """Let in again what was blocked. Raises `SilentError`."""
        for each in line.blocked:
            self._servers.lift(each.address)
            self._log.info("%s: lifted %s", line.named, each.address)
        return self._told(line, lambda: self._evictions.lifted(line)).success

    def _learn(self) -> None:
        try:
            blocklisted = self._servers.blocklisted()
        except SilentError as error:
            self._log.info("the blocklist is not known now: %s", error)
        else:
            self._answer(lambda: self._evictions.learn(blocklisted))

    def _told(self, line: EvictionLine, work: Callable[[], Result]) -> Result:
        """Work on the database, which the audit records."""
        about = (line.fs_name, line.eviction.path)
        return self._answer(lambda: self._recorded("gate carry out", about, work))
