"""What `cephfscrypt://` is beside fsspec's own tests: links, times, refusals, transactions, processes, secrets."""

import errno
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from mgr_fscrypt.ceph.errors import SessionLostError
from mgr_fscrypt.cephfscrypt import Client, LockedError
from mgr_fscrypt.cephfscrypt import connect as connect_client
from mgr_fscrypt.cephfscrypt.shared import SharedClients
from mgr_fscrypt.cephfscrypt.spec import CephFscryptFileSystem as FileSystem
from qa.fakes.engine_cases import SECRET

ROOT = Path(__file__).resolve().parents[2]


def stored_sum(options: dict[str, Any], path: str) -> int:
    """What another process reads."""
    with fsspec.open(f"cephfscrypt://{path}", "rb", **options) as stream:
        return sum(stream.read())


def contents(fs: FileSystem, top: str) -> dict[str, bytes]:
    """All files below a directory."""
    return {path.removeprefix(f"{top}/"): fs.cat_file(path) for path in fs.find(top)}


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    """Return when it is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_it_is_found_by_its_name(fs: FileSystem, subtree: str, options: dict[str, Any]):
    for url in (f"cephfscrypt://{subtree}/a b", f"cephfscrypt://{subtree[1:]}//./a b"):
        found, path = fsspec.url_to_fs(url, **options)
        assert (found, path) == (fs, f"{subtree}/a b")
    assert fs.unstrip_protocol(f"{subtree}/a") == f"cephfscrypt://{subtree}/a"


def test_random_access(fs: FileSystem, subtree: str):
    path = f"{subtree}/random"
    fs.pipe_file(path, bytes(100_000))
    with fs.open(path, "r+b") as stream:
        stream.seek(4090)
        stream.write(b"over the edge")
        stream.seek(-3, os.SEEK_END)
        stream.write(b"longer")
        stream.seek(4088)
        assert stream.read(17) == b"\0\0over the edge\0\0"
        stream.truncate(100_001)
    assert fs.size(path) == 100_001
    assert fs.cat_file(path, -6) == b"\0\0long"
    with fs.open(path, "ab") as stream:
        assert stream.tell() == 100_001
        stream.write(b"end")
    assert fs.tail(path, 4) == b"gend"
    with fs.open(path, "w", encoding="utf-16", newline="\r\n") as text:
        text.write("zwölf\n")
    assert fs.read_text(path, encoding="utf-16", newline="") == "zwölf\r\n"
    assert fs.read_block(path, 0, 4) == "zwölf".encode("utf-16")[:4]
    with fs.open(path + ".gz", "wb", compression="infer") as stream:
        stream.write(b"packed")
    assert fs.open(path + ".gz", compression="infer").read() == b"packed"
    with pytest.raises(ValueError, match="no mode 'rwb'"):
        fs.open(path, "rwb")
    with fs.open(path, "rb") as stream, pytest.raises(OSError, match="write"):
        stream.write(b"x")


def test_what_is_told_of_things(fs: FileSystem, subtree: str, other: Client):
    here = f"{subtree}/told"
    fs.makedirs(f"{here}/directory/in it")
    fs.pipe_file(f"{here}/file", b"12345")
    other.utimens(f"{here}/file", 1_000_000_000, 1_100_000_000)
    other.mknod(f"{here}/pipe", 0o10600)
    for target, name in (("file", "to file"), ("directory", "to directory"), ("nothing", "to nothing")):
        fs.symlink(target, f"{here}/{name}")
    found = {each["name"].removeprefix(f"{here}/"): each for each in fs.ls(here)}
    assert {name: (each["type"], each["size"], each.get("destination")) for name, each in found.items()} == {
        "directory": ("directory", 0, None),
        "file": ("file", 5, None),
        "pipe": ("other", 0, None),
        "to directory": ("link", 9, "directory"),
        "to file": ("file", 5, "file"),
        "to nothing": ("link", 7, "nothing"),
    }
    assert found["file"] == fs.info(f"{here}/file")
    assert (found["file"]["mode"], found["file"]["mtime"]) == (0o100644, 1_100_000_000)
    assert fs.modified(f"{here}/file").timestamp() == 1_100_000_000
    before = fs.ukey(f"{here}/file")
    other.utimens(f"{here}/file", 1, 1_100_000_000)
    with other.stream(f"{here}/file", "r+b") as stream:
        stream.write(b"other")
    assert fs.ukey(f"{here}/file") != before
    fs.touch(f"{here}/file", truncate=False)
    assert abs(fs.info(f"{here}/file")["mtime"] - time.time()) < 60
    assert fs.cat_file(f"{here}/file") == b"other"


def test_links_are_followed_but_for_removal(fs: FileSystem, subtree: str):
    here = f"{subtree}/links"
    fs.pipe({f"{here}/real/deep/file": b"kept"})
    fs.symlink(f"{here}/real", f"{here}/absolute")
    fs.symlink("../links/absolute/deep", f"{here}/relative")
    fs.symlink("round", f"{here}/round")
    assert fs.cat_file(f"{here}/relative/file") == b"kept"
    assert fs.ls(f"{here}/relative", detail=False) == [f"{here}/relative/file"]
    assert fs.isdir(f"{here}/absolute")
    assert not fs.isfile(f"{here}/absolute")
    fs.pipe_file(f"{here}/absolute/new", b"through")
    assert fs.cat_file(f"{here}/real/new") == b"through"
    assert fs.find(here) == sorted(
        f"{here}/{each}" for each in ("absolute", "real/deep/file", "real/new", "relative", "round")
    )
    with pytest.raises(OSError, match="too many symbolic links") as caught:
        fs.open(f"{here}/round")
    assert caught.value.errno == errno.ELOOP
    assert not fs.exists(f"{here}/nothing")
    fs.rm(f"{here}/absolute", recursive=True)
    fs.rm(f"{here}/r*d", recursive=True)
    assert fs.find(here) == [f"{here}/real/deep/file", f"{here}/real/new", f"{here}/relative"]
    assert not fs.exists(f"{here}/relative")
    assert fs.lexists(f"{here}/relative")
    fs.symlink("real", f"{here}/again")
    fs.mv(f"{here}/again/deep", f"{here}/again/moved")
    fs.rm(here, recursive=True)
    assert not fs.lexists(here)


def test_refusals_are_what_python_calls_them(fs: FileSystem, subtree: str):
    here = f"{subtree}/refused"
    fs.pipe({f"{here}/directory/file": b""})
    plain = FileSystem(**{**fs.storage_options, "auto_mkdir": False})
    cases: list[tuple[type[OSError], Callable[[], object]]] = [
        (FileNotFoundError, lambda: fs.open(f"{here}/none")),
        (FileNotFoundError, lambda: plain.open(f"{here}/none/file", "wb")),
        (FileNotFoundError, lambda: fs.ls(f"{here}/none")),
        (FileNotFoundError, lambda: fs.rm(f"{here}/none")),
        (FileNotFoundError, lambda: fs.info(f"{here}/none/none")),
        (FileExistsError, lambda: fs.mkdir(f"{here}/directory")),
        (FileExistsError, lambda: fs.makedirs(f"{here}/directory")),
        (FileExistsError, lambda: fs.open(f"{here}/directory/file", "xb")),
        (IsADirectoryError, lambda: fs.open(f"{here}/directory")),
        (IsADirectoryError, lambda: fs.open(f"{here}/directory", "wb")),
        (IsADirectoryError, lambda: fs.rm(f"{here}/directory")),
        (NotADirectoryError, lambda: fs.info(f"{here}/directory/file/more")),
        (NotADirectoryError, lambda: plain.open(f"{here}/directory/file/more", "wb")),
    ]
    for kind, act in cases:
        with pytest.raises(kind):
            act()
    fs.symlink("file", f"{here}/directory/link")
    for itself in ("file", "link"):
        with pytest.raises(shutil.SameFileError):
            fs.cp_file(f"{here}/directory/file", f"{here}/directory/{itself}")
    with pytest.raises(OSError, match="not empty") as caught:
        fs.rmdir(f"{here}/directory")
    assert caught.value.errno == errno.ENOTEMPTY
    with pytest.raises(OSError, match="stays where it starts"):
        fs.open(f"{here}/../{here}")
    with pytest.raises(OSError, match="not in an encrypted subtree"):
        plain.open("/outside", "wb")


def test_what_cannot_be_read_is_not_taken_for_nothing(
    fs: FileSystem, subtree: str, monkeypatch: pytest.MonkeyPatch
):
    fs.pipe({f"{subtree}/tree/deep/file": b""})

    def refuse(*_: object) -> object:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(Client, "scandir", refuse)
    monkeypatch.setattr(Client, "followed", refuse)
    for act in (fs.exists, fs.isdir, fs.isfile, fs.find, lambda path: list(fs.walk(path))):
        with pytest.raises(PermissionError):
            act(f"{subtree}/tree")


def test_a_move_is_whole(fs: FileSystem, subtree: str):
    fs.pipe({f"{subtree}/move/a/deep/file": b"1", f"{subtree}/move/b/x": b"2"})
    inode = fs.info(f"{subtree}/move/a/deep/file")["ino"]
    fs.mv(f"{subtree}/move/a", f"{subtree}/move/c")
    fs.mv(f"{subtree}/move/c", f"{subtree}/move/b")
    assert fs.info(f"{subtree}/move/b/c/deep/file")["ino"] == inode
    fs.mv(f"{subtree}/move/b/x", f"{subtree}/move/b/c/deep/file")
    assert contents(fs, f"{subtree}/move") == {"b/c/deep/file": b"2"}


def test_a_transaction_is_all_or_nothing(fs: FileSystem, subtree: str, other: Client):
    here = f"{subtree}/transaction"
    fs.pipe({f"{here}/old": b"old", f"{here}/private": b"p"})
    other.chmod(f"{here}/private", 0o600)
    fs.symlink("old", f"{here}/link")
    with fs.transaction:
        fs.pipe_file(f"{here}/link", b"new")
        fs.pipe_file(f"{here}/private", b"still")
        with fs.open(f"{here}/made", "xb") as stream:
            stream.write(b"made")
        assert fs.cat_file(f"{here}/old") == b"old"
        assert not fs.exists(f"{here}/made")
    assert contents(fs, here) == {"old": b"new", "link": b"new", "private": b"still", "made": b"made"}
    assert fs.info(f"{here}/private")["mode"] == 0o100600
    fs.open(f"{here}/private too", "wb", permissions=0o640).close()
    assert fs.info(f"{here}/private too")["mode"] == 0o100640
    before = fs.ls(here)
    fs.start_transaction()
    fs.pipe_file(f"{here}/old", b"never")
    fs.open(f"{here}/never", "wb").write(b"x")
    fs.transaction.complete(commit=False)
    with fs.transaction:
        for mode, kind in (("xb", FileExistsError), ("ab", ValueError)):
            with pytest.raises(kind):
                fs.open(f"{here}/old", mode)
        with pytest.raises(IsADirectoryError):
            fs.open(here, "wb")
    fs.start_transaction()
    fs.open(f"{here}/contested", "xb").write(b"ours")
    other.stream(f"{here}/contested", "xb").close()
    with pytest.raises(FileExistsError):
        fs.end_transaction()
    fs.rm(f"{here}/contested")
    assert fs.ls(here) == before


def test_instances_and_open_files_travel_as_names(fs: FileSystem, subtree: str, options: dict[str, Any]):
    path = f"{subtree}/travels"
    fs.pipe_file(path, bytes(range(256)))
    packed = pickle.dumps(fs)
    for each in (packed, repr(fs).encode(), fs.to_json().encode(), str(fs.storage_options).encode()):
        assert SECRET not in each
        assert SECRET.hex().encode() not in each
    with fs.open(path) as stream:
        stream.seek(250)
        again = pickle.loads(pickle.dumps(stream))  # noqa: S301 - made here
    assert again.read() == bytes(range(250, 256))
    again.close()
    with fs.open(path, "r+b") as stream, pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(stream)
    for way in ("spawn", "fork"):
        with multiprocessing.get_context(way).Pool(1) as pool:
            assert pool.apply(stored_sum, (options, path)) == sum(range(256))
            assert pool.apply(fs.cat_file, (path,)) == bytes(range(256))
            pool.close()
            pool.join()
    assert fs.cat_file(path, 1, 3) == b"\x01\x02"


_FORKED = """
import os, sys, warnings
from mgr_fscrypt.cephfscrypt.spec import CephFscryptFileSystem
warnings.simplefilter("ignore")
fs = CephFscryptFileSystem(key=sys.argv[1])
stream = fs.open(sys.argv[2] + "/forked", "wb")
stream.write(b"parent")
child = os.fork()
if not child:
    fs.pipe_file(sys.argv[2] + "/child", b"child")
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
stream.write(b"s")
stream.close()
print(fs.cat_file(sys.argv[2] + "/forked"), fs.cat_file(sys.argv[2] + "/child"))
"""


def test_a_forked_child_mounts_by_itself_and_can_exit(subtree: str, key: Path):
    done = subprocess.run(
        [sys.executable, "-c", _FORKED, str(key), subtree],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("b'parents' b'child'\n", "")


def test_threads_share_one_mount(subtree: str, options: dict[str, Any]):
    together = threading.Barrier(4)

    def work(number: int) -> tuple[FileSystem, Client]:
        together.wait()
        mine = FileSystem(**options)
        for turn in range(5):
            path, data = f"{subtree}/thread-{number}-{turn}", bytes([number]) * 5000
            mine.pipe_file(path, data)
            assert mine.cat_file(path) == data
        return mine, SharedClients.here().get(mine._place)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(4)))
    assert len({id(instance) for instance, _ in found}) == 4
    assert len({id(client) for _, client in found}) == 1


def test_without_the_key_it_is_as_a_locked_one(fs: FileSystem, subtree: str):
    fs.pipe({f"{subtree}/locked/file": bytes(54321)})
    locked = FileSystem()
    sizes = {path: told["size"] for path, told in locked.find(subtree, detail=True).items()}
    (file,) = (path for path, size in sizes.items() if size == 54321)
    assert "locked" not in file
    with pytest.raises(LockedError):
        locked.open(file)
    with pytest.raises(LockedError):
        locked.pipe_file(f"{subtree}/new", b"")
    locked.close()


def test_a_key_that_goes_while_files_are_open(fs: FileSystem, subtree: str, options: dict[str, Any]):
    fs.pipe_file(f"{subtree}/open", b"before")
    client = SharedClients.here().get(fs._place)
    assert client.key is not None
    with fs.open(f"{subtree}/open", "r+b") as stream:
        client.keyring.remove(client.key.identifier)
        stream.write(b"BEF")
        with pytest.raises(LockedError):
            fs.open(f"{subtree}/open")
        assert not fs.exists(f"{subtree}/open")
    client.keyring.add(client.key)
    assert fs.cat_file(f"{subtree}/open") == b"BEFore"


def test_two_programs_write(fs: FileSystem, subtree: str, other: Client):
    path = f"{subtree}/both"
    fs.pipe_file(path, bytes(8192))
    with fs.open(path, "r+b") as ours, other.stream(path, "r+b") as theirs:
        for turn in range(5):
            ours.seek(turn * 2)
            ours.write(b"a")
            theirs.seek(turn * 2 + 1)
            theirs.write(b"b")
            ours.flush()
            theirs.flush()
    assert fs.cat_file(path)[:12] == b"ab" * 5 + b"\0\0"
    with fs.open(path, "ab") as ours, other.stream(path, "ab") as theirs:
        for _ in range(5):
            ours.write(b"c")
            theirs.write(b"d")
            ours.flush()
            theirs.flush()
    assert sorted(fs.cat_file(path)[8192:]) == sorted(b"cd" * 5)
    other.unlink(path)
    assert not fs.exists(path)
    assert path not in fs.ls(subtree, detail=False)


_KILLED = """
import sys
from mgr_fscrypt.cephfscrypt.spec import CephFscryptFileSystem
fs = CephFscryptFileSystem(key=sys.argv[1])
with fs.transaction:
    fs.open(sys.argv[2] + "/whole", "wb").write(b"never")
    stream = fs.open(sys.argv[2] + "/half", "wb", autocommit=True)
    while True:
        stream.write(bytes(1 << 20))
        print("written", flush=True)
