"""The demo, step by step: real commands, what they print, and checks by means that are not ours."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cephfs
import rados

from mgr_fscrypt.format import MasterKey

from .released import Checked, ReleasedTree
from .samples import Samples, take
from .scan import Scanned, scan_pool

_TOP = "/demo"
_SUBTREE = f"{_TOP}/vault"
_PLAIN = f"{_TOP}/plain"
_LEDGER = f"{_TOP}/ledger"
_INVOICES = 60
_ENCRYPTED = 2
"""Subtrees: the vault, and the ledger."""
_JOURNAL = "200."
"""What the objects of the MDS's journal are called (MDS_INO_LOG_OFFSET)."""
_SEED = 1
_WRITERS, _LINES = 4, 25
_PATIENCE = 30
_HELD_UP = 5.0
_KEY = ("cephfs-fscrypt", "key")
_DATA_POOL, _METADATA_POOL = "cephfs_data", "cephfs_meta"


class UnexpectedError(Exception):
    """The demo did not show what it should; the message says where."""


@dataclass
class Summary:
    """The rows of the table at the end."""

    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, what: str, figure: str) -> None:
        self.rows.append((what, figure))

    def table(self) -> str:
        width = max(len(what) for what, _ in self.rows)
        return "\n".join(f"  {what:<{width}}  {figure}" for what, figure in self.rows)


def tell(tree: Path | None) -> int:
    """Show the product on `tree` (or the system's Python library); 1 if anything was not as promised."""
    with tempfile.TemporaryDirectory() as folder, rados.Rados(conffile=os.environ["CEPH_CONF"]) as cluster:
        try:
            summary = _Story(tree or _library(Path(folder, "library")), Path(folder), cluster).tell()
        except UnexpectedError as error:
            sys.stdout.write(f"\nThe demo stopped: {error}\n")
            return 1
    sys.stdout.write(f"\n== Summary\n{summary.table()}\n")
    return 0


def _library(target: Path) -> Path:
    """A copy of the rootfs's Python library, both halves in one folder: some thousand files of many kinds."""
    standard = Path(os.__file__).parent
    for part in (standard, standard.with_name("python3")):
        shutil.copytree(part, target / part.name, symlinks=True)
    return target


