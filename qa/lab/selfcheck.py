"""The lab's own tests, on the host: what it says on machines that do not fit, and that it leaves nothing behind."""

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path

from qa.manual import pages

from . import release_check, rootfs, tools
from .cache import VARIABLE, Cache
from .chamber import Bind, Chamber
from .releases import TENTACLE
from .report import Progress, StepError
from .source import SOURCE, copy_source, run_folder

_RUN = SOURCE / "qa/run"
_MARK = f"fscrypt-lab-selfcheck-{os.getpid()}"
# a shell's background job is born deaf to interrupts, and so are its children
_HEARING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
_HOLDER = f"""
import sys
{_HEARING}
from pathlib import Path
sys.path.insert(0, {str(SOURCE)!r})
from qa.lab.chamber import Bind, Chamber
chamber = Chamber.start(Path(sys.argv[1]), [Bind(Path(sys.argv[2]), "/src")], detached=False)
chamber.run("bash", "-c", "exec -a {_MARK} sleep 1000 & mount -t tmpfs {_MARK} /tmp; echo started >&2; wait")
"""

# a run whose chamber writes into the run's folder all the time, as daemons do
_RUNNER = f"""
import sys
{_HEARING}
from pathlib import Path
sys.path.insert(0, {str(SOURCE)!r})
from qa.lab.cache import Cache
from qa.lab.chamber import Bind, Chamber
from qa.lab.releases import TENTACLE
from qa.lab.report import Progress
from qa.lab.source import run_folder
from qa.lab.workplace import Workplace
with run_folder(Cache.from_environment(), "selfcheck-interrupted") as folder:
    data = folder / "cluster"
    data.mkdir()
    chamber = Chamber.start(Path(sys.argv[1]), [Bind(data, "/cluster"), Bind(data, "/src")], detached=False)
    with Workplace(TENTACLE, folder, chamber, Progress()):
        print(folder, flush=True)
        chamber.run("bash", "-c", "exec -a {_MARK} bash -c 'echo; while :; do :>$RANDOM; done'")
"""


class BeforeARelease(unittest.TestCase):
    """What the list finds missing."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.write("setup.cfg", "[metadata]\nversion = 1.2.0\n")
        self.write("mgr_fscrypt/messages/release.py", 'RELEASE = "1.2.0"\n')
        self.write("doc/openapi.json", '{"info": {"version": "1.2.0"}}')
        self.write("CHANGELOG.md", "# Changes\n\n## 1.2.0, 2026-12-01\n\n## 1.1.0, 2026-11-01\n")
        self.write("doc/page.md", "<!-- run: cluster -->\n```console\n$ true\n```\n")
        (page,) = pages.every(self.root)
        self.told: dict[str, object] = {"page": "doc/page.md", "digest": page.digest(), "wrong": []}
        self.record([self.told])

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def record(self, told: list[dict[str, object]]) -> None:
        self.write("doc/results/manual.json", json.dumps({"pages": told}))

    def test_nothing_is_missing(self) -> None:
        for look in (release_check.same_version, release_check.dated, release_check.manual_record):
            self.assertEqual(look(self.root), "")

    def test_versions_that_differ(self) -> None:
        self.write("mgr_fscrypt/messages/release.py", 'RELEASE = "1.1.0"\n')
        self.assertIn("release.py: 1.1.0", release_check.same_version(self.root))

    def test_a_changelog_without_the_day(self) -> None:
        self.write("CHANGELOG.md", "## Unreleased\n")
        self.assertIn("Unreleased", release_check.dated(self.root))

    def test_pages_that_changed_or_failed(self) -> None:
        self.record([{**self.told, "wrong": ["doc/page.md:3: exit code 1"]}])
        self.assertIn("exit code 1", release_check.manual_record(self.root))
        self.record([self.told])
        self.write("doc/page.md", "<!-- run: cluster -->\n```console\n$ false\n```\n")
        self.assertIn("has changed since", release_check.manual_record(self.root))
        (self.root / "doc/results/manual.json").unlink()
        self.assertIn("qa/run manual run", release_check.manual_record(self.root))

    def test_records_that_are_missing_or_tell_of_failures(self) -> None:
        for name in ("qa/soak/keys.py", "qa/bench/engine.py", "qa/bench/report.py"):
            self.write(name, "")
        self.assertEqual(
            release_check.records(self.root).splitlines(),
            ["qa/run soak keys: no record", "qa/run bench engine: no record"],
        )
        self.write("doc/results/keys.json", '{"failures": ["one"]}')
        self.write("doc/results/engine_bench.json", "{}")
        self.assertEqual(release_check.records(self.root), "doc/results/keys.json tells of failures")


class FailedSteps(unittest.TestCase):
    """The log of a step that ended a run is there when the run's folder is gone."""

    def setUp(self) -> None:
        self.cache = Cache(Path(self.enterContext(tempfile.TemporaryDirectory())))

    def logged(self, name: str) -> Path:
        """Where a log lies after the run whose step it told of; `name` is seen from the run's folder."""
        with self.assertRaises(StepError) as caught, run_folder(self.cache, "soak") as folder:
            log = folder / name
            log.parent.mkdir(exist_ok=True)
            log.write_text("no room\n")
            raise StepError("booting", log)
        return caught.exception.log

    def test_it_stays(self) -> None:
        log = self.logged("soak/booting.log")
        self.assertEqual(log, self.cache.folder / "logs/failed-soak-booting.log")
        self.assertEqual(log.read_text(), "no room\n")
        self.assertEqual(list(self.cache.place("runs").iterdir()), [])

    def test_one_that_lies_elsewhere_is_left_there(self) -> None:
        log = self.cache.place("logs") / "rootfs.log"
        self.assertEqual(self.logged(str(log)), log)
        self.assertEqual(list(log.parent.iterdir()), [log])


