"""The index of keys made anew from what is kept: `ceph fscrypt key rescan`, and by itself after a rotation.

The engine service reads the lockboxes, without what wraps; a page at a time is taken over from it.
"""

import errno
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ..messages.service import Ask, Kept, KeptQuestion, Managers, Rescan, RotationState, Said
from .client_lines import left_to_a_client
from .cluster import FileSystemMap, existing, names_of
from .key_managers import ELSEWHERE
from .keys import Keys
from .refusal import RefusalError
from .results import Result
from .tenants import Tenants

COMMAND = "key rescan carry out"


class Rescans:
    """What `key rescan` does: `begin` and `rotated` answer at once; `step` goes on with it, on a thread that may wait.

    Args:
        ask: the engine service. Raises `RefusalError`.
        managers: what it knows of key managers, and by that the file system that it works for. Raises `RefusalError`.
        keys, tenants: the index.
        cluster: the file systems that there are.
        answer: does work on the database.
        recorded: does such work so that the audit has it.
        wiped: has the service wipe keys that turned out to be shut.
    """

    def __init__(
        self,
        *,
        ask: Callable[[Callable[[], Ask]], Said],
        managers: Callable[[], Managers],
        keys: Keys,
        tenants: Tenants,
        cluster: FileSystemMap,
        answer: Callable[[Callable[[], Result]], Result],
        recorded: Callable[[str, Sequence[str], Callable[[], Result]], Result],
        wiped: Callable[[Result], Result],
    ) -> None:
        self._ask = ask
        self._managers = managers
        self._keys = keys
        self._tenants = tenants
        self._cluster = cluster
        self._answer = answer
        self._recorded = recorded
        self._wiped = wiped
        self._turn = threading.Lock()
        self._wanted = False
        self._asked = False
        self._rotated = frozenset[RotationState]()

    @property
    def wanted(self) -> bool:
        """Is one under way?"""
        with self._turn:
            return self._wanted

    def begin(self, fs_name: str) -> Result:
        """Have the lockboxes of a file system read."""
        try:
            if existing(self._cluster, fs_name).fscid != self._managers().fscid:
                return left_to_a_client(self._cluster, fs_name, ["key", "rescan"], why=ELSEWHERE)
            self._ask(Rescan)
        except RefusalError as refusal:
            return refusal.result
        self._want(True, asked=True)
        return Result(
            status=f"the keys of {fs_name} are being read; `ceph fscrypt audit ls` has a line of `{COMMAND}` when "
            "the index has them"
        )

    def rotated(self, states: Iterable[RotationState]) -> None:
        """The service told of rotations: where it has done one since, master keys are wrapped anew, and read again."""
        done = frozenset(each for each in states if not each.error)
        if done - self._rotated:
            self._want(True)
        self._rotated = done

    def step(self) -> None:
        """Take over what was read, if it was; what does not answer is asked again at the next step."""
        if not self.wanted:
            return
        try:
            if not self._asked:
                self._ask(Rescan)
                self._want(True, asked=True)
            self._go_on(self._ask(lambda: KeptQuestion("")))
        except RefusalError:
            return

    def _go_on(self, said: Said) -> None:
        if not isinstance(said, Kept):
            return
        match said.state:
            case "none":
                # another service than the one that was asked
                self._ask(Rescan)
            case "failed":
                failure = Result.failed(errno.EAGAIN, f"{said.error}; nothing was changed, run it again")
                self._carried_out(said, lambda: failure)
                self._want(False)
            case "read" if self._take_over(said):
                self._want(False)

    def _take_over(self, page: Kept) -> bool:
        """All pages; tells whether that is over: done, or refused, which another try would not change."""
        while True:
            result = self._carried_out(page, partial(self._adopted, page))
            if not result.success:
                return result.code != errno.EAGAIN
            if not page.following:
                return True
            said = self._ask(partial(KeptQuestion, page.following))
            if not isinstance(said, Kept) or said.state != "read":
                return False
            page = said

    def _carried_out(self, page: Kept, work: Callable[[], Result]) -> Result:
        about = (self._name(page),)
        return self._wiped(self._answer(lambda: self._recorded(COMMAND, about, work)))

    def _adopted(self, page: Kept) -> Result:
        fs_name = self._name(page)
        results = [self._keys.adopt(fs_name, each.encode()) for each in page.keys]
        results += [self._tenants.adopt(fs_name, each.encode()) for each in page.tenants]
        refused = next((each for each in results if not each.success), None)
        if refused is not None:
            return refused
        changed = sum(each.changed for each in results)
        damaged = f"; {page.damaged} are damaged: see `cephfs-fscrypt key ls`" if page.damaged else ""
        more = "; there are more" if page.following else ""
        return Result(
            status=f"read {len(page.keys)} keys and {len(page.tenants)} tenants, {changed} were news{damaged}{more}",
            changed=bool(changed),
            shut=tuple(key for each in results for key in each.shut),
        )

    def _name(self, page: Kept) -> str:
        return names_of(self._cluster).get(page.fscid or 0, f"file system {page.fscid}")

    def _want(self, wanted: bool, *, asked: bool = False) -> None:
        with self._turn:
            self._wanted, self._asked = wanted, asked
