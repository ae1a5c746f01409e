"""What a command has at hand."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mgr_module import HandleCommandResult

from ..control import Audit, Keys, Resources, Result, Subtrees, Tenants
from ..control.access import Access, Serving
from ..control.audience import Audience
from ..control.destructions import Destructions
from ..control.doctor import Doctor
from ..control.follow_up import FollowUp
from ..control.history import History
from ..control.jobs import Jobs
from ..control.key_managers import KeyManagers
from ..control.metrics import Metrics
from ..control.migrations import Migrations
from ..control.node_bundles import NodeBundles
from ..control.observing import Observer
from ..control.outages import Outages
from ..control.persons import Line
from ..control.rescanning import Rescans
from ..control.rungs import Rungs
from ..control.scans import Scans
from ..control.service import ServiceKeeper
from ..control.sessions import LoggedIn
from ..control.subtree_jobs import SubtreeJobs


class Desk(ABC):
    """What each noun's commands work with; `module.Module` is one.

    Attributes:
        subtrees: the register of subtrees.
        keys: the register of keys.
        tenants: the register of tenants' keys.
        service: the engine service.
        jobs: what it works on.
        subtree_jobs: what it does for one subtree.
        node_bundles: what nodes need to open one.
        follow_up: what comes of that.
        migrations: what it migrates.
        key_managers: those that it knows.
        rescans: has it read lockboxes.
        audience: who can meet what is encrypted.
        rungs: who is kept out of it.
        observer: learns of clients and caps.
        doctor: looks at all that encryption depends on.
        metrics: counts it all.
        history: how it was.
        scans: what scans found.
        audit: what was done.
        resources: how things are declared to be.
        access: who may use the API.
        serving: where it is served.
        sessions: of the pages.
        outages: what does not work now.
        destructions: the ends of keys that take two people.
        who: the name of the identity that gives commands here; empty: nobody tells, or nobody in particular.
        behind: its line: who stands behind it.

    A command that changes nothing answers by `reply` or `reply_at_once`; one that does by `act` or `act_at_once`, which
    record it (qa/unit/door holds that of each "rw" command).
    """

    subtrees: Subtrees
    keys: Keys
    tenants: Tenants
    service: ServiceKeeper[Any]
    jobs: Jobs
    subtree_jobs: SubtreeJobs
    node_bundles: NodeBundles
    follow_up: FollowUp
    migrations: Migrations
    key_managers: KeyManagers
    rescans: Rescans
    audience: Audience
    rungs: Rungs
    observer: Observer
    doctor: Doctor
    metrics: Metrics
    history: History
    scans: Scans
    audit: Audit
    resources: Resources
    access: Access
    serving: Serving
    sessions: LoggedIn
    outages: Outages
    destructions: Destructions
    who: str
    behind: Line

    @abstractmethod
    def overview(self) -> Result:
        """What is encrypted on each file system."""

    @abstractmethod
    def left_to_a_client(
        self,
        fs: str,
        words: Sequence[str],
        form: str | None,
        options: Mapping[str, str | bool | None] | None = None,
    ) -> HandleCommandResult:
        """Answer with the line of `cephfs-fscrypt` that does it on a client; see `control.client_lines`."""

    @abstractmethod
    def reply(self, work: Callable[[], Result], form: str | None = None) -> HandleCommandResult:
        """Answer by work on the database, which waits for it on a thread of its own."""

    @abstractmethod
    def reply_at_once(self, work: Callable[[], Result], form: str | None = None) -> HandleCommandResult:
        """Answer by work that waits for nothing but the service, and touches no database."""

    @abstractmethod
    def act(
        self,
        command: str,
        about: Sequence[str],
        work: Callable[[], Result],
        form: str | None = None,
        *,
        dry_run: bool = False,
    ) -> HandleCommandResult:
        """Answer by work that changes the database, and record it there in the same transaction; no dry run.

        Keys that it shut are wiped by the service then.
        """

    @abstractmethod
    def act_at_once(
        self,
        command: str,
        about: Sequence[str],
        work: Callable[[], Result],
        form: str | None = None,
        *,
        dry_run: bool = False,
    ) -> HandleCommandResult:
        """Answer by work that changes something else, and record it then; no dry run. What is urgent waits for no
        database."""