class OtherMachines(unittest.TestCase):
    """One clear line on a machine that cannot run the lab, and nothing done."""

    def refused(self, command: list[str], environment: dict[str, str] | None = None) -> str:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
        )
        self.assertEqual(answer.returncode, 3, answer.stderr)
        self.assertEqual(len(answer.stderr.strip().splitlines()), 1, answer.stderr)
        return answer.stderr

    def test_without_root(self) -> None:
        copy = Path(self.enterContext(tempfile.TemporaryDirectory()))
        copy.chmod(0o755)
        parts = (str(SOURCE / name) for name in ("qa", "mgr_fscrypt"))
        subprocess.run(["cp", "-r", *parts, str(copy)], check=True)
        python = "/usr/bin/python3"
        command = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            python,
            str(copy / "qa/run"),
            "demo",
        ]
        self.assertIn("needs root", self.refused(command))

    def test_without_apt(self) -> None:
        self.assertIn("no apt", self.refused([sys.executable, str(_RUN), "test"], {"PATH": "/nowhere"}))

    def test_other_distribution(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix="os-release") as other:
            other.write('ID=fedora\nVERSION_CODENAME=""\n')
            other.flush()
            script = f"mount --bind {other.name} /etc/os-release && exec {sys.executable} {_RUN} demo"
            self.assertIn("this is fedora", self.refused(["unshare", "--mount", "sh", "-c", script]))

    def test_cache_that_cannot_be_made(self) -> None:
        said = self.refused([sys.executable, str(_RUN), "test"], {VARIABLE: "/proc/nowhere"})
        self.assertIn(VARIABLE, said)

    def test_names_that_do_not_exist(self) -> None:
        for words in (
            ["bench", "nosuch"],
            ["soak", "nosuch"],
            ["cluster", "status", "nosuch"],
            ["cluster", "up", "../x"],
        ):
            answer = subprocess.run([str(_RUN), *words], capture_output=True, text=True, check=False)
            self.assertEqual(answer.returncode, 3, answer.stderr)
            self.assertIn("qa/run: ", answer.stderr)


