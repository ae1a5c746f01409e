"""What the service answers, and when it lets go of its keys."""

import logging
from dataclasses import dataclass

from ..messages.scan import ScanQuestion
from ..messages.service import (
    Ask,
    BundleQuestion,
    Done,
    Greeting,
    Hello,
    KeptAsk,
    KeptQuestion,
    KeyState,
    Lock,
    ManagersQuestion,
    Rescan,
    Said,
    ServiceStatus,
    Shutdown,
    SizesQuestion,
    StatusQuestion,
    Trouble,
    TryManager,
    Unlock,
    Wipe,
)
from .inventory import Inventory
from .jobs.answering import JobAnswers
from .kinds.scanned import ScanAnswers
from .resident import KeptTooLongError, KeyGoneError, Residents
from .rotating import Rotations
from .sizing import Sizing
from .tenure import Tenure
from .unlocking import Backends, UnlockError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """Which service this is: the release of its program, its process, its host, and when it started."""

    release: str
    pid: int
    host: str
    started: float


class Service:
    """One engine service. Calls answer at once, or within two seconds where a record is kept. For one thread."""

    def __init__(
        self,
        identity: Identity,
        tenure: Tenure,
        residents: Residents,
        backends: Backends,
        rotations: Rotations,
        jobs: JobAnswers,
        inventory: Inventory,
        scans: ScanAnswers,
        sizing: Sizing,
    ) -> None:
        self._identity = identity
        self._tenure = tenure
        self._residents = residents
        self._backends = backends
        self._rotations = rotations
        self._jobs = jobs
        self._inventory = inventory
        self._scans = scans
        self._sizing = sizing
        self._epoch: int | None = None
        self._ended = False

    @property
    def ended(self) -> bool:
        """Was it told to end?"""
        return self._ended

    def end(self) -> None:
        """Be told so."""
        self._ended = True

    def tick(self) -> None:
        """To be called often: keys go when our turn does, and when their time is over."""
        epoch = self._tenure.epoch
        if epoch != self._epoch:
            self._residents.close()
            if epoch is not None:
                self._residents.open()
            self._epoch = epoch
        self._residents.sweep()

    def answer(self, ask: Ask) -> Said:
        """Do what was asked, or say why not."""
        try:
            return self._answer(ask)
        except KeptTooLongError as error:
            return Trouble(
                "refused",
                str(error),
                "ask for less, or let the service keep keys for longer (`--resident-limit`, or "
                "`ceph config set mgr mgr/fscrypt/service_resident_limit SECONDS`)",
            )
        except UnlockError as error:
            return Trouble("failed", str(error), error.remedy)
        except KeyGoneError:
            return Trouble(
                "not-serving",
                "this service has no turn, and unlocks no key; nothing was changed",
                "look at `ceph fscrypt service status`, and ask the service that has it",
            )
        except Exception as error:  # noqa: BLE001 - who asks gets an answer, and the next one too
            _log.exception("a request failed by a mistake of this program")
            return Trouble(
                "internal",
                f"internal error ({type(error).__name__})",
                "report it with this minute of the service's log",
            )

    def _answer(self, ask: Ask) -> Said:
        match ask:
            case Hello():
                me = self._identity
                return Greeting(me.release, me.pid, self._tenure.epoch, me.host)
            case StatusQuestion():
                return self._status()
            case Unlock():
                return self._unlock(ask)
            case Lock():
                self._residents.lock(bytes.fromhex(ask.key_identifier))
                return Done()
            case Wipe():
                self._residents.wipe(bytes.fromhex(ask.key_identifier))
                return Done()
            case ManagersQuestion() | TryManager() | Rescan() | KeptQuestion() | BundleQuestion():
                return self._read(ask)
            case Shutdown():
                self.end()
                return Done()
            case ScanQuestion():
                return self._scans.answer(ask)
            case SizesQuestion():
                return self._sizing.answer(ask.paths)
            case _:
                return self._jobs.answer(ask)

    def _read(self, ask: KeptAsk) -> Said:
        match ask:
            case ManagersQuestion():
                return self._inventory.managers()
            case KeptQuestion():
                return self._inventory.kept(ask.after)
            case BundleQuestion():
                return self._inventory.bundle(ask)
            case TryManager():
                self._inventory.test(ask.kms)
            case Rescan():
                self._inventory.rescan()
        return Done()

    def _unlock(self, ask: Unlock) -> KeyState:
        try:
            return self._residents.keep(bytes.fromhex(ask.key_identifier), ask.seconds)
        finally:
            # also where it may not be kept: its lock is ended, and jobs may have it
            self._jobs.hurry()

    def _status(self) -> ServiceStatus:
        me, standing = self._identity, self._tenure.standing
        return ServiceStatus(
            release=me.release,
            pid=me.pid,
            host=me.host,
            started=me.started,
            state=standing.state,
            since=standing.since,
            epoch=standing.epoch,
            holder=standing.holder,
            trouble=standing.trouble,
            longest=self._residents.longest,
            keys=self._residents.states(),
            tenant_keys=self._residents.tenant_states(),
            backends=self._backends.states(),
            rotations=self._rotations.states(),
            jobs=self._jobs.glance(),
        )
