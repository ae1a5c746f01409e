"""The kinds of jobs about one subtree, on the fake file system: what they do and say, and that they begin again."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from mgr_fscrypt.ceph.errors import NotFoundError
from mgr_fscrypt.ceph.interface import Session
from mgr_fscrypt.engine import FileMode, FileSystem, Keyring, NotFencedError, RefusedError
from mgr_fscrypt.engine.prospects import NAMESPACE_XATTR
from mgr_fscrypt.format import AUTH_XATTR, MasterKey
from mgr_fscrypt.messages.job import JobWish, Option, result_text
from mgr_fscrypt.messages.subtree_job import (
    CreateOptions,
    CreateResult,
    HoldOptions,
    LookOptions,
    LookResult,
    ModeResult,
    Options,
    ReleaseOptions,
    RemoveOptions,
    RemoveResult,
    as_options,
    read,
)
from mgr_fscrypt.service.jobs import (
    Controls,
    JobFailedError,
    Outcome,
    PausedError,
    RefusedWishError,
    WaitingError,
)
from mgr_fscrypt.service.kinds.changing import Hold, Release
from mgr_fscrypt.service.kinds.creating import Create
from mgr_fscrypt.service.kinds.looking import Look
from mgr_fscrypt.service.kinds.place import Place as Reached
from mgr_fscrypt.service.kinds.removing import Remove
from qa.fakes.ceph import FakeCluster, FakeMount
from qa.fakes.engine_cases import OTHER, SECRET
from qa.unit.engine.test_neighbours import made

KEY = MasterKey(SECRET)
NEW = CreateOptions(KEY.identifier.hex(), "AES-256-XTS", 32, "engine", "fscrypt-s", False, False)


class FakeControls:
    """`Controls` of a job that is told to pause after some steps."""

    def __init__(self, *secrets: bytes, steps: int = 1 << 30) -> None:
        self._keys = {key.identifier: key for key in map(MasterKey, secrets)}
        self.steps = steps
        self.cursor = ""
        self.done: tuple[int, int | None, str] = (0, None, "")
        self.notes: list[tuple[str, bytes]] = []

    def save(self, cursor: str) -> None:
        self.check()
        self.cursor = cursor

    def check(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise PausedError

    def require_turn(self) -> None:
        pass

    def wait(self, seconds: float) -> None:
        self.check()

    def progress(self, done: int, total: int | None = None, unit: str = "") -> None:
        self.done = (done, total, unit)
        self.check()

    def note(self, kind: str, path: bytes) -> None:
        self.notes.append((kind, path))

    @contextmanager
    def key(self, identifier: bytes) -> Iterator[MasterKey]:
        if identifier not in self._keys:
            raise WaitingError("the key is locked")
        yield self._keys[identifier]


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


class Place:
    """A fake file system, and jobs on it."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.mount = FakeMount(cluster)

    @contextmanager
    def reach(self) -> Iterator[Reached]:
        yield Reached(FakeMount(self.cluster), self.cluster)

    def run(self, kind: Any, path: str, options: Options, controls: Controls | None = None) -> Outcome:
        wish = JobWish("0" * 32, kind.name, 1, path, as_options(options))
        job = kind(self.reach)
        job.accept(wish)
        done: Outcome = job.run(wish, controls or FakeControls(SECRET))
        return done

    def result(self, kind: Any, of: Any, *words: Any) -> Any:
        """As the manager reads it."""
        found: Mapping[str, Any] = json.loads(result_text(self.run(kind, *words).result))
        return read(of, found, "result")

    def files(self) -> FileSystem:
        keyring = Keyring()
        keyring.add(KEY)
        return FileSystem(FakeMount(self.cluster), keyring, durable_close=True)


@pytest.fixture
def place(cluster: FakeCluster) -> Place:
    return Place(cluster)


@pytest.fixture
def vault(place: Place) -> FileSystem:
    """A subtree with two files, by a client that is gone when a job comes."""
    place.run(Create, "/s", NEW)
    with place.files() as files:
        for name in ("/s/a", "/s/b"):
            with files.create(name) as file:
                file.pwrite(b"x" * 5000, 0)
    return files


@pytest.mark.parametrize("kind", [Create, Release, Hold, Remove, Look])
@pytest.mark.parametrize("options", [{}, {"dry_run": True, "copy": 1}, {"more": "x"}])
def test_what_is_no_wish_is_refused_at_once(place: Place, kind: Any, options: Mapping[str, Option]):
    with pytest.raises(RefusedWishError):
        kind(place.reach).accept(JobWish("0" * 32, kind.name, 1, "/s", options))


def test_create_looks_first_and_makes_then(place: Place):
    looked = CreateOptions(**vars(NEW) | {"dry_run": True})
    found = place.result(Create, CreateResult, "/s", looked, FakeControls())
    assert (found.found, found.facts, found.namespace) == ("missing", None, "fscrypt-s")
    with pytest.raises(NotFoundError):
        place.mount.stat(b"/s")
    found = place.result(Create, CreateResult, "/s", NEW)
    assert found.facts.policy.key_identifier == NEW.key
    assert place.mount.layout(b"/s").namespace == "fscrypt-s"
    again = place.result(Create, CreateResult, "/s", NEW)
    assert (again.found, again.facts) == ("done", found.facts)


