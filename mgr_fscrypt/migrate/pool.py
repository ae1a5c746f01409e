"""Processes of this host that work for another one, each with keys and a session of its own.

They are spawned, never forked, since libcephfs does not survive that (doc/facts.md F15). Keys go to them by the pipe
that a spawned process inherits, with what else it begins with: nothing of them is in its arguments, its environment or
a task. The kernel ends them with the process that they work for.
"""

import multiprocessing
import os
import signal
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.queues import SimpleQueue
from typing import ParamSpec, TypeVar

from ..ceph.access import Access
from ..ceph.prctl import end_with_parent, keep_out_of_core_dumps
from ..ceph.reclaim import reset
from ..engine import Keyring
from ..format import MasterKey
from .spawning import SPAWNED, Stop, wake

_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")

Begin = Callable[[Keyring, Callable[[], bool], str], None]
"""What each process does first: with the keys, a question whether it is to stop, and the uuid of its session. It can be
pickled."""


class Pool:
    """So many processes, which begin when there is something to do for them."""

    def __init__(
        self, access: Access, secrets: Sequence[bytes], sessions: Sequence[str], begin: Begin
    ) -> None:
        """They have the `secrets` of the keys, announce themselves by the uuids `sessions`, and `begin` by that."""
        self._access = access
        self._secrets = secrets
        self._begin = begin
        self._open(sessions)

    def submit(
        self, task: Callable[_Asked, _Answer], /, *asked: _Asked.args, **named: _Asked.kwargs
    ) -> Future[_Answer]:
        """To whoever is through first. Raises `BrokenExecutor`, as the result may: one of them died."""
        return self._executor.submit(task, *asked, **named)

    def replace(self) -> None:
        """When one dies, its executor ends the others as well. Their sessions are ended here: the MDS would keep what
        they had for a minute, and count them among those that can reach the tree."""
        self.end()
        for session in self._sessions:
            reset(self._access, session)
        self._open(new_sessions(len(self._sessions)))

    def stop(self) -> None:
        """What is under way ends when it asks the next time."""
        self._stopped.say()

    def end(self) -> None:
        """When all that was handed out is done. Those that somebody stopped (SIGSTOP) go on, and end."""
        wake()
        self._executor.shutdown(cancel_futures=True)

    def _open(self, sessions: Sequence[str]) -> None:
        self._stopped = Stop()
        self._sessions = sessions
        names = SPAWNED.SimpleQueue()
        for session in sessions:
            names.put(session)
        self._executor = ProcessPoolExecutor(
            len(sessions),
            mp_context=SPAWNED,
            initializer=_begun,
            initargs=(list(self._secrets), names, self._stopped, self._begin),
        )


def new_sessions(count: int) -> list[str]:
    """Names of sessions that nobody has."""
    return [str(uuid.uuid4()) for _ in range(count)]


def keyring_of_spawned(secrets: list[bytes]) -> Keyring:
    """For a spawned process, first of all: it ends with its parent, and only so; `secrets` are forgotten but for the
    answer."""
    keep_out_of_core_dumps()
    end_with_parent()
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid != os.getppid():
        # it died before the kernel knew that this one is to go with it: there is nobody to be told
        os._exit(1)
    # a terminal's signals are for the parent, which ends its processes in good order
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keyring = Keyring()
    for secret in secrets:
        keyring.add(MasterKey(secret))
    secrets.clear()
    return keyring


def _begun(secrets: list[bytes], sessions: "SimpleQueue[str]", stopped: Stop, begin: Begin) -> None:
    begin(keyring_of_spawned(secrets), lambda: stopped.said, sessions.get())