class NothingLeftBehind(unittest.TestCase):
    """What a chamber started ends with it, however its owner ends."""

    def setUp(self) -> None:
        self.cache = Cache.from_environment()
        self.system = rootfs.obtain(TENTACLE, self.cache, _unheard())
        self.source = self.enterContext(copy_source(self.cache, "selfcheck"))

    def test_owner_killed(self) -> None:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number):
                command = [sys.executable, "-c", _HOLDER, str(self.system), str(self.source)]
                owner = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
                self.addCleanup(owner.kill)
                assert owner.stderr is not None
                self.assertEqual(owner.stderr.readline(), "started\n")
                self.assertEqual(_marked(), 1)
                owner.send_signal(number)
                owner.communicate()
                self.assertTrue(_soon(lambda: _marked() == 0), "a process outlived the chamber's owner")
                self.assertNotIn(_MARK, Path("/proc/mounts").read_text())

    def test_half_made_rootfs_is_thrown_away(self) -> None:
        partial = self.system.with_name(self.system.name + ".partial")
        partial.mkdir(exist_ok=True)
        self.assertEqual(rootfs.obtain(TENTACLE, self.cache, _unheard()), self.system)
        self.assertTrue((self.system / "usr/bin/ceph").exists())
        self.assertFalse(partial.exists())

    def test_outgrown_rootfs_is_removed_when_nothing_uses_it(self) -> None:
        cache = Cache(Path(self.enterContext(tempfile.TemporaryDirectory())))
        place = cache.place("rootfs")
        # obtain() asks only whether the one of today's recipe is there
        (place / self.system.name).mkdir()
        recent, old, used = (place / f"{TENTACLE.suite}-{name}" for name in ("recent", "old", "used"))
        for folder in (recent, old, used):
            folder.mkdir()
        cache.place("tox", old.name, "bin")
        for folder in (old, used, place / self.system.name):
            os.utime(folder, (0, 0))
        holder = os.open(used, os.O_RDONLY)
        self.addCleanup(os.close, holder)
        fcntl.flock(holder, fcntl.LOCK_SH)
        rootfs.obtain(TENTACLE, cache, _unheard())
        self.assertEqual(
            sorted(each.name for each in place.iterdir()),
            sorted([self.system.name, recent.name, used.name]),
        )
        self.assertEqual(list(cache.place("tox").iterdir()), [])

    def test_a_chamber_holds_its_rootfs(self) -> None:
        chamber = Chamber.start(self.system, [Bind(self.source, "/src")], detached=False)
        self.addCleanup(chamber.end)
        descriptor = os.open(self.system, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        self.fail("the rootfs of a running chamber could be removed")

    def test_interrupted_run_leaves_no_folder(self) -> None:
        command = [sys.executable, "-c", _RUNNER, str(self.system)]
        runner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(runner.kill)
        assert runner.stdout is not None
        folder = Path(runner.stdout.readline().strip())
        self.assertEqual(runner.stdout.readline(), "\n")
        runner.send_signal(signal.SIGINT)
        _, said = runner.communicate(timeout=30)
        self.assertNotIn("CalledProcessError", said)
        self.assertFalse(folder.exists())
        self.assertEqual(_marked(), 0)

    def test_folder_of_a_killed_run_is_removed(self) -> None:
        dead = self.cache.place("runs", "test-0")
        (dead / "lock").touch()
        with copy_source(self.cache, "selfcheck-again"):
            self.assertFalse(dead.exists())

    def test_host_devices_survive(self) -> None:
        toolbox = tools.obtain(TENTACLE, self.system, self.cache, _unheard())
        chamber = Chamber.start(
            self.system, [Bind(self.source, "/src"), Bind(toolbox, tools.INSIDE)], detached=False
        )
        self.assertEqual(chamber.run("test", "-c", "/dev/null"), 0)
        chamber.end()
        self.assertTrue(Path("/dev/null").is_char_device())
        self.assertFalse(chamber.alive())


def _marked() -> int:
    count = 0
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += process.read_bytes().startswith(_MARK.encode())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return count


def _soon(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def _unheard() -> Progress:
    return Progress(io.StringIO())