def test_create_makes_nothing_before_it_has_the_key(place: Place):
    with pytest.raises(WaitingError):
        place.run(Create, "/s", NEW, FakeControls())
    with pytest.raises(PausedError):
        place.run(Create, "/s", NEW, FakeControls(SECRET, steps=0))
    with pytest.raises(NotFoundError):
        place.mount.stat(b"/s")


def test_create_takes_no_key_that_is_shorter(place: Place):
    key = MasterKey(SECRET[:32])
    options = CreateOptions(**vars(NEW) | {"key": key.identifier.hex()})
    with pytest.raises(JobFailedError, match="32 bytes"):
        place.run(Create, "/s", options, FakeControls(SECRET[:32]))


def subvolume(place: Place, version: int) -> str:
    meta = f"[GLOBAL]\nversion = {version}\ntype = subvolume\npath = /volumes/g/n/u\nstate = complete\n"
    made(place.mount, b"/volumes/g/n/.meta", meta.encode())
    made(place.mount, b"/volumes/g/n/u")
    return "/volumes/g/n"


def test_create_encrypts_the_data_of_a_subvolume(place: Place):
    base = subvolume(place, 2)
    found = place.result(Create, CreateResult, base, CreateOptions(**vars(NEW) | {"subvolume": True}))
    assert found.path == "/volumes/g/n/u"
    assert place.mount.getxattr(b"/volumes/g/n/u", AUTH_XATTR)


@pytest.mark.parametrize(
    ("version", "path", "words"),
    [
        (1, "/volumes/g/n", "of version 1"),
        (1, "/volumes/g/n/u", "of version 1"),
        (2, "/volumes/g/n", "whose data lies in /volumes/g/n/u"),
        (2, "/volumes/g", "holds subvolumes"),
        (2, "/volumes/g/absent", "no such subvolume"),
    ],
)
def test_create_leaves_what_the_volumes_module_needs(place: Place, version: int, path: str, words: str):
    subvolume(place, version)
    options = CreateOptions(**vars(NEW) | {"subvolume": version == 1 and path == "/volumes/g/n"})
    if "absent" in path:
        options = CreateOptions(**vars(NEW) | {"subvolume": True})
    with pytest.raises(JobFailedError, match=words):
        place.run(Create, path, options)


def test_create_in_a_subvolume_of_version_1_below_its_root(place: Place):
    subvolume(place, 1)
    assert place.result(Create, CreateResult, "/volumes/g/n/u/d", NEW).facts is not None


def test_create_names_what_ceph_csi_encrypts(place: Place):
    base = subvolume(place, 2)
    place.mount.mkdir(b"/volumes/g/n/u/ceph-csi-encrypted", 0o755)
    with pytest.raises(JobFailedError, match="a volume of ceph-csi") as caught:
        place.run(Create, base, CreateOptions(**vars(NEW) | {"subvolume": True}))
    assert "subtree adopt FS /volumes/g/n/u/ceph-csi-encrypted" in caught.value.remedy
    found = place.result(Create, CreateResult, "/volumes/g/n/u/ceph-csi-encrypted", NEW)
    assert "ceph-csi gives this directory" in found.warnings[0]


def test_release_and_hold(place: Place, vault: FileSystem):
    looked = place.result(Release, ModeResult, "/s", ReleaseOptions(dry_run=True))
    assert (looked.changed, looked.bytes, looked.facts.mode) == (2, 10000, "engine")
    controls = FakeControls(SECRET)
    done = place.result(Release, ModeResult, "/s", ReleaseOptions(dry_run=False), controls)
    assert (done.changed, done.problems, done.facts.mode) == (2, 0, "kernel")
    assert controls.done == (2, 2, "files")
    # no key is needed for this one
    back = place.result(Hold, ModeResult, "/s", HoldOptions(copy=False, dry_run=False), FakeControls())
    assert (back.changed, back.facts.mode) == (2, "engine")
    place.run(Release, "/s", ReleaseOptions(dry_run=False))
    with pytest.raises(WaitingError):
        place.run(Hold, "/s", HoldOptions(copy=True, dry_run=False), FakeControls())


def test_release_that_was_paused_is_gone_on_with(place: Place, vault: FileSystem):
    with pytest.raises(PausedError):
        place.run(Release, "/s", ReleaseOptions(dry_run=False), FakeControls(SECRET, steps=2))
    done = place.result(Release, ModeResult, "/s", ReleaseOptions(dry_run=False))
    assert (done.changed, done.unchanged, done.facts.mode) == (1, 1, "kernel")


def test_release_is_refused_while_others_reach_it(place: Place, vault: FileSystem, cluster: FakeCluster):
    cluster.sessions.append(Session(7, "client.other", "1.2.3.4:0/1", b"/", {"hostname": "h"}, 1, False))
    looked = place.result(Release, ModeResult, "/s", ReleaseOptions(dry_run=True))
    assert looked.clients == ("client 7 (client.other on h, root /)",)
    with pytest.raises(NotFencedError, match=r"client\.other on h"):
        place.run(Release, "/s", ReleaseOptions(dry_run=False))
    assert cluster.sessions, "nobody was cut off"
    with vault as files:
        assert files.subtree("/s").mode is FileMode.ENGINE


