"""``cephfs-fscrypt`` as a person runs it: words in, words and an exit code out, on a real cluster."""

import json
import os
import shlex
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.interface import Kind, Mount
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import AUTH_XATTR, Context, MasterKey, Policy
from qa.lab.cluster import Cluster
from qa.load.program import ROOT, done, refused, run

SECRET = bytes(range(64))


@pytest.fixture(scope="module", autouse=True)
def enabled(cluster: Cluster) -> None:
    cluster.enable_module("fscrypt")


@pytest.fixture
def directory() -> Iterator[str]:
    """An empty, plain directory; removed afterwards with all that is in it, without any key."""
    path = f"/test-client-{uuid.uuid4().hex[:8]}".encode()
    with connect(Access()) as mount:
        mount.mkdir(path, 0o755)
    yield path.decode()
    with connect(Access()) as mount:
        remove(mount, path)


def remove(mount: Mount, path: bytes) -> None:
    """Remove a directory as it is stored, whatever is wrong with it."""
    for entry in list(mount.scandir(path)):
        if entry.kind is Kind.DIRECTORY:
            remove(mount, path + b"/" + entry.name)
        else:
            mount.unlink(path + b"/" + entry.name)
    mount.rmdir(path)


@pytest.fixture
def subtree(cluster: Cluster, directory: str, key: Path) -> Iterator[str]:
    """An encrypted directory under `key`."""
    done("subtree", "create", directory, "--key", key)
    yield directory
    cluster.ceph("fscrypt", "subtree", "forget", "cephfs", directory)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A local tree with everything that can be kept."""
    top = tmp_path / "tree"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "a.txt").write_bytes(b"hello\n")
    (top / "a.txt").chmod(0o640)
    (top / "empty").touch()
    (top / "big").write_bytes(os.urandom(5 * 1024 * 1024 + 17))
    (top / "sub" / "hard").hardlink_to(top / "a.txt")
    (top / "sub" / "link").symlink_to("../a.txt")
    (top / "sub" / "dangling").symlink_to("/no/where//./x")
    (top / "größe").write_bytes(b"x" * 4096)
    (top / os.fsdecode(b"not-utf8-\xff")).write_bytes(b"y" * 4097)
    (top / "sub" / "deep").chmod(0o555)
    for number, path in enumerate(sorted(top.rglob("*"), reverse=True)):
        os.utime(path, (10**9, 10**9 + number), follow_symlinks=False)
    os.utime(top, (10**9, 10**9))
    return top


def facts(top: Path) -> dict[str, tuple[object, ...]]:
    """All that is to be kept of a tree, by path; hard links by the first path of their inode."""
    first: dict[int, str] = {}
    found: dict[str, tuple[object, ...]] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        name, status = str(path.relative_to(top)), path.lstat()
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = (path.read_bytes(), first.setdefault(status.st_ino, name))
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)  # noqa: PTH115 - which does not tidy it up
        found[name] = (status.st_mode, int(status.st_mtime), content)
    return found


def test_a_tree_comes_back_as_it_went(subtree: str, key: Path, tree: Path, tmp_path: Path):
    assert "put 11 entries, 5.0 MiB" in done("put", "--key", key, tree, subtree)
    assert "got 11 entries, 5.0 MiB" in done("get", "--key", key, f"{subtree}/tree", tmp_path / "back")
    assert facts(tmp_path / "back") == facts(tree)


@pytest.mark.usefixtures("settled_manager")
def test_the_first_use(cluster: Cluster, directory: str, tmp_path: Path):
    key = tmp_path / "new.key"
    made = json.loads(done("key", "generate", key, "--json"))
    plain = json.loads(done("subtree", "status", directory, "--json"))
    assert plain == {"path": directory, "encrypted": False}
    created = json.loads(done("subtree", "create", directory, "--key", key, "--json"))
    assert (created["mode"], created["key_identifier"]) == ("engine", made["key_identifier"])
    assert directory in cluster.ceph("fscrypt", "subtree", "ls", "cephfs")
    assert done("subtree", "create", directory, "--key", key) != ""
    assert "locked: the key was not given" in done("subtree", "status", directory)
    assert "unlocked: the key was given" in done("subtree", "status", directory, "--key", key)
    done("put", "--key", "-", __file__, f"{directory}/one", stdin=key.read_bytes())
    assert (
        done("cat", "--key", "-", f"{directory}/one", stdin=key.read_bytes().hex().encode())
        == Path(__file__).read_text()
    )
    report = done("subtree", "status", directory, "--facts")
    cluster.ceph("fscrypt", "subtree", "forget", "cephfs", directory)
    cluster.ceph("fscrypt", "subtree", "adopt", "cephfs", directory, "-i", "-", stdin=report)
    assert directory in cluster.ceph("fscrypt", "subtree", "ls", "cephfs")
    cluster.ceph("fscrypt", "subtree", "forget", "cephfs", directory)


def test_the_directory_is_made_when_that_is_asked_for(cluster: Cluster, directory: str, key: Path):
    place = f"{directory}/new"
    refused(5, "subtree", "create", place, "--key", key)
    assert "would make" in done("subtree", "create", place, "--make", "--dry-run", "--key", key)
    refused(5, "subtree", "status", place)
    done("subtree", "create", place, "--make", "--key", key)
    assert "engine" in done("subtree", "status", place)
    cluster.ceph("fscrypt", "subtree", "forget", "cephfs", place)


def test_listing_with_and_without_the_key(subtree: str, key: Path, tree: Path):
    done("put", "--key", key, tree, subtree)
    assert done("ls", "--key", key, subtree) == "tree\n"
    lines = done("ls", "-lR", "--key", key, subtree).splitlines()
    assert len(lines) == 11
    assert any(line.startswith("-rw-r-----   2") and line.endswith(f"{subtree}/tree/a.txt") for line in lines)
    assert any(line.endswith(f"{subtree}/tree/sub/link -> ../a.txt") for line in lines)
    assert not any("\udcff" in line or "\x1b" in line for line in lines)
    rows = [json.loads(line) for line in done("ls", "-lR", "--json", "--key", key, subtree).splitlines()]
    assert {row["size"] for row in rows if row["path"].endswith("/big")} == {5 * 1024 * 1024 + 17}

    locked = run("ls", "-lR", subtree)
    assert locked.returncode == 0
    assert b"names are shown as they are stored" in locked.stderr
    assert len(locked.stdout.splitlines()) == 11
    for name in (b"tree", b"a.txt", b"link", b"sub/", b"not-utf8"):
        assert name not in locked.stdout.replace(subtree.encode(), b"")
    # sizes are the real ones, as the kernel shows them
    assert b" 5242897 " in locked.stdout


def test_one_file_to_a_new_name_and_out_again(subtree: str, key: Path, tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(b"one")
    done("put", "--key", key, "--quiet", source, f"{subtree}/name")
    done("get", "--key", key, "--quiet", f"{subtree}/name", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"one"


def test_replacing_is_asked_for(subtree: str, key: Path, tmp_path: Path):
    source = tmp_path / "name"
    for content in (b"first", b"second"):
        source.write_bytes(content)
        if content == b"second":
            words = refused(3, "put", "--key", key, source, subtree)
            assert f"{subtree}/name: File exists" in words
            assert "0 entries were copied" in words
            assert "--replace" in words
            assert done("cat", "--key", key, f"{subtree}/name") == "first"
        done("put", "--key", key, "--replace", source, subtree)
    assert done("cat", "--key", key, f"{subtree}/name") == "second"
    assert done("ls", "--key", key, subtree) == "name\n"
    source.write_bytes(b"mine")
    assert "File exists" in refused(3, "get", "--key", key, f"{subtree}/name", tmp_path)
    assert source.read_bytes() == b"mine"
    done("get", "--key", key, "--replace", f"{subtree}/name", tmp_path)
    assert source.read_bytes() == b"second"


def test_dry_runs_write_nothing(cluster: Cluster, directory: str, key: Path, tree: Path):
    assert "would encrypt" in done("subtree", "create", directory, "--key", key, "--dry-run")
    assert "is not encrypted" in done("subtree", "status", directory)
    done("subtree", "create", directory, "--key", key)
    told = done("put", "--key", key, tree, directory, "--dry-run").splitlines()
    assert f"would make {directory}/tree/sub/hard from {tree}/sub/hard" in told
    assert told[-1] == "would put 11 entries, 5.0 MiB"
    assert done("ls", "--key", key, directory) == ""
    done("put", "--key", key, tree, directory)
    told = done("subtree", "release", directory, "--key", key, "--dry-run").splitlines()
    assert told[-1] == "would give 5 files (5.0 MiB) kernel mode"
    assert "mode      engine" in done("subtree", "status", directory)
    cluster.ceph("fscrypt", "subtree", "forget", "cephfs", directory)


@pytest.mark.usefixtures("settled_manager")
def test_release_and_hold(cluster: Cluster, subtree: str, key: Path, tree: Path, tmp_path: Path):
    done("put", "--key", key, tree, subtree)
    assert "is in kernel mode: 5 files changed" in done("subtree", "release", subtree, "--key", key)
    page = cluster.ceph_json("fscrypt", "subtree", "ls", "cephfs")
    assert [row["mode"] for row in page["subtrees"] if row["path"] == subtree] == ["kernel"]
    done("get", "--key", key, f"{subtree}/tree", tmp_path / "released")
    assert facts(tmp_path / "released") == facts(tree)
    assert "is in engine mode: 5 files changed" in done("subtree", "hold", subtree, "--key", key)
    done("get", "--key", key, f"{subtree}/tree", tmp_path / "held")
    assert facts(tmp_path / "held") == facts(tree)


@pytest.mark.usefixtures("settled_manager")
def test_hold_by_copy(subtree: str, key: Path, tree: Path, tmp_path: Path):
    done("put", "--key", key, tree, subtree)
    done("subtree", "release", subtree, "--key", key)
    hold = ("subtree", "hold", subtree, "--copy", "--key", key)
    assert "needs a master key" in refused(2, "subtree", "hold", subtree, "--copy")
    assert "goes with --copy" in refused(2, "subtree", "hold", subtree, "--even-open")
    told = done(*hold, "--dry-run").splitlines()
    assert sum(line.startswith(f"would copy {subtree}/tree/") for line in told) == 5
    assert told[-1] == "would give 5 files (5.0 MiB) engine mode, writing them again"
    assert "mode      kernel" in done("subtree", "status", subtree)
    with connect(Access()) as other:
        other.stat(subtree.encode())
        assert "is in engine mode: 5 files changed" in done(*hold)
    done("get", "--key", key, f"{subtree}/tree", tmp_path / "held")
    held, before = facts(tmp_path / "held"), facts(tree)
    assert held.keys() == before.keys()
    # something was put into directories, which their times tell
    assert [name for name in held if held[name] != before[name] and not (tree / name).is_dir()] == []


@pytest.mark.usefixtures("settled_manager")
def test_release_waits_for_nobody_it_refuses(subtree: str, key: Path):
    with connect(Access()) as other:
        other.stat(subtree.encode())
        words = refused(3, "subtree", "release", subtree, "--key", key)
        assert "other client(s) can reach it" in words
        told = done("subtree", "release", subtree, "--key", key, "--dry-run")
        assert "have to unmount first, or be evicted with --evict" in told
    assert "mode      engine" in done("subtree", "status", subtree)


def test_an_entity_that_may_not_tell_the_manager(cluster: Cluster, directory: str, key: Path, tmp_path: Path):
    keyring = tmp_path / "keyring"
    granted = ("mon", "allow r", "mds", "allow rw", "osd", "allow rw tag cephfs *=*")
    keyring.write_text(cluster.ceph("auth", "get-or-create", "client.test-no-mgr", *granted))
    own = ("--id", "test-no-mgr", "--keyring", keyring)
    answer = run("subtree", "create", directory, "--key", key, *own)
    cluster.ceph("auth", "rm", "client.test-no-mgr")
    assert answer.returncode == 0
    assert b"is encrypted, in engine mode" in answer.stdout
    warning, command = answer.stderr.decode().rstrip().rsplit("\n", 1)
    assert "warning: the manager was not told" in warning
    assert directory not in cluster.ceph("fscrypt", "subtree", "ls", "cephfs")
    words = shlex.split(command)
    assert words[0] == "ceph"
    assert MasterKey(SECRET).identifier.hex() in command
    cluster.ceph(*words[1:])
    assert directory in cluster.ceph("fscrypt", "subtree", "ls", "cephfs")
    cluster.ceph("fscrypt", "subtree", "forget", "cephfs", directory)


def test_key_files_that_are_refused(directory: str, key: Path, tmp_path: Path):
    create = ("subtree", "create", directory, "--key")
    assert "there is no key file" in refused(5, *create, tmp_path / "none")
    key.chmod(0o644)
    assert f"chmod 600 {key}" in refused(3, *create, key)
    key.chmod(0o600)
    key.write_bytes(SECRET[:31])
    assert "holds 31 bytes, which is no master key" in refused(2, *create, key)
    key.write_bytes(SECRET[:32])
    assert "a new subtree takes one of 64" in refused(2, *create, key)
    assert "this needs a master key" in refused(2, "subtree", "create", directory)
    assert "holds 0 bytes" in refused(2, *create, "-")
    assert "is not encrypted" in done("subtree", "status", directory)


def test_a_wrong_key(subtree: str, key: Path, tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(b"text")
    done("put", "--key", key, source, f"{subtree}/name")
    key.write_bytes(SECRET[::-1])
    for command in (
        ("put", "--key", key, source, subtree),
        ("cat", "--key", key, f"{subtree}/name"),
        ("get", "--key", key, subtree, tmp_path / "out"),
        ("subtree", "release", subtree, "--key", key),
    ):
        identifier = MasterKey(SECRET).identifier.hex()
        assert identifier in refused(4, *command), command
    assert not (tmp_path / "out").exists()
    listed = run("ls", "--key", key, subtree)
    assert (listed.returncode, b"name\n" in listed.stdout) == (0, False)


def test_directories_that_cannot_be_encrypted(directory: str, key: Path):
    with connect(Access()) as mount:
        mount.mkdir(f"{directory}/full".encode(), 0o755)
        mount.mkdir(f"{directory}/striped".encode(), 0o755)
        mount.setxattr(f"{directory}/striped".encode(), "ceph.dir.layout.stripe_count", b"2")
    for path, says in ((directory, "empty"), (f"{directory}/striped", "stripes files over several objects")):
        assert says in refused(3, "subtree", "create", path, "--key", key)
        assert says in refused(3, "subtree", "create", path, "--key", key, "--dry-run")
        assert "is not encrypted" in done("subtree", "status", path)
    refused(5, "subtree", "create", f"{directory}/none", "--key", key)
    words = refused(3, "put", "--key", key, __file__, directory)
    assert "is not encrypted, and nothing is ever written in plain" in words


def test_names_that_are_too_long(subtree: str, key: Path, tmp_path: Path):
    top = tmp_path / "top"
    top.mkdir()
    (top / ("s" * 128)).write_bytes(b"fits")
    done("put", "--key", key, top, subtree)
    (top / "first").write_bytes(b"not reached")
    (top / ("x" * 129)).write_bytes(b"does not fit")
    assert "shorten names to 128 bytes" in refused(3, "put", "--key", key, top, f"{subtree}/again")
    assert done("ls", "--key", key, subtree) == "top\n"
    for length in (129, 255, 256):
        refused(3, "put", "--key", key, __file__, f"{subtree}/{'x' * length}")
    assert done("ls", "--key", key, subtree) == "top\n"


def test_paths_that_leave_the_subtree(subtree: str, key: Path, tmp_path: Path):
    for path in (f"{subtree}/../elsewhere", f"{subtree}/..", "relative"):
        assert "stays where it starts" in refused(3, "put", "--key", key, __file__, path)
        refused(3, "get", "--key", key, path, tmp_path / "out")
        refused(3, "cat", "--key", key, path)
        refused(3, "ls", "--key", key, path)
    assert not (tmp_path / "out").exists()


def test_a_child_of_another_policy(subtree: str, key: Path, tree: Path, tmp_path: Path):
    done("put", "--key", key, tree, subtree)
    foreign = Context.fresh(Policy(MasterKey(SECRET[::-1]).identifier))
    with connect(Access()) as mount:
        files = FileSystem(mount, Keyring())
        (top,) = children_of(files, subtree)
        (sub,) = (each for each in children_of(files, top) if mount.stat(each).kind is Kind.DIRECTORY)
        mount.setxattr(sub, AUTH_XATTR, foreign.encode_auth())
        mount.sync()
    answer = run("get", "--key", key, f"{subtree}/tree", tmp_path / "out")
    assert answer.returncode in (1, 3), answer.stderr
    assert b"Traceback" not in answer.stderr


def children_of(files: FileSystem, path: str | bytes) -> list[bytes]:
    top = os.fsencode(path)
    return [top + b"/" + entry.stored for entry in files.scandir(top)]


def test_what_cannot_be_encrypted_is_skipped_and_told(subtree: str, key: Path, tmp_path: Path):
    top = tmp_path / "top"
    top.mkdir()
    os.mkfifo(top / "pipe")
    (top / "file").write_bytes(b"x")
    answer = run("put", "--key", key, top, subtree)
    assert (answer.returncode, answer.stderr.decode()) == (
        1,
        f"cephfs-fscrypt: skipped {top}/pipe: not a file, directory or symbolic link\n",
    )
    assert done("ls", "-R", "--key", key, subtree) == f"{subtree}/top\n{subtree}/top/file\n"


def test_sources_and_paths_that_are_not_there(subtree: str, key: Path, tmp_path: Path):
    assert "none" in refused(5, "put", "--key", key, tmp_path / "none", subtree)
    for command in (("cat", f"{subtree}/none"), ("ls", f"{subtree}/none"), ("ls", "/none/x")):
        refused(5, *command, "--key", key)
    refused(5, "get", f"{subtree}/none", tmp_path / "out", "--key", key)
    refused(5, "subtree", "status", "/none")
    refused(2, "put", "--key", key, __file__, __file__, f"{subtree}/none")


def test_a_cluster_that_is_down(key: Path, tmp_path: Path):
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"[global]\nmon_host = v2:127.0.0.1:9\nkeyring = {tmp_path}/keyring\n")
    (tmp_path / "keyring").write_text("[client.admin]\n\tkey = AQAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAA==\n")
    words = refused(6, "ls", "/", "--key", key, "--conf", conf, "--timeout", "2")
    assert "did not answer" in words
    assert "ceph -s" in words


def test_entities_and_file_systems_that_do_not_exist(key: Path):
    for options in (("--name", "client.nobody"), ("--id", "nobody"), ("--fs", "nothing")):
        answer = run("ls", "/", "--key", key, "--timeout", "5", *options)
        assert answer.returncode in (3, 5, 6), answer.stderr
        assert b"Traceback" not in answer.stderr


def test_failures_as_json(subtree: str):
    answer = run("cat", f"{subtree}/x", "--json")
    told = json.loads(answer.stderr)
    assert (answer.returncode, answer.stdout) == (2, b"")
    assert (told["error"], told["code"], told["left"]) == ("usage", 2, "nothing was changed")


def test_a_reader_that_has_enough(subtree: str, key: Path, tree: Path):
    done("put", "--key", key, tree, subtree)
    with subprocess.Popen(
        [sys.executable, "-m", "mgr_fscrypt.client.commands", "cat", "--key", key, f"{subtree}/tree/big"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_a_copy_that_is_cut_short_leaves_no_part(subtree: str, key: Path, tmp_path: Path):
    top = tmp_path / "top"
    top.mkdir()
    (top / "a").write_bytes(b"complete")
    (top / "b").symlink_to("a")
    done("put", "--key", key, "--quiet", top, subtree)
    (top / "c").write_bytes(b"new")
    words = refused(3, "put", "--key", key, top, subtree)
    assert f"{subtree}/top/a: File exists" in words
    assert "1 entries were copied and are complete" in words
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b").write_bytes(b"mine")
    assert "out/b" in refused(3, "get", "--key", key, f"{subtree}/top/b", tmp_path / "out")
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["b"]


def planted(advance: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command in which something happens whenever its progress advances."""
    program = (
        "import os, signal, sys\n"
        "from mgr_fscrypt.client import progress\n"
        # a background job of a shell begins with SIGINT ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "count = progress.Progress.advance\n"
        f"{advance}"
        "progress.Progress.advance = advance\n"
        "from mgr_fscrypt.client.commands import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, timeout=60, check=False, cwd=ROOT
    )


