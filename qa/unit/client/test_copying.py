"""``put`` and ``get`` against servers and neighbours that mean harm, on the fake cluster."""

import contextlib
import errno
import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest

from mgr_fscrypt.ceph.errors import CephError, error_of
from mgr_fscrypt.ceph.interface import Entry, Kind
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.client import get, put
from mgr_fscrypt.client.connection import Connection
from mgr_fscrypt.client.given_keys import GivenKeys
from mgr_fscrypt.client.outcome import Exit, Failure
from mgr_fscrypt.client.report import Reporter
from mgr_fscrypt.engine import FileSystem, Keyring, LockedError
from mgr_fscrypt.format import MasterKey
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.kernel_names import FakeKernel

KEY = MasterKey(bytes(range(64)))


class LyingMount(FakeMount):
    """Servers that add entries to each listing of one directory."""

    def __init__(self, cluster: FakeCluster) -> None:
        super().__init__(cluster)
        self.lies: dict[bytes, list[Entry]] = {}

    def scandir(self, path: bytes) -> Generator[Entry]:
        yield from super().scandir(path)
        yield from self.lies.get(path, [])


@pytest.fixture
def mount() -> LyingMount:
    return LyingMount(FakeCluster())


@pytest.fixture
def connection(mount: LyingMount) -> Connection:
    keyring = Keyring()
    keyring.add(KEY)
    files = FileSystem(mount, keyring)
    files.mkdir(b"/plain")
    files.mkdir(b"/secret")
    files.create_subtree(b"/secret", KEY.identifier)
    return Connection(cast("CephMount", mount), files, GivenKeys(keyring, KEY))


def got(connection: Connection, source: str, target: Path, *, replace: bool = False) -> Exit:
    return get.get(connection, Reporter(quiet=True), source.encode(), target, replace=replace)


def sent(
    connection: Connection, source: Path, target: str, *, replace: bool = False, dry: bool = False
) -> Exit:
    return put.put(connection, Reporter(quiet=True), [source], target.encode(), replace=replace, dry_run=dry)


def below(top: Path) -> list[str]:
    return sorted(str(each.relative_to(top)) for each in top.rglob("*"))


@pytest.mark.parametrize("name", [b"../out", b"/%b/out", b"..", b".", b"a/b", b"", b"a\0b"])
@pytest.mark.parametrize("kind", [Kind.DIRECTORY, Kind.FILE, Kind.SYMLINK])
@pytest.mark.parametrize("where", ["/plain", "/secret"])
def test_no_name_of_a_server_leads_out_of_the_target(
    connection: Connection, mount: LyingMount, tmp_path: Path, name: bytes, kind: Kind, where: str
) -> None:
    name = name.replace(b"%b", os.fsencode(tmp_path))
    # where the name would be found, were it followed
    connection.files.mkdir(f"{where}/out".encode())
    mount.lies[where.encode()] = [Entry(name, 999, kind)]
    goal = tmp_path / "a" / "goal"
    goal.parent.mkdir()
    assert got(connection, where, goal) is Exit.DIFFERS
    assert below(tmp_path) == ["a", "a/goal", "a/goal/out"]


def test_a_link_that_turns_into_a_directory_is_not_followed(
    connection: Connection, mount: LyingMount, tmp_path: Path
) -> None:
    """A first ``get`` made a link; then the servers show a directory by that name."""
    outside = tmp_path / "outside"
    outside.mkdir(0o700)
    connection.files.mkdir(b"/plain/d")
    (entry,) = mount.scandir(b"/plain")
    goal = tmp_path / "goal"
    goal.mkdir()
    (goal / "plain").mkdir()
    (goal / "plain" / "d").symlink_to(outside)
    for replace in (False, True):
        with pytest.raises(Failure) as caught:
            got(connection, "/plain", goal, replace=replace)
        assert caught.value.code is Exit.REFUSED
    assert (entry.kind, below(outside)) == (Kind.DIRECTORY, [])
    assert stat.S_IMODE(outside.stat().st_mode) == 0o700


def test_a_file_is_never_written_through_a_link(connection: Connection, tmp_path: Path) -> None:
    with connection.files.create(b"/secret/name") as new:
        new.pwrite(b"new", 0)
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    goal = tmp_path / "goal"
    goal.symlink_to(victim)
    with pytest.raises(Failure, match="File exists") as caught:
        got(connection, "/secret/name", goal)
    assert "--replace" in caught.value.remedy
    assert got(connection, "/secret/name", goal, replace=True) is Exit.DONE
    assert (goal.is_symlink(), goal.read_bytes(), victim.read_bytes()) == (False, b"new", b"mine")


