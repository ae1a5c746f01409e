"""`cephfs-fscrypt fsck` as a person runs it, on a real cluster."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileSystem
from mgr_fscrypt.engine.making import UNFINISHED
from mgr_fscrypt.format import ENGINE_XATTR
from qa.fakes.engine_cases import OTHER
from qa.lab.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"x" * 10000
BLOCK = 4096


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mgr_fscrypt.client.commands", "fsck", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )


@pytest.fixture
def whole(files: FileSystem, subtree: str) -> str:
    """A subtree with a directory and two files."""
    files.mkdir(subtree + "/d")
    for name in ("d/f", "g"):
        with files.create(f"{subtree}/{name}") as file:
            file.pwrite(CONTENT, 0)
    return subtree


@pytest.fixture
def hurt(mount: CephMount, whole: str) -> str:
    """It, with growth that was not told in one file, and without the context of the other."""
    top = whole.encode()
    inside = {entry.kind.value: entry.name for entry in mount.scandir(top)}
    mount.removexattr(top + b"/" + inside["file"], ENGINE_XATTR)
    (name,) = [entry.name for entry in mount.scandir(top + b"/" + inside["directory"])]
    fd = mount.open(b"/".join((top, inside["directory"], name)), os.O_RDWR)
    mount.ftruncate(fd, 9 * BLOCK)
    mount.fsync(fd)
    mount.close(fd)
    return whole


def test_nothing_found(whole: str, key: Path) -> None:
    with_key = run("--key", key, whole)
    assert (with_key.returncode, with_key.stderr) == (0, "")
    assert with_key.stdout.startswith(f"{whole}: 3 entries in ")
    assert with_key.stdout.endswith("s: nothing found.\n")
    without = run(whole, "--json")
    assert (without.returncode, without.stderr) == (0, "")
    sums = json.loads(without.stdout)
    assert (sums["entries"], sums["unlocked"], sums["damage"], sums["findings"]) == (3, False, 0, {})


def test_damage_is_named_previewed_and_repaired(
    files: FileSystem, mount: CephMount, hurt: str, key: Path
) -> None:
    *found, sums = map(
        json.loads, run("--key", key, hurt, "--json", "--repair", "--dry-run").stdout.splitlines()
    )
    named = {one["finding"]: one for one in found}
    assert set(named) == {"missing-context", "unsettled-size"}
    assert named["missing-context"]["path"] == f"{hurt}/g"
    assert (named["missing-context"]["severity"], named["missing-context"]["repair"]) == ("damage", None)
    assert named["unsettled-size"]["path"] == f"{hurt}/d/f"
    assert named["unsettled-size"]["repair"].startswith("settle its sizes")
    assert (sums["damage"], sums["interrupted"], sums["repaired"]) == (1, 1, 0)
    stored = named["unsettled-size"]["stored"].encode()
    assert mount.stat(stored).size == 9 * BLOCK, "a preview changes nothing"
    done = run("--key", key, hurt, "--repair", "--yes")
    assert done.returncode == 1, done
    assert (
        f"damage: missing-context: {hurt}/g: a file of 12288 bytes without a context\n  Next: " in done.stdout
    )
    assert f"interrupted: unsettled-size: {hurt}/d/f: " in done.stdout
    assert "\n  Would settle its sizes" in done.stdout
    assert "1 damage, 1 interrupted; 1 repaired." in done.stdout
    assert mount.stat(stored).size == 3 * BLOCK
    with files.open(f"{hurt}/d/f") as file:
        assert file.pread(99999, 0) == CONTENT


@pytest.mark.parametrize(("answer", "blocks"), [(b"\n", 9), (b"y\n", 3)])
def test_a_repair_asks_first(mount: CephMount, hurt: str, answer: bytes, blocks: int) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mgr_fscrypt.client.commands", "fsck", hurt, "--repair"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as asked:
        os.close(theirs)
        os.write(ours, answer)
        said, question = asked.communicate(timeout=60)
    os.close(ours)
    assert question == b"Do these 1 repairs? [y/N] "
    assert asked.returncode == 1, said
    (inside,) = [entry.name for entry in mount.scandir(hurt.encode()) if entry.kind.value == "directory"]
    (name,) = [entry.name for entry in mount.scandir(hurt.encode() + b"/" + inside)]
    assert mount.stat(b"/".join((hurt.encode(), inside, name))).size == blocks * BLOCK


def test_what_is_refused(whole: str, tmp_path: Path) -> None:
    unasked = run(whole, "--repair")
    assert unasked.returncode == 2
    assert "there is nobody to ask" in unasked.stderr
    assert "with --repair --dry-run, then add --yes" in unasked.stderr
    wrong = tmp_path / "wrong"
    wrong.write_bytes(OTHER)
    wrong.chmod(0o600)
    assert run("--key", wrong, whole).returncode == 4
    assert run(whole + "/nothing").returncode == 5
    assert run("/").returncode == 3


def test_an_entity_that_may_only_read_names(
    mount: CephMount, whole: str, cluster: Cluster, tmp_path: Path
) -> None:
    stored = next(mount.scandir(whole.encode())).name
    mount.mkdir(whole.encode() + b"/" + stored[:22], UNFINISHED)
    mount.close(mount.open(whole.encode() + b"/" + stored[1:23], os.O_CREAT | os.O_RDWR, UNFINISHED))
    caps = ("mon", "allow r fsname=cephfs", "mds", "allow r fsname=cephfs", "osd", "allow r pool=none")
    keyring = tmp_path / "keyring"
    keyring.write_text(cluster.ceph("auth", "get-or-create", "client.narrow-fsck", *caps))
    narrow = run(whole, "--name", "client.narrow-fsck", "--keyring", keyring)
    assert narrow.returncode == 1, narrow
    assert narrow.stdout.count("interrupted: half-made: ") == 2
    assert narrow.stdout.count("note: not-checked: ") == 3
    assert "may not read objects" in narrow.stdout
    assert "may not look at leases" in narrow.stdout
    assert "may not ask the MDSs" in narrow.stdout
    assert narrow.stdout.endswith("from outside only.\n")
