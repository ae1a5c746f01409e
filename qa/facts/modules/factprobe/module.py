"""A ceph-mgr module that shows what the manager does to a module; the facts M4, M5, M6, M11 and M12 and
`qa/bench/manager.py` ask it.

ceph-mgr takes a directory for a module when it holds this file, and the class out of the package (M13).
"""

import gc
import subprocess
import sys
import time
from typing import Any, ClassVar

import mgr_module
from mgr_module import HandleCommandResult, MgrModule, Option

CHECK = {"FACTPROBE": {"severity": "warning", "summary": "set by factprobe", "count": 1, "detail": ["one"]}}
PLAIN = "import time; time.sleep(600)"
ENDS_WITH_STDIN = "import sys; sys.stdin.read()"
DIES_WITH_PARENT = "import ctypes, signal, time; ctypes.CDLL(None).prctl(1, signal.SIGKILL); time.sleep(600)"


class Collector:
    """How long Python's collector of garbage ran, in seconds; it lets no thread in between."""

    def __init__(self) -> None:
        self.longest = 0.0
        # what it took before, and when the present run began: changed at once, threads look at any time
        self._spent: tuple[float, float | None] = (0.0, None)

    def total(self) -> float:
        """All of it until now; that it has ended may be told only after other threads had their turn."""
        before, begun = self._spent
        return before if begun is None else before + time.process_time() - begun

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """See `gc.callbacks`."""
        if phase == "start":
            self._spent = (self.total(), time.process_time())
        else:
            before, total = self._spent[0], self.total()
            self._spent = (total, None)
            self.longest = max(self.longest, total - before)


def _waited() -> float:
    """Seconds for which this thread was ready to run, and had no processor."""
    with open("/proc/thread-self/schedstat") as told:  # noqa: PTH123 - thousands of times
        return int(told.read().split()[1]) / 1e9


class Module(MgrModule):  # type: ignore[misc]  # ceph-mgr ships no types
    """Answers one question of a fact a command."""

    # 20.2 asks a registry of the module's own before it calls `handle_command` (M3)
    if hasattr(mgr_module, "CLICommandBase"):
        CLICommand = mgr_module.CLICommandBase.make_registry_subtype("FactProbeCommand")
    MODULE_OPTIONS: ClassVar = [
        Option(name="pause", type="secs", default=60, desc="nothing: its type is looked at")
    ]
    SCHEMA: ClassVar = ["CREATE TABLE IF NOT EXISTS FactProbe (number INTEGER PRIMARY KEY, value TEXT)"]
    SCHEMA_VERSIONED: ClassVar = [SCHEMA]
    COMMANDS: ClassVar = [
        {
            "cmd": "factprobe store-set name=size,type=CephInt",
            "desc": "store a value of that many bytes",
            "perm": "rw",
        },
        {"cmd": "factprobe store-size", "desc": "bytes of the stored value", "perm": "r"},
        {
            "cmd": "factprobe rows-insert name=count,type=CephInt",
            "desc": "rows in one transaction",
            "perm": "rw",
        },
        {"cmd": "factprobe rows-count", "desc": "rows in the database", "perm": "r"},
        {"cmd": "factprobe check-set", "desc": "raise a health check", "perm": "rw"},
        {"cmd": "factprobe progress", "desc": "start a progress event", "perm": "rw"},
        {"cmd": "factprobe option", "desc": "type of a secs option", "perm": "r"},
        {"cmd": "factprobe attributes", "desc": "what a module finds around itself", "perm": "r"},
        {"cmd": "factprobe received name=word,type=CephString", "desc": "what a handler gets", "perm": "r"},
        {
            "cmd": "factprobe held name=seconds,type=CephInt",
            "desc": "longest times that a thread waited for the interpreter, and for its collector, in ms",
            "perm": "r",
        },
        {"cmd": "factprobe children", "desc": "start three kinds of children", "perm": "rw"},
    ]

    def handle_command(self, inbuf: str, cmd: dict[str, Any]) -> HandleCommandResult:
        """Answer with the one thing that the command's last word names."""
        answer = getattr(self, "_" + cmd["prefix"].split()[1].replace("-", "_"))
        return HandleCommandResult(stdout=answer(inbuf, cmd))

    def _store_set(self, inbuf: str, cmd: dict[str, Any]) -> str:
        self.set_store("value", "v" * int(cmd["size"]))
        return self._store_size(inbuf, cmd)

    def _store_size(self, inbuf: str, cmd: dict[str, Any]) -> str:
        return str(len(self.get_store("value") or ""))

    def _rows_insert(self, inbuf: str, cmd: dict[str, Any]) -> str:
        start = time.monotonic()
        with self._db_lock, self.db:
            self.db.execute("BEGIN")
            rows = ((str(number),) for number in range(int(cmd["count"])))
            self.db.executemany("INSERT INTO FactProbe (value) VALUES (?)", rows)
            self.db.execute("COMMIT")
        return f"{time.monotonic() - start:.3f}"

    def _rows_count(self, inbuf: str, cmd: dict[str, Any]) -> str:
        with self._db_lock, self.db:
            return str(self.db.execute("SELECT COUNT(*) FROM FactProbe").fetchone()[0])

    def _check_set(self, inbuf: str, cmd: dict[str, Any]) -> str:
        self.set_health_checks(CHECK)
        return ""

    def _progress(self, inbuf: str, cmd: dict[str, Any]) -> str:
        self.remote("progress", "update", "factprobe", ev_msg="factprobe at work", ev_progress=0.5, refs=[])
        return ""

    def _option(self, inbuf: str, cmd: dict[str, Any]) -> str:
        return type(self.get_module_option("pause")).__name__

    def _attributes(self, inbuf: str, cmd: dict[str, Any]) -> str:
        return f"{sys.executable!r} {hasattr(self, 'get_all_perf_counters')}"

    def _received(self, inbuf: str, cmd: dict[str, Any]) -> str:
        return f"{inbuf!r} {sorted(cmd)}"

    def _held(self, inbuf: str, cmd: dict[str, Any]) -> str:
        """Two times in ms: the longest without Python's collector of garbage, and the longest of that.

        What counts is time in which the process had the processor, and this thread did not just wait for one: a busy
        machine holds nobody's interpreter.
        """
        worst, end = 0.0, time.monotonic() + int(cmd["seconds"])
        collector = Collector()
        gc.callbacks.append(collector)
        try:
            while time.monotonic() < end:
                used, begun, collected = time.process_time(), time.monotonic(), collector.total()
                waited = _waited()
                time.sleep(0.001)
                waited = _waited() - waited
                gap = min(time.monotonic() - begun - 0.001, time.process_time() - used) - waited
                worst = max(worst, gap - (collector.total() - collected))
        finally:
            gc.callbacks.remove(collector)
        return f"{worst * 1000:.1f} {collector.longest * 1000:.1f}"

    def _children(self, inbuf: str, cmd: dict[str, Any]) -> str:
        programs = (PLAIN, ENDS_WITH_STDIN, DIES_WITH_PARENT)
        children = [
            subprocess.Popen(["/usr/bin/python3", "-c", one], stdin=subprocess.PIPE) for one in programs
        ]
        self.children = children
        return " ".join(str(child.pid) for child in children)
