"""``unlock``, ``lock`` and ``status`` against this machine's own kernel, on an ext4 that stands in for CephFS."""

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mgr_fscrypt.client.commands import main
from mgr_fscrypt.client.outcome import Exit
from mgr_fscrypt.format import MasterKey, Mode, Policy
from qa.fakes import encrypted_ext4
from qa.fakes.encrypted_ext4 import UnavailableError, make_encrypted

ROOT = Path(__file__).resolve().parents[3]
USER = 1000
KEY = MasterKey(bytes(range(64)))
OTHER = MasterKey(bytes(range(1, 65)))
TEXT = b"to be read with the key only\n"
HOLDS = 'exec 3<"$0"; echo ready; read end'


class Told:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def value(self) -> dict[str, object]:
        value: dict[str, object] = json.loads(self.out)
        return value


class Commands:
    """Runs commands in this process, as root."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Told:
        self._capsys.readouterr()
        code = main([str(word) for word in arguments])
        return Told(code, *self._capsys.readouterr())


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


# it becomes that user only when it has what is for root only: the interpreter and its modules
AS_USER = """
import os
import sys
from mgr_fscrypt.client.commands import main
os.setgroups([])
os.setresgid(*[int(sys.argv[1])] * 3)
os.setresuid(*[int(sys.argv[1])] * 3)
sys.exit(main(sys.argv[2:]))
"""


def as_user(*arguments: str | Path, stdin: bytes = b"") -> Told:
    """Run a command as another user than root."""
    done = subprocess.run(
        [sys.executable, "-c", AS_USER, str(USER), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    return Told(done.returncode, done.stdout.decode(), done.stderr.decode())


def key_file(folder: Path, key: MasterKey) -> Path:
    file = folder / key.identifier.hex()
    file.write_bytes(key.expose())
    file.chmod(0o600)
    return file


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return key_file(tmp_path, KEY)


@pytest.fixture
def mount() -> Iterator[Path]:
    try:
        with encrypted_ext4.mounted() as place:
            yield place
    except UnavailableError as error:
        pytest.skip(f"no ext4 with fscrypt here: {error}")


@pytest.fixture
def secret(mount: Path, key: Path, run: Commands) -> Path:
    """An encrypted directory with a file; unlocked by root."""
    assert run("unlock", mount, "--key", key).code == Exit.DONE
    directory = mount / "secret"
    try:
        make_encrypted(directory, Policy(KEY.identifier))
    except UnavailableError as error:
        pytest.skip(str(error))
    (directory / "file").write_bytes(TEXT)
    return directory


@contextmanager
def holder(*command: str, folder: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that prints a line when it holds what it should, and ends when its input does."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def test_the_life_of_a_key(mount: Path, secret: Path, key: Path, run: Commands):
    told = run("status", secret, "--json").value
    assert told["encrypted"]
    assert (told["contents"], told["names"], told["padding"]) == ("AES-256-XTS", "AES-256-CBC-CTS", 32)
    assert (told["mount"], told["kind"]) == (str(mount), "ext4")
    present = {
        "key_identifier": KEY.identifier.hex(),
        "presence": "present",
        "users": 1,
        "added_by_you": True,
    }
    assert told["keys"] == [present]

    assert run("lock", secret).code == Exit.DONE
    names = [entry.name for entry in secret.iterdir()]
    assert len(names) == 1
    assert names != ["file"]
    with pytest.raises(OSError, match="Required key not available"):
        (secret / names[0]).read_bytes()
    assert "absent (locked)" in run("status", secret).out
    again = run("lock", secret)
    assert (again.code, "locked already" in again.out) == (Exit.DONE, True)

    told = run("unlock", secret, "--key", key, "--json").value
    assert (told["added"], told["was"]) == (True, "absent")
    assert (secret / "file").read_bytes() == TEXT
    again = run("unlock", secret, "--key", key)
    assert again.code == Exit.DONE
    assert again.out == f"was unlocked already: key {KEY.identifier.hex()} in {mount}\n"
    assert "services and containers" in again.err
    assert run("unlock", secret, "--key", key, "--quiet").err == ""


def test_a_key_on_standard_input(mount: Path, key: Path):
    told = as_user("unlock", mount, "--key", "-", "--json", stdin=KEY.expose())
    assert (told.code, told.value["key_identifier"]) == (Exit.DONE, KEY.identifier.hex())


@pytest.mark.parametrize("given", ["identifier", "key", "policy", "own", "directory"])
def test_which_key_is_locked(mount: Path, secret: Path, key: Path, run: Commands, tmp_path: Path, given: str):
    assert run("unlock", mount, "--key", key_file(tmp_path, OTHER)).code == Exit.DONE
    words: dict[str, list[str | Path]] = {
        "identifier": [mount, "--key-identifier", KEY.identifier.hex()],
        "key": [mount, "--key", key],
        "policy": [mount, secret],
        "own": [mount],
        "directory": [secret],
    }
    told = run("lock", *words[given])
    assert told.code == Exit.DONE
    assert f"locked: key {KEY.identifier.hex()} in {mount} is gone" in told.out
    left = [] if given == "own" else [OTHER.identifier.hex()]
    keys = run("status", mount, "--json").value["keys"]
    assert isinstance(keys, list)
    assert [one["key_identifier"] for one in keys] == left


def test_a_file_in_use(mount: Path, secret: Path, run: Commands):
    with holder("sh", "-c", HOLDS, str(secret / "file")) as process:
        seen = run("lock", secret, "--dry-run", "--json")
        assert seen.code == Exit.DONE
        holders = [{"pid": process.pid, "command": "sh", "how": "open", "path": str(secret / "file")}]
        assert (seen.value["would"], seen.value["holders"]) == ("lock", holders)
        assert run("status", secret, "--json").value["keys"][0]["presence"] == "present"  # type: ignore[index]

        told = run("lock", secret)
        assert told.code == Exit.DIFFERS
        assert told.out.startswith(f"partially locked: key {KEY.identifier.hex()} in {mount} is gone")
        assert f"\n  process {process.pid} (sh): open {secret}/file\n" in told.out
        assert "incompletely removed" in run("status", secret).out

        told = run("lock", mount, "--key-identifier", KEY.identifier.hex(), "--json")
        assert (told.code, told.value["holders"]) == (Exit.DIFFERS, holders)
        command = re.search(r"run `cephfs-fscrypt (.*)`", run("lock", secret).out)
    assert command is not None
    told = run(*command[1].split())
    assert (told.code, told.out) == (Exit.DONE, f"locked: key {KEY.identifier.hex()} in {mount} is gone\n")


MAPS = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    kept = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["working directory", "mapped", "program", "removed"])
def test_other_ways_to_be_in_use(secret: Path, run: Commands, how: str):
    path = secret / "file"
    if how == "working directory":
        (secret / "below").mkdir()
        path = secret / "below"
        holding = holder("sh", "-c", "echo ready; read end", folder=path)
    elif how == "mapped":
        holding = holder(sys.executable, "-c", MAPS, str(path))
    elif how == "program":
        path = secret / "a program"
        path.write_bytes(Path("/bin/sh").read_bytes())
        path.chmod(0o755)
        holding = holder(str(path), "-c", "echo ready; read end")
    else:
        holding = holder("sh", "-c", HOLDS, str(path))
    with holding as process:
        shown = str(path)
        if how == "removed":
            path.unlink()
            shown, how = f"{path} (deleted)", "open"
        told = run("lock", secret, "--json")
        assert told.code == Exit.DIFFERS
        holders = told.value["holders"]
        assert isinstance(holders, list)
        assert (process.pid, how, shown) in [(one["pid"], one["how"], one["path"]) for one in holders]
    assert run("lock", secret).code == Exit.DONE


def test_a_mount_inside_is_in_use(secret: Path, run: Commands, tmp_path: Path):
    place = tmp_path / "with space"
    place.mkdir()
    subprocess.run(["mount", "--bind", secret, place], check=True)
    try:
        assert f"also at {place}" in run("status", secret).out
        told = run("lock", secret)
        assert told.code == Exit.DIFFERS
        assert f"mount at {place} (seen by process {os.getpid()}): unmount it" in told.out
    finally:
        subprocess.run(["umount", place], check=True)
    assert run("lock", secret).code == Exit.DONE


def test_a_watch_is_in_use(secret: Path, run: Commands):
    watcher = ctypes.CDLL(None).inotify_init()
    try:
        assert ctypes.CDLL(None).inotify_add_watch(watcher, os.fsencode(secret / "file"), 2) > 0
        told = run("lock", secret)
        assert told.code == Exit.DIFFERS
        (stored,) = secret.iterdir()
        assert f"process {os.getpid()} " in told.out
        assert f"watch inode {stored.stat().st_ino} " in told.out
    finally:
        os.close(watcher)
    assert run("lock", secret).code == Exit.DONE


def test_files_of_another_key_are_not_in_the_way(mount: Path, secret: Path, run: Commands, tmp_path: Path):
    run("unlock", mount, "--key", key_file(tmp_path, OTHER))
    make_encrypted(mount / "others", Policy(OTHER.identifier))
    for name in ("others/file", "plain"):
        (mount / name).write_bytes(TEXT)
    with (
        holder("sh", "-c", HOLDS, str(mount / "others/file")),
        holder("sh", "-c", HOLDS, str(mount / "plain")),
        holder("sh", "-c", HOLDS, str(secret / "file")) as process,
    ):
        told = run("lock", mount, secret, "--json")
        holders = told.value["holders"]
        assert isinstance(holders, list)
        assert [one["pid"] for one in holders] == [process.pid]


def test_another_key_is_refused_before_the_kernel_has_it(
    mount: Path, secret: Path, run: Commands, tmp_path: Path
):
    told = run("unlock", secret, "--key", key_file(tmp_path, OTHER))
    assert told.code == Exit.LOCKED
    assert f"the policy wants key {KEY.identifier.hex()}, this one is {OTHER.identifier.hex()}" in told.err
    keys = run("status", mount, "--json").value["keys"]
    assert isinstance(keys, list)
    assert [one["key_identifier"] for one in keys] == [KEY.identifier.hex()]


def test_two_users(mount: Path, secret: Path, run: Commands):
    denied = as_user("lock", secret)
    assert denied.code == Exit.DIFFERS
    assert "was not added by you, 1 other user added it. Nothing was changed." in denied.out
    assert as_user("unlock", secret, "--key", "-", stdin=KEY.expose()).code == Exit.DONE
    assert "added by you, 1 other user added it" in as_user("status", secret).out

    told = run("lock", secret, "--json")
    assert (told.code, told.value["state"], told.value["other_users"]) == (Exit.DIFFERS, "unlocked", 1)
    assert (secret / "file").read_bytes() == TEXT
    assert "not added by you, 1 other user added it" in run("status", secret).out
    told = run("lock", secret)
    assert "have them lock it, or as root add --all-users" in told.out

    denied = as_user("lock", secret, "--all-users")
    assert denied.code == Exit.REFUSED
    assert "lets only root do this" in denied.err
    assert run("lock", secret, "--all-users").code == Exit.DONE
    assert "absent" in run("status", secret).out


def test_what_a_user_cannot_see_is_said(secret: Path, run: Commands):
    assert as_user("unlock", secret, "--key", "-", stdin=KEY.expose()).code == Exit.DONE
    assert run("lock", secret).code == Exit.DIFFERS
    with holder("sh", "-c", HOLDS, str(secret / "file")):
        told = as_user("lock", secret)
    assert told.code == Exit.DIFFERS
    assert "nobody was found who has them" in told.out
    assert re.search(r"\d+ processes of other users could not be looked into: run it as root", told.out)


def test_a_directory_that_is_no_mount(mount: Path, key: Path, run: Commands):
    (mount / "plain").mkdir()
    for words in (
        ["unlock", mount / "plain", "--key", key],
        ["lock", mount / "plain"],
        ["status", mount / "plain"],
    ):
        told = run(*words)
        assert told.code == Exit.REFUSED
        assert "neither a mount point nor encrypted: it lies in the ext4 that is mounted at" in told.err
    assert run("status", mount, "--json").value["keys"] == []


def test_a_mount_point_without_its_mount(key: Path, run: Commands, tmp_path: Path):
    told = run("unlock", tmp_path, "--key", key)
    assert told.code == Exit.REFUSED
    assert f"{tmp_path} is neither a mount point nor encrypted" in told.err
    assert "mount the file system first" in told.err


@pytest.mark.parametrize("words", [["unlock", "--key"], ["lock", "--key"], ["status"]])
def test_file_systems_without_fscrypt(key: Path, run: Commands, words: list[str]):
    told = run(words[0], "/proc", *words[1:], *([key] if "--key" in words else []))
    assert told.code == Exit.REFUSED
    assert "proc at /proc has no fscrypt in this kernel" in told.err
    assert "from Linux 6.6 on" in told.err


def test_ext4_without_the_feature(key: Path, run: Commands):
    try:
        with encrypted_ext4.mounted(encrypt=False) as place:
            told = run("unlock", place, "--key", key)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert told.code == Exit.REFUSED
    assert f"fscrypt is not enabled for the ext4 at {place}" in told.err
    assert "tune2fs -O encrypt" in told.err


def test_version_1_is_told_and_not_unlocked(mount: Path, key: Path, run: Commands):
    directory = mount / "old"
    make_encrypted(directory, Policy(b"8 bytes!", version=1))
    told = run("unlock", directory, "--key", key)
    assert told.code == Exit.REFUSED
    assert "proves nothing" in told.err
    value = run("status", directory, "--json").value
    absent = {"key_identifier": b"8 bytes!".hex(), "presence": "absent", "users": 0, "added_by_you": False}
    assert (value["policy_version"], value["keys"]) == (1, [absent])
    assert run("lock", directory).code == Exit.DONE


def test_modes_that_we_have_no_cipher_for_are_the_kernels(mount: Path, key: Path, run: Commands):
    run("unlock", mount, "--key", key)
    make_encrypted(
        mount / "small", Policy(KEY.identifier, contents_mode=Mode.ADIANTUM, names_mode=Mode.ADIANTUM)
    )
    assert run("status", mount / "small", "--json").value["contents"] == "Adiantum"


def test_nothing_to_lock(mount: Path, secret: Path, key: Path, run: Commands, tmp_path: Path):
    assert run("lock", mount, secret, "--key", key).code == Exit.USAGE
    assert run("lock", mount, "/proc").code == Exit.REFUSED
    assert run("lock", mount, mount).code == Exit.NOT_FOUND
    assert run("lock", mount, "--key-identifier", "abc").code == Exit.USAGE
    assert run("lock", mount).code == Exit.DONE
    told = run("lock", mount)
    assert told.code == Exit.NOT_FOUND
    assert "which key?" in told.err
    assert run("lock", tmp_path / "absent").code == Exit.NOT_FOUND
