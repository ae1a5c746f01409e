"""The key managers that are known on a file system, as the engine service tells: `ceph fscrypt kms ...`.

Their settings lie beside the keys, where the manager does not read; their credentials on hosts.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from ..messages.resource import KmsResource
from ..messages.service import Ask, KnownManager, Managers, ManagersQuestion, Said, TryManager
from .client_lines import left_to_a_client
from .cluster import FileSystemMap, existing, names_of
from .nearest import hint
from .refusal import RefusalError
from .results import Result
from .text import moment, one_line, shell_word, table
from .values import Simplified

ELSEWHERE = "the engine service works for another file system"


@dataclass(frozen=True)
class KmsLine:
    """One key manager, as lists show it. Times are seconds since the epoch, None for never.

    Args:
        name, kind, address, key, file, options: see `messages.kms.KmsFacts`.
        state: "reachable", "unreachable", "testing" (it is asked now) or "not met".
        since: from when on it was so.
        last: when it was met last.
        error: the class of its last error like this; empty where it did what was asked.
    """

    name: str
    kind: str
    address: str
    key: str
    file: str
    options: tuple[str, ...]
    state: str
    since: float | None
    last: float | None
    error: str


@dataclass(frozen=True)
class KmsPage:
    """All key managers of a file system.

    Args:
        fs_name: the file system.
        managers: by name.
        read: when their settings were read, in seconds since the epoch.
        trouble: why not all are here, or are as they were.
    """

    fs_name: str
    managers: tuple[KmsLine, ...]
    read: float
    trouble: str

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        lines = [asdict(each) | {"options": list(each.options)} for each in self.managers]
        return asdict(self) | {"managers": lines}

    @classmethod
    def restored(cls, value: Mapping[str, Any]) -> Self:
        """Give the value that `simplified` was made from. Raises KeyError, TypeError."""
        lines = (KmsLine(**each | {"options": tuple(each["options"])}) for each in value["managers"])
        return cls(**{**value, "managers": tuple(lines)})

    def plain(self) -> str:
        """Show it to a person."""
        shown = ""
        if not self.managers and not self.trouble:
            shown = f"No key manager is known on {self.fs_name}; `cephfs-fscrypt kms add` makes one known."
        elif self.managers:
            rows = [
                (
                    each.name,
                    each.kind,
                    each.address,
                    each.key,
                    each.state,
                    "-" if each.last is None else moment(each.last),
                    each.error or "-",
                )
                for each in self.managers
            ]
            shown = table(("NAME", "KIND", "ADDRESS", "KEY", "STATE", "MET LAST", "ERROR"), rows)
        return "\n".join(filter(None, (shown, one_line(self.trouble))))


@dataclass(frozen=True)
class DeclaredManagers:
    """What the engine service tells of key managers, as resources.

    Args:
        fs_name: the file system that it works for; empty: it does not tell.
        managers: those that are known there.
        untold: why not all are here; empty: all are.
    """

    fs_name: str
    managers: tuple[KmsResource, ...]
    untold: str


NOT_ASKED = DeclaredManagers("", (), "the engine service was not asked")


class KeyManagers:
    """What the commands about key managers do.

    Args:
        ask: the engine service. Raises `RefusalError`.
        cluster: the file systems that there are.
    """

    def __init__(self, *, ask: Callable[[Callable[[], Ask]], Said], cluster: FileSystemMap) -> None:
        self._ask = ask
        self._cluster = cluster

    def listing(self, fs_name: str | None = None) -> Result:
        """List them, and how the service met them."""
        try:
            found = self.known()
            if fs_name is not None and existing(self._cluster, fs_name).fscid != found.fscid:
                return left_to_a_client(self._cluster, fs_name, ["kms", "ls"], why=ELSEWHERE)
        except RefusalError as refusal:
            return refusal.result
        lines = tuple(map(_line, found.managers))
        return Result(answer=KmsPage(self._name(found), lines, found.read or 0.0, found.trouble))

    def test(self, fs_name: str, name: str) -> Result:
        """Have the service try one now: it wraps and unwraps some random bytes."""
        try:
            found = self.known()
            if existing(self._cluster, fs_name).fscid != found.fscid:
                return left_to_a_client(self._cluster, fs_name, ["kms", "test", name], why=ELSEWHERE)
            _require_known(found, fs_name, name)
            self._ask(lambda: TryManager(name))
        except RefusalError as refusal:
            return refusal.result
        return Result(status=f"{name} is being tried; `ceph fscrypt kms ls` tells how that ends")

    def declared(self) -> DeclaredManagers:
        """All that are known, as resources."""
        try:
            found = self.known()
        except RefusalError as refusal:
            return DeclaredManagers("", (), refusal.result.status)
        name = self._name(found)
        return DeclaredManagers(name, tuple(_declared(name, each) for each in found.managers), found.trouble)

    def known(self) -> Managers:
        """What the service knows. Raises `RefusalError`: nothing, or there is none."""
        said = self._ask(ManagersQuestion)
        if not isinstance(said, Managers):
            raise RefusalError(errno.EAGAIN, "the engine service is of another release; run one of the same")
        if said.fscid is None or said.fscid not in names_of(self._cluster):
            trouble = said.trouble or "it is at it"
            raise RefusalError(
                errno.EAGAIN,
                f"the engine service has not read key managers yet: {trouble}; run it again in some seconds",
            )
        return said

    def _name(self, found: Managers) -> str:
        return names_of(self._cluster)[found.fscid or 0]


def _require_known(found: Managers, fs_name: str, name: str) -> None:
    names = [each.facts.name for each in found.managers]
    if name in names:
        return
    if found.trouble:
        raise RefusalError(
            errno.EAGAIN,
            f"the engine service does not tell of all key managers now, nothing was tried ({found.trouble}); run "
            f"on a client: cephfs-fscrypt kms test {shell_word(name)} --fs {shell_word(fs_name)}",
        )
    next_step = hint(name, names, "see `ceph fscrypt kms ls`")
    raise RefusalError(errno.ENOENT, f'there is no key manager "{name}" on {fs_name}; {next_step}')


def _line(known: KnownManager) -> KmsLine:
    met = known.met
    state = "not met" if met is None else "reachable" if met.reachable else "unreachable"
    return KmsLine(
        **vars(known.facts),
        state="testing" if known.testing else state,
        since=None if met is None else met.since,
        last=None if met is None else met.last,
        error="" if met is None else met.error,
    )


def _declared(fs_name: str, known: KnownManager) -> KmsResource:
    facts = known.facts
    options = dict(each.partition("=")[::2] for each in facts.options)
    return KmsResource(fs_name, facts.name, facts.kind, facts.address, facts.key, facts.file, options)