"""


def test_a_program_that_is_killed_leaves_nothing_in_the_way(fs: FileSystem, subtree: str, key: Path):
    here = f"{subtree}/killed"
    fs.mkdir(here)
    fs.pipe_file(f"{here}/whole", b"before")
    worker = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(key), here], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    for _ in range(12):
        assert worker.stdout.readline() == b"written\n"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    assert fs.cat_file(f"{here}/whole") == b"before"
    fs.pipe_file(f"{here}/half", b"again")
    fs.pipe_file(f"{here}/whole", b"after")
    assert fs.cat_file(f"{here}/half") == b"again"
    left = [each for each in fs.ls(here, detail=False) if each not in (f"{here}/half", f"{here}/whole")]
    assert all("/.fscrypt-" in each for each in left)
    fs.rm(here, recursive=True)


_LARGE = """
import sys
from pathlib import Path
from mgr_fscrypt.cephfscrypt.spec import CephFscryptFileSystem
def peak():
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) >> 10
fs = CephFscryptFileSystem(key=sys.argv[1])
path = sys.argv[2] + "/large"
fs.pipe_file(sys.argv[2] + "/small", b"x")
before = peak()
with fs.open(path, "wb") as stream:
    for number in range(256):
        stream.write(bytes([number]) * (1 << 20))
