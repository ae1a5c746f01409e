"""What is kept beside the data, read for the manager, which cannot: key managers, and what lockboxes tell of keys."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, replace

from ..custody import Custody
from ..keys.errors import ContainerError, KeyStoreError
from ..keys.lockbox import Lockbox, Tombstone
from ..keys.schedule import Standing
from ..messages import KeyFacts, MessageError, TenantFacts
from ..messages.service import Bundled, BundleQuestion, Kept, KnownManager, Managers
from ..reported import key_facts, kms_facts, tenant_facts
from .clock import Clock
from .kept_keys import told
from .node_bundles import Handouts
from .unlocking import Backends

LOOK = 60.0
"""Seconds between two looks at the key managers that are known."""
_ROOM = 100_000
"""Characters of JSON on a page, beside one key more: a message has 256 KiB, a key at most 64."""
_MANAGERS = 300
"""Key managers that are told."""
_log = logging.getLogger(__name__)


class Inventory:
    """Reads what it is asked for. `run` in a thread of its own; all else answers at once, to any."""

    def __init__(
        self, reach: Callable[[], AbstractContextManager[Custody]], backends: Backends, clock: Clock
    ) -> None:
        """Begin with nothing known.

        Args:
            reach: the keys of the file system, for a ``with`` block.
            backends: is told how key managers were met.
            clock: the time.
        """
        self._reach = reach
        self._backends = backends
        self._clock = clock
        self._turn = threading.Lock()
        self._work = threading.Event()
        self._over = False
        self._tests: dict[str, None] = {}
        self._managers = Managers(None, None, "", ())
        self._rescan = False
        self._kept = Kept("none", None, "", 0, (), (), "")
        self._facts: tuple[KeyFacts | TenantFacts, ...] = ()
        self._handouts = Handouts(clock)

    def run(self) -> None:
        """Until `end`."""
        while not self._over:
            self.look()
            self._clock.wait(self._work, LOOK)
            self._work.clear()

    def end(self) -> None:
        """Begin nothing any more."""
        self._over = True
        self._work.set()

    def test(self, name: str) -> None:
        """Have a key manager wrap and unwrap something, soon; `managers` tells how it was met."""
        with self._turn:
            self._tests[name] = None
        self._work.set()

    def rescan(self) -> None:
        """Have all lockboxes read, soon; `kept` tells what they told. While one is under way, it is that one."""
        with self._turn:
            if self._kept.state != "reading":
                self._kept = Kept("reading", None, "", 0, (), (), "")
                self._facts = ()
                self._rescan = True
        self._work.set()

    def managers(self) -> Managers:
        """Those that were known at the last look, and how they were met."""
        met = {state.name: state for state in self._backends.states()}
        with self._turn:
            found = self._managers
            tests = set(self._tests)
        known = tuple(
            replace(each, met=met.get(each.facts.name), testing=each.facts.name in tests)
            for each in found.managers
        )
        return replace(found, managers=known)

    def kept(self, after: str) -> Kept:
        """What was read, a page at a time; `after` is "" or what the page before gave as following."""
        with self._turn:
            head, facts = self._kept, self._facts
        if head.state != "read":
            return head
        begin = int(after) if after.isdecimal() else 0
        keys, tenants, room = list[KeyFacts](), list[TenantFacts](), _ROOM
        for each in facts[begin:]:
            if room <= 0:
                break
            room -= len(json.dumps(asdict(each)))
            if isinstance(each, KeyFacts):
                keys.append(each)
            else:
                tenants.append(each)
        end = begin + len(keys) + len(tenants)
        following = str(end) if end < len(facts) else ""
        return replace(head, keys=tuple(keys), tenants=tuple(tenants), following=following)

    def bundle(self, asked: BundleQuestion) -> Bundled:
        """What a node needs: it is being read where nobody asked for it a moment ago, and told once."""
        found = self._handouts.take(asked)
        if found.state == "reading":
            self._work.set()
        return found

    def look(self) -> None:
        """Do once what is asked for; what goes wrong is told by `managers` and `kept`."""
        with self._turn:
            tests, rescan = list(self._tests), self._rescan
            self._rescan = False
        trouble = ""
        try:
            with self._reach() as custody:
                self._handouts.read(custody)
                self._look_at_managers(custody)
                for name in tests:
                    self._try(custody, name)
                if rescan:
                    self._read(custody)
        except (KeyStoreError, OSError) as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001 - words of a stranger may have a secret in them
            trouble = f"a mistake of this program ({type(error).__name__})"
        with self._turn:
            for name in tests:
                self._tests.pop(name, None)
            if not trouble:
                return
            _log.warning("what is kept beside the data was not read: %s", trouble)
            self._handouts.fail(trouble)
            self._managers = replace(self._managers, trouble=trouble)
            if rescan and self._kept.state == "reading":
                self._kept = replace(self._kept, state="failed", error=trouble)

    def _look_at_managers(self, custody: Custody) -> None:
        known, trouble = list[KnownManager](), ""
        try:
            for settings in custody.kms:
                if len(known) == _MANAGERS:
                    trouble = f"there are more than {_MANAGERS}; `cephfs-fscrypt kms ls` tells all"
                    break
                known.append(KnownManager(kms_facts(settings), None, testing=False))
        except KeyStoreError as error:
            trouble = str(error)
        with self._turn:
            self._managers = Managers(custody.safe.home[1], self._clock.date(), trouble, tuple(known))

    def _try(self, custody: Custody, name: str) -> None:
        begun = self._backends.now()
        try:
            custody.managed(name).check()
        except KeyStoreError as error:
            self._backends.failed(told(error, name))
        else:
            self._backends.answered(name, begun)

    def _read(self, custody: Custody) -> None:
        facts, damaged = list[KeyFacts | TenantFacts](), 0
        for each in _all(custody):
            if isinstance(each, ContainerError | MessageError):
                damaged += 1
            else:
                facts.append(each)
        with self._turn:
            self._facts = tuple(facts)
            self._kept = Kept("read", custody.safe.home[1], "", damaged, (), (), "")


def _all(custody: Custody) -> Iterator[KeyFacts | TenantFacts | ContainerError | MessageError]:
    """All that can be told; what cannot be read as its error."""
    for box in custody.safe.lockboxes():
        yield box if isinstance(box, ContainerError) else _told(box)
    for standing in custody.schedule.standings():
        yield standing if isinstance(standing, ContainerError) else _told(standing)


def _told(found: Lockbox | Tombstone | Standing) -> KeyFacts | TenantFacts | MessageError:
    try:
        return tenant_facts(found) if isinstance(found, Standing) else key_facts(found)
    except MessageError as error:
        return error