def test_an_interrupted_put_leaves_no_part(subtree: str, key: Path, tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(bytes(1 << 20))
    interrupt = "def advance(self, count):\n    os.kill(os.getpid(), signal.SIGINT)\n"
    answer = planted(interrupt, "put", "--key", key, source, subtree)
    assert (answer.returncode, b"interrupted" in answer.stderr) == (130, True), answer.stderr
    assert b"Traceback" not in answer.stderr
    assert done("ls", "--key", key, subtree) == ""


def test_a_put_that_was_killed_is_finished_by_a_second_one(subtree: str, key: Path, tmp_path: Path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("a", "b", "c"):
        (tree / name).write_bytes(name.encode() * 10000)
    die = (
        "def advance(self, size):\n"
        "    count(self, size)\n"
        "    if self.bytes > 10000:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    answer = planted(die, "put", "--key", key, tree, subtree)
    assert answer.returncode == -9
    with connect(Access()) as mount:
        # it would hold others up for a minute (doc/facts.md F14)
        for session in mount.sessions():
            if not session.manager:
                mount.evict(session)
    words = refused(3, "put", "--key", key, tree, subtree)
    assert "--replace" in words
    done("put", "--key", key, "--replace", tree, subtree)
    done("get", "--key", key, f"{subtree}/tree", tmp_path / "back")
    assert facts(tmp_path / "back") == facts(tree)


def test_an_erasure_coded_pool_is_warned_of(cluster: Cluster, directory: str, key: Path):
    cluster.ceph(
        "osd", "erasure-code-profile", "set", "warned", "k=2", "m=1", "crush-failure-domain=osd", "--force"
    )
    cluster.ceph("osd", "pool", "create", "cephfs_warned", "1", "1", "erasure", "warned")
    cluster.ceph("osd", "pool", "set", "cephfs_warned", "allow_ec_overwrites", "true")
    cluster.ceph("fs", "add_data_pool", "cephfs", "cephfs_warned")
    path = f"{directory}/coded"
    try:
        with connect(Access()) as mount:
            mount.mkdir(path.encode(), 0o755)
            mount.setxattr(path.encode(), "ceph.dir.layout.pool", b"cephfs_warned")
        answer = run("subtree", "create", path, "--key", key)
        assert (answer.returncode, b"warning: " in answer.stderr) == (0, True), answer.stderr
        assert b"erasure coded" in answer.stderr
        assert "erasure coded" in done("subtree", "status", path)
    finally:
        cluster.ceph("fscrypt", "subtree", "forget", "cephfs", path)
        with connect(Access()) as mount:
            mount.rmdir(path.encode())
        cluster.ceph("fs", "rm_data_pool", "cephfs", "cephfs_warned")
        cluster.ceph("osd", "pool", "rm", "cephfs_warned", "cephfs_warned", "--yes-i-really-really-mean-it")