def test_nobody_elses_program_comes_out_or_goes_in(connection: Connection, tmp_path: Path) -> None:
    """Owners are not kept, and modes are the servers' word: set-user-ID would run as whoever copies."""
    source = tmp_path / "program"
    source.write_bytes(b"#!")
    source.chmod(0o6755)
    sent(connection, source, "/secret/program")
    assert connection.files.stat(b"/secret/program").permissions == 0o755
    connection.files.chmod(b"/secret/program", 0o6755)
    got(connection, "/secret/program", tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


def test_what_cannot_be_replaced_leaves_no_temporary_name(
    connection: Connection, mount: LyingMount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connection.files.create(b"/secret/name") as new:
        new.pwrite(b"x", 0)
    (tmp_path / "out" / "name").mkdir(parents=True)
    with pytest.raises(Failure) as caught:
        got(connection, "/secret/name", tmp_path / "out", replace=True)
    assert (caught.value.code, below(tmp_path / "out")) == (Exit.REFUSED, ["name"])

    connection.files.mkdir(b"/secret/sub")
    connection.files.mkdir(b"/secret/sub/file")
    source = tmp_path / "file"
    source.write_bytes(b"y")
    with pytest.raises(Failure) as caught:
        sent(connection, source, "/secret/sub", replace=True)
    assert caught.value.code is Exit.REFUSED
    assert "is a directory" in caught.value.happened
    assert connection.files.stat(b"/secret/sub/file").kind is Kind.DIRECTORY

    with connection.files.create(b"/secret/old") as new:
        new.pwrite(b"z", 0)
    monkeypatch.setattr(mount, "rename", _refuse)
    with pytest.raises(Failure):
        sent(connection, source, "/secret/old", replace=True)
    assert sorted(entry.name for entry in connection.files.scandir(b"/secret")) == [b"name", b"old", b"sub"]


@pytest.mark.parametrize("dry", [True, False])
def test_a_locked_subtree_takes_nothing(
    mount: LyingMount, connection: Connection, tmp_path: Path, dry: bool
) -> None:
    other = MasterKey(bytes(64))
    keyring = Keyring()
    keyring.add(other)
    locked = Connection(connection.mount, FileSystem(mount, keyring), GivenKeys(keyring, other))
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(LockedError) as caught:
        sent(locked, tmp_path / "file", "/secret", dry=dry)
    assert KEY.identifier.hex() in str(caught.value)
    assert list(connection.files.scandir(b"/secret")) == []


def test_a_put_that_died_is_finished_by_a_second_one(
    mount: LyingMount, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in "abc":
        (tree / name).write_bytes(name.encode() * 5000)
    monkeypatch.setattr("mgr_fscrypt.engine.waiting._STEPS", (0,))
    monkeypatch.setattr(mount, "fsetxattr", _refuse)
    with pytest.raises(Failure) as caught:
        sent(connection, tree, "/secret")
    assert "are complete" in caught.value.left
    monkeypatch.undo()
    # the first one's failures are its own, also those that come late
    with contextlib.suppress(CephError):
        connection.files.sync()
    assert sent(connection, tree, "/secret", replace=True) is Exit.DONE
    assert got(connection, "/secret/tree", tmp_path / "back") is Exit.DONE
    assert below(tmp_path / "back") == ["a", "b", "c"]
    assert (tmp_path / "back" / "c").read_bytes() == b"c" * 5000


def _refuse(*_: object) -> None:
    error: CephError = error_of(errno.EIO, "planted", b"/")
    raise error


def test_put_makes_long_names_where_a_kernel_gives_them(
    mount: LyingMount, connection: Connection, tmp_path: Path
):
    (tmp_path / "tree" / ("d" * 250)).mkdir(parents=True)
    (tmp_path / "tree" / ("d" * 250) / "file").write_bytes(b"content")
    (tmp_path / "tree" / ("f" * 255)).write_bytes(b"content")
    (tmp_path / "tree" / "z").hardlink_to(tmp_path / "tree" / ("f" * 255))
    with pytest.raises(Failure) as failure:
        put.put(
            connection, Reporter(quiet=True), [tmp_path / "tree"], b"/secret", replace=False, dry_run=False
        )
    assert "shorten names to 128 bytes" in failure.value.remedy
    keyring = connection.keys.keyring
    files = FileSystem(mount, keyring, kernel_names=FakeKernel(mount.cluster, KEY))
    with_kernel = Connection(cast("CephMount", mount), files, connection.keys)
    for replace in (False, True):
        put.put(
            with_kernel, Reporter(quiet=True), [tmp_path / "tree"], b"/secret", replace=replace, dry_run=False
        )
        names = sorted(entry.name for entry in connection.files.scandir(b"/secret/tree"))
        assert names == [b"d" * 250, b"f" * 255, b"z"]
        assert connection.files.stat(b"/secret/tree/z").nlink == 2
        with connection.files.open(b"/secret/tree/" + b"d" * 250 + b"/file") as file:
            assert file.pread(9, 0) == b"content"