class _Story:
    def __init__(self, source: Path, folder: Path, cluster: rados.Rados) -> None:
        self._source = source
        self._folder = folder
        self._key_file = folder / "vault.key"
        self._cluster = cluster
        self._summary = Summary()

    def tell(self) -> Summary:
        samples = take(self._source, _SEED)
        self._make_subtree()
        self._put()
        self._keep_the_key()
        self._look_without_the_key()
        self._look_as_a_server(samples)
        self._read_back()
        self._migrate()
        self._work_in_it()
        self._check()
        self._ask_the_manager()
        self._release()
        self._summary.add("where to look next", "README.md; `cephfs-fscrypt --help`; doc/architecture.md")
        return self._summary

    def _make_subtree(self) -> None:
        _heading("A key, and an empty directory that gets a policy")
        self._command("cephfs-fscrypt", "key", "generate", str(self._key_file))
        with _mounted() as mount:
            try:
                mount.mkdirs(_SUBTREE, 0o755)
            except cephfs.ObjectExists:
                raise UnexpectedError(
                    "this cluster has shown the demo before: `qa/run cluster destroy demo`, then again"
                ) from None
        self._with_key("subtree", "create", _SUBTREE)

    def _put(self) -> None:
        _heading(f"A real tree goes in: {self._source}")
        seconds, _ = self._with_key("put", str(self._source), _SUBTREE)
        files = [path for path in self._source.rglob("*") if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in files)
        self._summary.add(
            "put in", f"{len(files)} files, {size / 1e6:.1f} MB, {_rate(len(files), size, seconds)}"
        )
        self._with_key("ls", "-l", f"{_SUBTREE}/{self._source.name}", show=6)

    def _keep_the_key(self) -> None:
        _heading(
            "The key is kept in the cluster, wrapped: a passphrase opens it, and a recovery code on the bad day"
        )
        phrases = [
            self._secret("phrase", "correct horse battery"),
            self._secret("new-phrase", "staple by staple"),
        ]
        code = self._folder / "code"
        old, new = (("--open", f"passphrase:{phrase}") for phrase in phrases)
        self._command(
            *_KEY, "create", "vault", "--from", str(self._key_file), "--with", f"passphrase:{phrases[0]}"
        )
        self._command(*_KEY, "add", "vault", "--with", f"recovery-code:{code}", *old)
        self._command(*_KEY, "rewrap", "vault", "passphrase", "--with", f"passphrase:{phrases[1]}", *old)
        self._command(*_KEY, "drill", "vault", "recovery-code", "--open", f"recovery-code:{code}")
        self._command(*_KEY, "show", "vault")
        _, said = self._command(*_KEY, "destroy", "vault", "--dry-run", notes=True)
        if f"dies with key vault: {_SUBTREE}" not in said:
            raise UnexpectedError("what dies with the key is not told")
        _, said = self._command("cephfs-fscrypt", "ls", _SUBTREE, *new)
        if self._source.name not in said:
            raise UnexpectedError("the kept key does not open the subtree")
        words = code.read_text().split()
        self._summary.add(
            "the key", f"wrapped, opened by a passphrase and by {len(words)} words; nothing else kept"
        )

    def _secret(self, name: str, text: str) -> Path:
        """A file for its owner alone."""
        file = self._folder / name
        file.touch(0o600)
        file.write_text(text + "\n")
        return file

    def _look_without_the_key(self) -> None:
        _heading("The same listing without the key: encoded names only")
        _, said = self._command("cephfs-fscrypt", "ls", "-R", _SUBTREE, show=6)
        known = {path.name for path in self._source.rglob("*")} | {self._source.name}
        shown = {line.strip().rstrip("/:").rpartition("/")[2] for line in said.splitlines()}
        if leaked := known & shown:
            raise UnexpectedError(f"names are readable without the key: {sorted(leaked)[:3]}")
        self._summary.add("listed without the key", f"{len(shown)} lines, none of {len(known)} names")

    def _look_as_a_server(self, samples: Samples) -> None:
        _heading(
            "What the servers hold: a search for the plaintext, and the same search with a plain copy beside it"
        )
        encrypted = self._search(samples)
        self._say(encrypted, samples, "encrypted tree alone")
        if any(scan.found for scan in encrypted):
            raise UnexpectedError(
                f"plaintext lies on the servers: {[dict(list(scan.found.items())[:3]) for scan in encrypted]}"
            )
        with _mounted() as mount:
            _copy_plainly(mount, self._source, _PLAIN)
        control = self._search(samples)
        self._say(control, samples, "with a plain copy beside it")
        contents, names = (len(frozenset().union(*scan.found.values())) for scan in control)
        wanted = (len(samples.contents), len(samples.longer_names()))
        if (contents, names) != wanted:
            raise UnexpectedError(
                f"the search is blind: it found {contents}, {names} of {wanted} in a plain copy"
            )
        scanned = sum(scan.objects for scan in encrypted)
        size = sum(scan.size for scan in encrypted)
        self._summary.add("searched on the servers", f"{scanned} objects, {size / 1e6:.1f} MB: no plaintext")
        self._summary.add(
            "the same search, plain copy",
            f"{contents} of {wanted[0]} pieces, {names} of {wanted[1]} names found",
        )

    def _read_back(self) -> None:
        _heading("Read back through the engine, compared by digest")
        back = self._folder / "back"
        back.mkdir()
        inside = f"{_SUBTREE}/{self._source.name}"
        seconds, _ = self._with_key("get", inside, str(back))
        wanted, got = _digests(self._source), _digests(back / self._source.name)
        if wanted != got:
            differing = sorted(
                name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name)
            )
            raise UnexpectedError(f"{len(differing)} files came back changed: {differing[:5]}")
        size = sum(path.stat().st_size for path in self._source.rglob("*") if path.is_file())
        self._summary.add(
            "read back", f"{len(got)} files and links equal by SHA-256, {_rate(len(got), size, seconds)}"
        )

    def _migrate(self) -> None:
        _heading(f"Data that lies in the clear becomes encrypted where it is: {_INVOICES} files, {_LEDGER}")
        lines = frozenset(f"Invoice {number:05}: to be paid by nobody else" for number in range(_INVOICES))
        local = self._folder / "ledger"
        for number, line in enumerate(sorted(lines)):
            folder = local / f"quarter-{number % 4}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"invoice-number-{number:05}.txt").write_text(f"{line}\n" * 200)
        samples = Samples(
            frozenset(line.encode() for line in lines),
            frozenset(path.name.encode() for path in local.rglob("*")),
        )
        with _mounted() as mount:
            _copy_plainly(mount, local, _LEDGER)
        found = self._plain_left(samples)
        if found != (len(samples.contents), len(samples.names)):
            raise UnexpectedError(f"the search is blind: it found {found} of what lies in the clear")
        _, said = self._with_key("migrate", "plan", _LEDGER)
        plan = said.split()[-1]
        seconds, said = self._with_key("migrate", "start", _LEDGER, "--plan", plan)
        self._with_key("migrate", "verify", _LEDGER)
        self._with_key("ls", f"{_LEDGER}/quarter-0", show=2)
        self._command("cephfs-fscrypt", "migrate", "purge", _LEDGER)
        # the servers remove in the background what nobody has any more
        until = time.monotonic() + _PATIENCE
        while (left := self._plain_left(samples)) != (0, 0) and time.monotonic() < until:
            time.sleep(1)
        sys.stdout.write(
            f"  in the clear on the servers: {found[0]} contents, {found[1]} names; now {left[0]} and {left[1]}\n"
        )
        if left != (0, 0):
            raise UnexpectedError(f"plaintext is left after the migration: {left}")
        gap = said.partition("at the path for ")[2].partition(" ms")[0]
        self._summary.add(
            "migrated in place",
            f"{_INVOICES} files in {seconds:.1f} s, no plaintext left; the path was away for {gap} ms",
        )

    def _plain_left(self, samples: Samples) -> tuple[int, int]:
        """How many contents and names of `samples` lie on the servers. The MDS's own journal is left out: it keeps the
        names of what was done in the clear until it is written over."""
        data, metadata = self._search(samples)
        names = [hits for name, hits in metadata.found.items() if not name.startswith(_JOURNAL)]
        return len(frozenset[bytes]().union(*data.found.values())), len(frozenset[bytes]().union(*names))

    def _work_in_it(self) -> None:
        _heading(f"Mounted twice, as on two hosts: {_WRITERS} programs append to one file at the same time")
        places = [self._folder / "host-a", self._folder / "host-b"]
        processes = []
        for place in places:
            place.mkdir()
            _, said = self._with_key("mount", _SUBTREE, str(place))
            processes.append(int(said.split()[-1]))
        try:
            self._append_on(places)
            self._survive(*places, processes[0])
        finally:
            for place in places:
                self._command("umount", "--lazy", str(place))

    def _survive(self, dying: Path, other: Path, process: int) -> None:
        _heading("A snapshot; then one of the two hosts dies with the file open: the other goes on")
        snapshot = other / ".snap" / "before"
        self._command("mkdir", str(snapshot))
        before = (other / "log").read_text()
        file = os.open(dying / "log", os.O_WRONLY | os.O_APPEND)
        os.write(file, b"written on host-a, and synced\n")
        os.fsync(file)
        sys.stdout.write(f"$ kill -9 {process}\n")
        os.kill(process, signal.SIGKILL)
        with suppress(OSError):  # nobody serves it any more
            os.close(file)
        started = time.monotonic()
        with (other / "log").open("a") as file:
            file.write("written on host-b\n")
        seconds = time.monotonic() - started
        self._command("tail", "-n", "3", str(other / "log"))
        if (
            other / "log"
        ).read_text() != f"{before}written on host-a, and synced\nwritten on host-b\n" or seconds > _HELD_UP:
            raise UnexpectedError(f"the other host was held up for {seconds:.1f} s, or lost what was synced")
        if (snapshot / "log").read_text() != before:
            raise UnexpectedError("the snapshot has changed")
        self._command("rmdir", str(snapshot))
        (other / "log").unlink()
        self._summary.add("a host killed", f"the other went on after {seconds:.1f} s, nothing synced is lost")

    def _check(self) -> None:
        _heading("Checked for every kind of damage that has a name")
        seconds, said = self._with_key("fsck", _SUBTREE)
        self._summary.add("fsck", f"{said.splitlines()[-1].strip()} ({seconds:.1f} s)")

    def _append_on(self, places: list[Path]) -> None:
        started = time.monotonic()
        writers = []
        for number in range(_WRITERS):
            log = places[number % len(places)] / "log"
            script = f"for n in $(seq {_LINES}); do echo writer {number} line $n >>{log}; done"
            if number < len(places):
                sys.stdout.write(f"$ sh -c '{script}' &\n")
            writers.append(subprocess.Popen(["sh", "-c", script]))
        codes = [writer.wait() for writer in writers]
        if any(codes):
            raise UnexpectedError("a writer could not append")
        seconds = time.monotonic() - started
        wanted = sorted(f"writer {w} line {n}" for w in range(_WRITERS) for n in range(1, _LINES + 1))
        for place in places:
            if sorted((place / "log").read_text().splitlines()) != wanted:
                raise UnexpectedError(f"lines are missing or broken on {place.name}")
        self._command("tail", "-n", "4", str(places[0] / "log"))
        self._summary.add(
            "shared through mounts",
            f"{_WRITERS} writers on 2 mounts, {len(wanted)} lines, none lost ({seconds:.1f} s)",
        )

    def _ask_the_manager(self) -> None:
        _heading("What an administrator sees")
        self._command("ceph", "fscrypt", "status")
        self._command("ceph", "fscrypt", "subtree", "ls")
        self._command("ceph", "fscrypt", "key", "ls")
        self._scan()
        self._command("ceph", "fscrypt", "doctor", show=60)
        # the mgr tells of what has passed for some seconds yet
        until = time.monotonic() + _PATIENCE
        while (
            "HEALTH_OK" not in (health := self._command("ceph", "health", show=0)[1])
            and time.monotonic() < until
        ):
            time.sleep(1)
        self._command("ceph", "health")
        if "HEALTH_OK" not in health:
            raise UnexpectedError(f"the cluster is not well: {health}")

    def _scan(self) -> None:
        """What is encrypted, found on the file system itself by a job of the engine service, without a key."""
        _, said = self._command("ceph", "fscrypt", "scan", "cephfs", _TOP, "--format", "json")
        job = json.loads(said)["id"]
        until = time.monotonic() + _PATIENCE
        while not (state := self._job(job))["ended"] and time.monotonic() < until:
            time.sleep(1)
        self._command("ceph", "fscrypt", "job", "show", job)
        if state["state"] != "done" or state["result"]["subtrees"] < _ENCRYPTED:
            raise UnexpectedError(f"the scan did not find what is encrypted: {state}")
        self._command("ceph", "fscrypt", "subtree", "scanned", "cephfs")
        found = state["result"]
        self._summary.add(
            "scanned without a key",
            f"{found['entries']} entries, {found['subtrees']} encrypted subtrees found",
        )

    def _job(self, job: str) -> dict[str, Any]:
        _, said = self._command("ceph", "fscrypt", "job", "show", job, "--format", "json", show=0)
        state: dict[str, Any] = json.loads(said)
        return state

    def _release(self) -> None:
        _heading(
            "Released to kernel mode, and checked file by file from raw dentries, attributes and objects"
        )
        seconds, _ = self._with_key("subtree", "release", _SUBTREE)
        self._with_key("subtree", "status", _SUBTREE)
        # a fresh mount: it has never seen these inodes, as a kernel client would not have (doc/facts.md F5)
        with _mounted() as mount, self._cluster.open_ioctx(_DATA_POOL) as data:
            tree = ReleasedTree(mount, data, MasterKey(self._key_file.read_bytes()))
            checked = tree.check(_SUBTREE.encode(), self._source)
        for difference in checked.differences[:10]:
            sys.stdout.write(f"  {difference}\n")
        if checked.differences:
            raise UnexpectedError(f"{len(checked.differences)} things are not as the kernel would have them")
        self._summary.add("released to kernel mode", _told(checked, seconds))

    def _search(self, samples: Samples) -> tuple[Scanned, Scanned]:
        # what the MDS still has in its journal goes into directory objects, where the search sees it as well
        self._command("ceph", "tell", "mds.cephfs:0", "flush", "journal", show=0)
        data = scan_pool(self._cluster, _DATA_POOL, samples.contents)
        metadata = scan_pool(self._cluster, _METADATA_POOL, samples.longer_names(), with_omap=True)
        return data, metadata

    def _say(self, scans: tuple[Scanned, Scanned], samples: Samples, what: str) -> None:
        data, metadata = scans
        found = [len(frozenset[bytes]().union(*scan.found.values())) for scan in scans]
        sys.stdout.write(
            f"  {what}: {data.objects} data objects ({data.size / 1e6:.1f} MB): {found[0]} of"
            f" {len(samples.contents)} pieces of contents; {metadata.objects} metadata objects:"
            f" {found[1]} of {len(samples.longer_names())} names\n"
        )

    def _with_key(self, *words: str, show: int = 40) -> tuple[float, str]:
        return self._command("cephfs-fscrypt", *words, "--key", str(self._key_file), show=show)

    def _command(self, *words: str, show: int = 40, notes: bool = False) -> tuple[float, str]:
        """Run a command as a user would, show it and the first lines it prints; (seconds, standard output).

        With `notes` what it says on standard error is before that, as on a terminal.
        """
        if show:
            sys.stdout.write(f"$ {' '.join(words)}\n")
            sys.stdout.flush()
        started = time.monotonic()
        answer = subprocess.run(words, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            raise UnexpectedError(
                f"`{' '.join(words)}` ended with {answer.returncode}:\n{answer.stdout}{answer.stderr}"
            )
        lines = [*(answer.stderr.splitlines() if notes else ()), *answer.stdout.splitlines()]
        for line in lines[:show]:
            sys.stdout.write(f"  {line}\n")
        if show and len(lines) > show:
            sys.stdout.write(f"  ... ({len(lines) - show} more lines)\n")
        return time.monotonic() - started, "\n".join(lines) if notes else answer.stdout


def _copy_plainly(mount: cephfs.LibCephFS, source: Path, target: str) -> None:
    """What a client without us writes: the files of a tree as they are."""
    mount.mkdirs(target, 0o755)
    for entry in sorted(source.iterdir()):
        path = f"{target}/{entry.name}"
        if entry.is_symlink():
            mount.symlink(str(entry.readlink()), path)
        elif entry.is_dir():
            _copy_plainly(mount, entry, path)
        else:
            handle = mount.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
            data = entry.read_bytes()
            written = 0
            while written < len(data):
                written += mount.write(handle, data[written:], written)
            mount.close(handle)


def _digests(tree: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of the contents, or the target of a symlink."""
    found = {}
    for path in tree.rglob("*"):
        name = str(path.relative_to(tree))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _told(checked: Checked, seconds: float) -> str:
    counts = f"{checked.files} files, {checked.directories} directories, {checked.symlinks} symlinks"
    size = f"{checked.size / 1e6:.1f} MB"
    return f"{counts}, {len(checked.nonces)} nonces all different, {size} as the kernel writes them ({seconds:.1f} s)"


def _rate(count: int, size: int, seconds: float) -> str:
    return f"{seconds:.1f} s: {count / seconds:.0f} files/s, {size / 1e6 / seconds:.1f} MB/s"


def _heading(text: str) -> None:
    sys.stdout.write(f"\n== {text}\n")
    sys.stdout.flush()


@contextmanager
def _mounted() -> Iterator[cephfs.LibCephFS]:
    mount = cephfs.LibCephFS(conffile=os.environ["CEPH_CONF"])
    mount.mount()
    try:
        yield mount
    finally:
        mount.unmount()
        mount.shutdown()