def test_what_could_not_be_changed_is_told_by_its_stored_path(place: Place, vault: FileSystem):
    stored = next(place.mount.scandir(b"/s")).name
    place.mount.setxattr(b"/s/" + stored, "trusted.fscrypt.engine", b"garbage")
    controls = FakeControls(SECRET)
    outcome = place.run(Release, "/s", ReleaseOptions(dry_run=False), controls)
    assert (outcome.code, outcome.result["problems"]) == (1, 1)
    assert controls.notes == [("DamagedError", b"/s/" + stored)]
    assert "/s/a" not in json.dumps(outcome.result)


def inode(place: Place, path: bytes) -> int:
    return place.mount.stat(path).ino


def test_rm(place: Place, vault: FileSystem):
    number = inode(place, b"/s")
    with pytest.raises(RefusedError, match="something is in it"):
        place.run(Remove, "/s", RemoveOptions(number, contents=False, dry_run=True))
    looked = place.result(Remove, RemoveResult, "/s", RemoveOptions(number, contents=True, dry_run=True))
    assert (looked.files, looked.directories) == (2, 0)
    with pytest.raises(JobFailedError, match="has inode"):
        place.run(Remove, "/s", RemoveOptions(number + 1, contents=True, dry_run=False))
    done = place.result(Remove, RemoveResult, "/s", RemoveOptions(number, contents=True, dry_run=False))
    assert (done.files, done.directories) == (2, 0)
    with pytest.raises(NotFoundError):
        place.mount.stat(b"/s")


def test_rm_that_ended_before_it_could_say_so(place: Place, vault: FileSystem):
    options = RemoveOptions(inode(place, b"/s"), contents=True, dry_run=False)
    controls = FakeControls()
    place.run(Remove, "/s", options, controls)
    assert place.run(Remove, "/s", options, controls).code == 0
    with pytest.raises(NotFoundError):
        place.run(Remove, "/s", options, FakeControls())


def test_rm_of_one_that_was_moved_meanwhile_is_not_done(place: Place, vault: FileSystem):
    options = RemoveOptions(inode(place, b"/s"), contents=True, dry_run=False)
    controls = FakeControls()
    controls.save("begun")
    place.mount.rename(b"/s", b"/away")
    with pytest.raises(NotFoundError):
        place.run(Remove, "/s", options, controls)


def test_rm_leaves_the_data_of_subvolumes(place: Place):
    base = subvolume(place, 2)
    place.run(Create, base, CreateOptions(**vars(NEW) | {"subvolume": True}))
    path = b"/volumes/g/n/u"
    with pytest.raises(JobFailedError, match="the data directory of a subvolume"):
        place.run(Remove, path.decode(), RemoveOptions(inode(place, path), contents=False, dry_run=False))


def test_adopt_tells_what_a_kernel_made(place: Place):
    keyring = Keyring()
    keyring.add(KEY)
    place.mount.mkdir(b"/k", 0o755)
    place.mount.setxattr(b"/k", NAMESPACE_XATTR, b"ns")
    with FileSystem(place.mount, keyring) as files:
        files.create_subtree("/k", KEY.identifier, mode=FileMode.KERNEL)
    found = place.result(Look, LookResult, "/k", LookOptions(verify=False, dry_run=False), FakeControls())
    assert (found.facts.mode, found.namespace, found.verified) == ("kernel", "ns", None)


def test_adopt_sees_whether_the_key_fits(place: Place, vault: FileSystem):
    assert place.result(Look, LookResult, "/s", LookOptions(verify=True, dry_run=False)).verified is True
    with place.files() as files:
        for number in range(100):
            files.mknod(f"/s/{number}", 0o10644)
    # the context of another key over the same names, of which one in five decrypts to what no name can have
    place.mount.setxattr(
        b"/s",
        AUTH_XATTR,
        place.mount.getxattr(b"/s", AUTH_XATTR).replace(KEY.identifier, MasterKey(OTHER).identifier),
    )
    controls = FakeControls(OTHER)
    found = place.run(Look, "/s", LookOptions(verify=True, dry_run=False), controls)
    assert (found.code, found.result["verified"]) == (1, False)
    assert controls.notes[0][0] == "foreign-name"


def test_adopt_names_what_is_plain_and_what_is_inside(place: Place, vault: FileSystem):
    place.mount.mkdir(b"/plain", 0o755)
    assert place.result(Look, LookResult, "/plain", LookOptions(verify=True, dry_run=False)).facts is None
    with place.files() as files:
        files.mkdir("/s/d")
    stored = next(each.name for each in place.mount.scandir(b"/s") if each.kind.value == "directory")
    with pytest.raises(RefusedError, match="not the root of an encrypted subtree"):
        place.run(Look, f"/s/{stored.decode()}", LookOptions(verify=False, dry_run=False))