fs.cp_file(path, path + "2")
with fs.open(path + "2") as stream:
    for number in range(256):
        assert stream.read(1 << 20) == bytes([number]) * (1 << 20)
print(peak() - before)
"""


def test_a_large_file_takes_little_memory(fs: FileSystem, subtree: str, key: Path):
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, str(key), subtree],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    grown = int(done.stdout)
    sys.stdout.write(f"sampled: 256 MiB written, copied and read by fsspec in {grown} MiB more\n")
    # the same for 768 MiB; most of it is libcephfs's
    assert grown < 240
    fs.rm([f"{subtree}/large", f"{subtree}/large2"])


_UNCLOSED = """
import sys
import fsspec
fs = fsspec.filesystem("cephfscrypt", key=sys.argv[1])
kept = fs.open(sys.argv[2] + "/unclosed", "wb")
kept.write(b"all of it")
"""


def test_what_was_not_closed_is_written_at_the_end(fs: FileSystem, subtree: str, key: Path):
    done = subprocess.run(
        [sys.executable, "-c", _UNCLOSED, str(key), subtree],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert fs.cat_file(f"{subtree}/unclosed") == b"all of it"


def test_an_evicted_program_goes_on_with_a_new_mount(subtree: str, options: dict[str, Any], key: Path):
    mine = FileSystem(**{**options, "durable_close": True, "timeout": 11})
    with connect_client(key=key) as judge:
        before = {session.number for session in judge._mount.sessions()}
        mine.pipe_file(f"{subtree}/evicted", b"stands")
        mine.open(f"{subtree}/open", "wb").write(b"lost")
        client = SharedClients.here().get(mine._place)
        for session in judge._mount.sessions():
            if session.number not in before:
                judge._mount.evict(session)

    def lost() -> bool:
        try:
            mine.info(f"{subtree}/evicted")
        except SessionLostError:
            return True
        return False

    wait_for(lost)
    assert mine.cat_file(f"{subtree}/evicted") == b"stands"
    assert SharedClients.here().get(mine._place) is not client
    mine.close()
