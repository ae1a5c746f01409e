"""ceph-mgr as far as the module `fscrypt` uses it, in memory: the whole module is tried without a cluster.

What the real one does is held by qa/facts/test_manager.py and qa/cluster/test_manager.py.
"""

import errno
import inspect
import logging
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

_OURS = ("mgr_fscrypt.module", "mgr_fscrypt.api", "mgr_fscrypt.door", "mgr_module")


class CommandBase:
    """The decorator of commands, as 20.2 has it."""

    COMMANDS: ClassVar[dict[str, "CommandBase"]]

    def __init__(self, prefix: str, perm: str = "rw", poll: bool = False) -> None:
        self.prefix, self.perm, self.poll = prefix, perm, poll

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        self.func = func
        self.COMMANDS[self.prefix] = self
        return func

    @classmethod
    def make_registry_subtype(cls, name: str) -> type["CommandBase"]:
        return type(name, (cls,), {"COMMANDS": {}})


@dataclass
class Reply:
    """What a command returns."""

    retval: int = 0
    stdout: str = ""
    stderr: str = ""


class Answer:
    """What a server's answer is put into."""

    def __init__(self) -> None:
        self.ev = threading.Event()
        self.r, self.outb, self.outs = 0, "", ""


class DBNotReadyError(RuntimeError):
    """There is no database yet."""


class Manager:
    """The base class of modules.

    Attributes:
        options: set by a test before the module asks for them.
        ready: False: there is no database.
        told: what the cluster's audit log was told.
        health: the health checks.
        called: what other modules were asked to do.
    """

    class ClusterLogPrio(IntEnum):
        INFO = 1

    def __init__(self) -> None:
        self.log = logging.getLogger("fscrypt")
        self.version = "ceph version 20.2.4 (0123) tentacle (stable)"
        self.options: dict[str, object] = {"service": "off"}
        self.ready = True
        self.told: list[tuple[str, str]] = []
        self.health: dict[str, Any] = {}
        self.called: list[tuple[str, str]] = []
        self.store: dict[str, str] = {}
        self._db_lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row

    @property
    def db(self) -> sqlite3.Connection:
        if not self.ready:
            raise DBNotReadyError
        return self._connection

    def close_db(self) -> None:
        """The database in memory stays."""

    def get(self, name: str) -> dict[str, Any]:
        if name == "mgr_map":
            return {"modules": ["fscrypt"], "always_on_modules": {"tentacle": ["progress"]}}
        assert name == "fs_map"
        names = enumerate(("cephfs", "scratch"), 1)
        return {"filesystems": [{"id": number, "mdsmap": {"fs_name": name}} for number, name in names]}

    def get_mgr_id(self) -> str:
        return "x"

    def get_module_option(self, name: str) -> object:
        return self.options.get(name)

    def get_module_option_ex(self, module: str, key: str, default: object = None) -> object:
        return default

    def get_store(self, name: str) -> str | None:
        return self.store.get(name)

    def set_store(self, name: str, text: str) -> None:
        self.store[name] = text

    def send_command(self, result: Answer, kind: str, name: str, command: str, tag: str) -> None:
        """No server is there."""
        result.r, result.outs = -errno.ETIMEDOUT, f"there is no {kind}"
        result.ev.set()

    def cluster_log(self, channel: str, priority: IntEnum, message: str) -> None:
        self.told.append((channel, message))

    def remote(self, module: str, method: str, *args: object, **options: object) -> dict[str, Any]:
        self.called.append((module, method))
        return {"events": []}

    def set_health_checks(self, checks: dict[str, Any]) -> None:
        self.health = checks


@dataclass
class Loaded:
    """The module, and its commands by name."""

    module: Any
    commands: dict[str, CommandBase] = field(default_factory=dict)

    def run(self, command: str, *words: object, **options: object) -> Reply:
        """Give a command."""
        func: Callable[..., Reply] = self.commands[f"fscrypt {command}"].func
        arguments = inspect.signature(func).bind(self.module, *words, **options)
        return func(*arguments.args, **arguments.kwargs)

    @contextmanager
    def anew(self) -> Iterator["Loaded"]:
        """Another one, with a database of its own: in no time, since nothing is imported again."""
        module = type(self.module)()
        try:
            yield Loaded(module, self.commands)
        finally:
            _end(module)


@contextmanager
def loaded() -> Iterator[Loaded]:
    """The module as a ceph-mgr has it, with a database in memory."""
    stub: Any = ModuleType("mgr_module")
    stub.CLICommandBase, stub.HandleCommandResult, stub.MgrModule = CommandBase, Reply, Manager
    stub.MgrDBNotReady, stub.Option, stub.CommandResult = DBNotReadyError, dict, Answer
    before = _taken()
    sys.modules["mgr_module"] = stub
    try:
        module = import_module("mgr_fscrypt.module").Module()
        try:
            yield Loaded(module, module.CLICommand.COMMANDS)
        finally:
            _end(module)
    finally:
        _taken()
        sys.modules.update(before)


def _end(module: Any) -> None:
    module.shutdown()
    module._worker.shutdown()
    module._connection.close()


def _taken() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.startswith(_OURS)]
    return {name: sys.modules.pop(name) for name in names}
