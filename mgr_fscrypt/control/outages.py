"""What does not work just now, as far as the manager knows: what waits for it, and what works all the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .observing import Census
from .service import ServiceReport

DATABASE = "database"
SERVICE = "service"
KEY_MANAGER = "key-manager"
SERVERS = "servers"


@dataclass(frozen=True)
class Outage:
    """One thing that does not work.

    Args:
        what: for programs: one of the constants above.
        name: for people: what it is called.
        why: what is known of it.
        waits: what does not go on without it.
        works: what does.
    """

    what: str
    name: str
    why: str
    waits: str
    works: str

    def veiled(self) -> "Outage":
        """The same for those who are not told of others' things: which key manager it is, and what it said."""
        name = "A key manager" if self.what == KEY_MANAGER else self.name
        return replace(self, name=name, why="it is told to those whose access is not bound to a tenant")


class Outages:
    """Tells of them at once: nothing is asked, and nothing waited for.

    Args:
        database: why the database did not answer when it was asked last; empty: it did.
        service: the same of the engine service.
        report: what is known of the service.
        census: of clients and caps.
    """

    def __init__(
        self,
        *,
        database: Callable[[], str],
        service: Callable[[], str],
        report: Callable[[], ServiceReport],
        census: Callable[[], Census],
    ) -> None:
        self._database = database
        self._service = service
        self._report = report
        self._census = census

    def now(self) -> Sequence[Outage]:
        """All of them."""
        found = []
        if why := self._database():
            found.append(
                Outage(
                    DATABASE,
                    "The manager's database",
                    why,
                    "lists, and whatever is registered, given or ended",
                    "jobs that were begun, key managers, keys in the service's memory, and files",
                )
            )
        if why := self._service():
            found.append(
                Outage(
                    SERVICE,
                    "The engine service",
                    why,
                    "jobs and migrations, scans, making and removing subtrees, unlocking keys, bundles for nodes",
                    "lists, gates, access, the audit, lines for clients, and clients with keys of their own",
                )
            )
        service = self._report().service
        for each in () if service is None else service.backends:
            if each.error:
                last = "refused what it was" if each.reachable else "did not answer when it was"
                found.append(
                    Outage(
                        KEY_MANAGER,
                        f"The key manager {each.name}",
                        f"it {last} asked last ({each.error})",
                        "jobs that need a key behind it, and unlocking one",
                        "keys that are unlocked, other key managers, and all that takes no key",
                    )
                )
        if why := self._census().trouble:
            found.append(
                Outage(
                    SERVERS,
                    "What servers tell of clients",
                    why,
                    "verdicts on clients, gates that are set or taken back, evictions",
                    "gates that are set already, and all that asks for no clients",
                )
            )
        return tuple(found)
