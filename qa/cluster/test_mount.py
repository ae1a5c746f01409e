"""``cephfs-fscrypt mount`` as a person uses it: on a real cluster, through the real kernel."""

import errno
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileMode, FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.fakes.engine_cases import SECRET
from qa.load.mounted import mounted, runs, wait_for_end
from qa.load.program import ROOT, command

KEY = MasterKey(SECRET)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "mount"
    made.mkdir()
    return made


def refused(code: int, *arguments: str | Path) -> str:
    answer = subprocess.run(
        command("mount", *arguments), capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    )
    assert (answer.returncode, answer.stdout) == (code, ""), answer.stderr
    assert "Left as it was: " in answer.stderr
    assert "Traceback" not in answer.stderr
    return answer.stderr


def names_in(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def wait_until_mounted(place: Path) -> None:
    end = time.monotonic() + 20
    while not place.is_mount():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_day_with_a_mount(subtree: str, place: Path, key: Path, files: FileSystem):
    with mounted(subtree, place, key):
        (place / "notes").write_bytes(b"one\n")
        with (place / "notes").open("ab") as notes:
            notes.write(b"two\n")
        assert (place / "notes").read_bytes() == b"one\ntwo\n"
        assert (place / "notes").stat().st_size == 8
        (place / "dir").mkdir(0o750)
        (place / "notes").rename(place / "dir" / "größe")
        (place / "hard").hardlink_to(place / "dir" / "größe")
        (place / "soft").symlink_to("dir/größe")
        assert (place / "soft").read_bytes() == b"one\ntwo\n"
        assert (place / "hard").stat().st_nlink == 2
        assert (place / "hard").samefile(place / "soft")
        (place / "hard").chmod(0o600)
        os.chown(place / "hard", 12, 34)
        os.utime(place / "hard", (10**9, 10**9 + 1))
        status = (place / "dir" / "größe").stat()
        assert (status.st_mode, status.st_uid, status.st_gid) == (0o100600, 12, 34)
        assert (status.st_atime, status.st_mtime) == (10**9, 10**9 + 1)
        assert (place / "dir").stat().st_mode == 0o40750
        assert names_in(place) == ["dir", "hard", "soft"]
        # another client sees it, and this one what the other does
        assert files.stat(f"{subtree}/hard").size == 8
        with files.create(f"{subtree}/theirs") as theirs:
            theirs.pwrite(b"x" * 5000, 0)
        assert (place / "theirs").read_bytes() == b"x" * 5000
        (place / "theirs").unlink()
        with pytest.raises(OSError, match="not empty"):
            (place / "dir").rmdir()
        (place / "dir" / "größe").unlink()
        (place / "dir").rmdir()
        assert names_in(place) == ["hard", "soft"]
    assert names_in(place) == []
    with files.open(f"{subtree}/hard") as file:
        assert file.pread(100, 0) == b"one\ntwo\n"


def test_a_tree_is_copied_in_and_out(subtree: str, place: Path, key: Path, tmp_path: Path):
    with mounted(subtree, place, key):
        shutil.copytree(ROOT / "mgr_fscrypt" / "format", place / "copy", symlinks=True)
    with mounted(subtree, place, key):
        shutil.copytree(place / "copy", tmp_path / "back", symlinks=True)
    done = subprocess.run(["diff", "-r", ROOT / "mgr_fscrypt" / "format", tmp_path / "back"], check=False)
    assert done.returncode == 0


def test_handles_of_one_file_see_each_other(subtree: str, place: Path, key: Path):
    with mounted(subtree, place, key):
        (place / "f").write_bytes(b"a" * 6000)
        with (place / "f").open("rb", buffering=0) as reader, (place / "f").open("r+b", buffering=0) as one:
            with (place / "f").open("ab", buffering=0) as two:
                one.seek(4090)
                one.write(b"b" * 10)
                two.write(b"c")
                assert reader.read() == b"a" * 4090 + b"b" * 10 + b"a" * 1900 + b"c"
            one.truncate(10)
            assert (place / "f").stat().st_size == 10
            (place / "f").unlink()
            assert names_in(place) != ["f"]
            one.seek(0)
            one.write(b"z")
        # the kernel ends a handle after close(2) has returned
        end = time.monotonic() + 5
        while names_in(place) != []:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_large_directory_is_listed_as_it_is(subtree: str, place: Path, key: Path, files: FileSystem):
    names = {f"a rather long name, so that the kernel asks often {number}" for number in range(1500)}
    for name in names:
        files.symlink("t", f"{subtree}/{name}")
    with mounted(subtree, place, key):
        listed = names_in(place)
        assert len(listed) == len(names)
        assert set(listed) == names
        # rewinddir, after a part was read
        with os.scandir(place) as entries:
            next(entries)
        fd = os.open(place, os.O_RDONLY)
        assert set(os.listdir(fd)) == set(os.listdir(fd)) == names  # noqa: PTH208
        os.close(fd)


def test_snapshots_are_made_read_and_removed(subtree: str, place: Path, key: Path):
    with mounted(subtree, place, key):
        (place / "d").mkdir()
        (place / "d" / "f").write_bytes(b"before")
        (place / "d" / "l").symlink_to("f")
        (place / ".snap" / "größe").mkdir()
        with (place / "d" / "f").open("r+b", buffering=0) as file:
            file.write(b"AFTER!!")
            frozen = place / ".snap" / "größe" / "d"
            assert names_in(place) == ["d"]
            assert names_in(place / ".snap") == ["größe"]
            assert names_in(frozen) == ["f", "l"]
            assert (frozen / "l").read_bytes() == b"before"
            assert (frozen / "f").stat().st_size == 6
            assert not (frozen / "f").samefile(place / "d" / "f")
            assert file.seek(0, os.SEEK_END) == 7
        found = subprocess.run(["find", place / ".snap"], capture_output=True, text=True, check=True)
        assert (found.stdout.count("\n"), found.stderr) == (5, "")
        (inherited,) = names_in(place / "d" / ".snap")
        assert inherited.startswith("_größe_")
        assert (place / "d" / ".snap" / inherited / "f").read_bytes() == b"before"
        for act in (
            lambda: (frozen / "f").write_bytes(b"x"),
            lambda: (frozen / "new").touch(),
            lambda: (frozen / "f").unlink(),
            lambda: (frozen / "f").chmod(0o600),
            lambda: (frozen / "f").rename(place / "g"),
            lambda: (place / ".snap").rmdir(),
        ):
            with pytest.raises(OSError, match="Read-only") as error:
                act()
            assert error.value.errno == errno.EROFS
        (place / ".snap" / "größe").rmdir()
        assert names_in(place / ".snap") == []


def test_without_the_key_names_are_as_stored(subtree: str, place: Path, files: FileSystem):
    with files.create(f"{subtree}/secret") as file:
        file.pwrite(b"x" * 5000, 0)
    with mounted(subtree, place, None):
        (name,) = names_in(place)
        assert "secret" not in name
        assert (place / name).stat().st_size == 5000
        with pytest.raises(OSError, match="Required key") as error:
            (place / name).read_bytes()
        assert error.value.errno == 126
        with pytest.raises(OSError, match="Required key"):
            (place / "new").write_bytes(b"")
        (place / name).unlink()
    assert list(files.scandir(subtree)) == []


def test_kernel_mode_is_read_only(subtree: str, place: Path, key: Path, files: FileSystem):
    top = subtree + "/top"
    with connect(Access()) as mount:
        keyring = Keyring()
        keyring.add(KEY)
        other = FileSystem(mount, keyring, durable_close=True)
        mount.rmdir(subtree.encode())
        mount.mkdir(subtree.encode(), 0o755)
        mount.mkdir(top.encode(), 0o755)
        other.create_subtree(top, KEY.identifier, mode=FileMode.KERNEL)
        with other.create(f"{top}/f") as file:
            file.pwrite(b"kernel's", 0)
    with mounted(top, place, key):
        assert (place / "f").read_bytes() == b"kernel's"
        with pytest.raises(OSError, match="Read-only") as error:
            (place / "g").write_bytes(b"")
        assert error.value.errno == errno.EROFS


def test_flags_of_a_rename_are_refused_and_nothing_is_replaced(subtree: str, place: Path, key: Path):
    with mounted(subtree, place, key):
        (place / "a").write_bytes(b"a")
        (place / "b").write_bytes(b"b")
        done = subprocess.run(
            ["mv", "--exchange", place / "a", place / "b"], capture_output=True, check=False
        )
        assert done.returncode != 0
        subprocess.run(["mv", "-n", place / "a", place / "b"], capture_output=True, check=False)
        assert ((place / "a").read_bytes(), (place / "b").read_bytes()) == (b"a", b"b")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts_and_what_was_written_is_there(
    subtree: str, place: Path, key: Path, files: FileSystem, number: signal.Signals
):
    serving = subprocess.Popen(
        command("mount", "--foreground", "--key", key, subtree, place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    wait_until_mounted(place)
    fd = os.open(place / "open", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"x" * 10_000)
    serving.send_signal(number)
    said, trouble = serving.communicate(timeout=30)
    assert (serving.returncode, trouble) == (0, "")
    assert said == f"mounted {subtree} at {place}, process {serving.pid}\n"
    assert not place.is_mount()
    with files.open(f"{subtree}/open", os.O_RDWR) as again:
        assert again.pread(20_000, 0) == b"x" * 10_000
    for use in (lambda: os.write(fd, b"y"), lambda: os.close(fd)):
        with pytest.raises(OSError, match="not connected"):
            use()


def test_the_background_process_has_a_session_of_its_own(subtree: str, place: Path, key: Path):
    with mounted(subtree, place, key) as process:
        assert os.getsid(process) == process
        assert Path(f"/proc/{process}/cwd").resolve() == Path("/")
        assert Path(f"/proc/{process}/fd/0").resolve() == Path("/dev/null")
        os.kill(process, signal.SIGTERM)
        wait_for_end(process)
        assert not place.is_mount()


def test_a_key_from_standard_input(subtree: str, place: Path):
    done = subprocess.run(
        command("mount", "--key", "-", subtree, place), input=SECRET, check=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0
    (place / "f").write_bytes(b"x")
    subprocess.run(["umount", place], check=True)


def test_what_cannot_be_mounted_says_why(subtree: str, place: Path, key: Path, tmp_path: Path):
    assert "there is no directory" in refused(5, "--key", key, subtree, tmp_path / "no")
    assert "is not a directory" in refused(3, "--key", key, subtree, key)
    (place / "x").touch()
    assert "is not empty" in refused(3, "--key", key, subtree, place)
    (place / "x").unlink()
    assert "is not encrypted" in refused(3, "--key", key, "/", place)
    assert "No such file" in refused(5, "--key", key, subtree + "/no", place)
    assert "there is no key file" in refused(5, "--key", tmp_path / "no", subtree, place)
    assert "did not answer" in refused(6, "--timeout", "1", "--conf", _nowhere(tmp_path), subtree, place)
    assert not place.is_mount()


def test_a_mount_whose_server_was_killed_is_named(subtree: str, place: Path, key: Path):
    with mounted(subtree, place, key) as process:
        os.kill(process, signal.SIGKILL)
        while runs(process):
            time.sleep(0.02)
        # else its session would hold others up for more than a minute (doc/facts.md F14)
        with connect(Access()) as mount:
            (dead,) = (each for each in mount.sessions() if each.metadata.get("pid") == str(process))
            mount.evict(dead)
        words = refused(3, "--key", key, subtree, place)
        assert "dead mount" in words
        assert f"umount {place}" in words
        subprocess.run(["umount", place], check=True)


def _nowhere(tmp_path: Path) -> Path:
    """A configuration that leads to no monitor."""
    conf = tmp_path / "nowhere.conf"
    conf.write_text("[global]\nmon_host = 127.0.0.1:1\nauth_client_required = none\n")
    return conf
