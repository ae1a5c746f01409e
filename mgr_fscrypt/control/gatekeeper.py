"""Carries out what gates ask for, and watches that it stays so. On the observer's thread: servers take their time."""

from collections.abc import Callable, Sequence
from logging import Logger

from .audience import Audience, ClientPage, unsafe_check
from .gate_answers import FEATURE, GateLine, GatePage, drift_check, unprotected_check
from .gates import Gates
from .observing import Servers, SilentError
from .results import Result
from .values import Simplified


class Gatekeeper:
    """Acts after each look at the cluster.

    Args:
        gates: what is wanted.
        audience: who is there.
        servers: who changes caps.
        answer: does work on the database, and answers in time.
        recorded: does work of a command about something, and records it in the audit.
        log: where acts are told.
    """

    def __init__(
        self,
        *,
        gates: Gates,
        audience: Audience,
        servers: Servers,
        answer: Callable[[Callable[[], Result]], Result],
        recorded: Callable[[str, Sequence[str], Callable[[], Result]], Result],
        log: Logger,
    ) -> None:
        self._gates = gates
        self._audience = audience
        self._servers = servers
        self._answer = answer
        self._recorded = recorded
        self._log = log
        self._checks: Simplified = {}

    def checks(self) -> Simplified:
        """Give the health checks, as ceph-mgr takes them, by the last look."""
        return self._checks

    def watched(self) -> bool:
        """Is there anything that clients could harm?"""
        return self._answer(self._audience.watched).success

    def act(self) -> bool:
        """Do what is wanted and not done; True: something was changed, and is worth another look."""
        gates = self._answer(self._gates.show).answer
        clients = self._answer(self._audience.checks).answer
        if not isinstance(gates, GatePage) or not isinstance(clients, ClientPage):
            return False  # the database does not answer: health tells of that
        judged = [(line, self._misplaced(line)) for line in gates.gates]
        # by what was known before the last change, that change would seem undone, and be forgotten
        due = [each for each in judged if each[0].pending and gates.current]
        changed = [self._carry_out(line, misplaced) for line, misplaced in due]
        for line, misplaced in judged:
            if not line.pending and misplaced is not None:
                self._tell(line, misplaced)
        self._checks = drift_check(gates) | unprotected_check(gates) | unsafe_check(clients)
        return any(changed)

    def _misplaced(self, line: GateLine) -> str | None:
        """What is wrong with the namespace that the gate names; empty: nothing, None: nobody knows now."""
        if line.gate.rung not in ("isolate", "exclude"):
            return None
        try:
            found = self._servers.namespace_of(line.fs_name, line.inode) if line.inode else None
        except SilentError:
            return None  # the observer tells who is silent
        if found is None:
            return None
        if found == line.gate.namespace:
            return ""
        if not found:
            return (
                f"the files of {line.gate.path} lie in the default namespace, out of which nobody can be kept: copy "
                "them into a subtree that was made with --namespace"
            )
        return (
            f'the files of {line.gate.path} lie in the namespace "{found}", not in "{line.gate.namespace}": set the '
            f"gate with --namespace {found}"
        )

    def _carry_out(self, line: GateLine, misplaced: str | None) -> bool:
        """Tells whether it was done."""
        if misplaced:
            self._tell(line, misplaced)
            return False
        if not self._answer(lambda: self._begun(line)).success:
            return False
        troubles = [trouble for trouble in (self._feature(line), *self._caps(line)) if trouble]
        if troubles:
            self._tell(line, "; ".join(troubles))
            return False
        return self._answer(lambda: self._told(line, lambda: self._gates.settle(line))).success

    def _begun(self, line: GateLine) -> Result:
        # an attempt each 20 s at what is stuck is one record, not thousands
        if self._gates.is_begun(line):
            return self._gates.begin(line)
        return self._told(line, lambda: self._gates.begin(line))

    def _told(self, line: GateLine, work: Callable[[], Result]) -> Result:
        """Work on the database, which the audit records."""
        return self._recorded("gate carry out", (line.fs_name, line.gate.path), work)

    def _tell(self, line: GateLine, trouble: str) -> None:
        if trouble == line.gate.trouble:
            return
        if line.pending and trouble:
            self._answer(lambda: self._told(line, lambda: self._gates.trouble(line, trouble)))
        else:
            self._answer(lambda: self._gates.trouble(line, trouble))

    def _feature(self, line: GateLine) -> str:
        if not line.feature:
            return ""
        required = line.feature == "add"
        try:
            self._servers.require_feature(line.fs_name, FEATURE, required=required)
        except SilentError as error:
            return str(error)
        self._log.info("gate %s of %s: %s required: %s", line.gate.path, line.fs_name, FEATURE, required)
        return ""

    def _caps(self, line: GateLine) -> list[str]:
        troubles = []
        for change in line.changes:
            try:
                now = dict(self._servers.caps_of(change.entity))
                if now == dict(change.after):
                    continue
                if now != dict(change.before):
                    troubles.append(
                        f"the caps of {change.entity} were changed meanwhile; they are looked at anew"
                    )
                    continue
                self._servers.set_caps(change.entity, change.after)
            except SilentError as error:
                troubles.append(str(error))
            else:
                self._log.info("gate %s of %s: %s", line.gate.path, line.fs_name, change.command)
        return troubles
