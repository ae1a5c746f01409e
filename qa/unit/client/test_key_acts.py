"""Every verb of `key`, `tenant` and `kms`: what its dry run leaves as it was, and that without it something changes."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mgr_fscrypt.ceph.errors import CephError
from mgr_fscrypt.client import commands, key, key_commands
from mgr_fscrypt.client.outcome import Exit
from mgr_fscrypt.custody import Custody
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys import bundle
from mgr_fscrypt.keys.acts import Acts
from mgr_fscrypt.keys.audit import Audit
from mgr_fscrypt.keys.errors import KmsUnreachableError
from mgr_fscrypt.keys.keeper import Keeper
from mgr_fscrypt.keys.key_file import KeyFile
from mgr_fscrypt.keys.kms import SIGNING_KEY, Settings
from mgr_fscrypt.keys.lockbox import Lockbox
from mgr_fscrypt.keys.managed import Managed
from mgr_fscrypt.keys.overlay import Overlay
from mgr_fscrypt.keys.register import Register
from mgr_fscrypt.keys.safe import Safe
from mgr_fscrypt.keys.schedule import Schedule
from mgr_fscrypt.messages import KeyFacts, TenantFacts
from mgr_fscrypt.reported import key_facts
from qa.fakes.key_cases import FIRST, FSID, MASTER, Desk
from qa.fakes.kms import FakeKms
from qa.fakes.objects import FakeObjects

NEVER_WRITES = {"key ls", "key show", "tenant ls", "kms ls", "kms test"}
"""They have no dry run. `key rescan` tells the manager only, and changes no key."""


class FakeCluster:
    """What is asked of the monitors and the manager."""

    def __init__(self) -> None:
        self.told: list[str] = []
        """But for questions."""
        self.reports: list[str] = []
        self.attempts = 0
        self.destroyed: set[str] = set()
        self.away = False

    def file_system(self) -> SimpleNamespace:
        return SimpleNamespace(name="cephfs")

    def command(self, prefix: str, **words: Any) -> Any:
        self.attempts += 1
        if self.away:
            raise CephError(errno.EOPNOTSUPP, "the module is not enabled")
        if prefix == "fscrypt key show":
            if words["key"] in self.destroyed:
                return {"state": "destroyed"}
            raise CephError(errno.ENOENT, "no such key")
        self.told.append(prefix)
        self.reports.append(words["report"])
        return None


class Stage:
    """Keys in every state, on objects in memory; and commands that work on them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.objects = FakeObjects()
        self.cluster = FakeCluster()
        self.kms = FakeKms()
        monkeypatch.setattr(key_commands, "custody", self.custody)
        monkeypatch.setattr(key, "what_dies", lambda *_: iter(()))
        # what FIRST and SECOND are made of
        self.private("first", b"1" * 32)
        self.private("second", b"2" * 32)
        (folder / "credentials").mkdir(0o700)
        for name in ("vault.json", "other.json"):
            self.private(f"credentials/{name}", b'{"token": "s.0123456789"}')
        desk = Desk(self.objects)
        Register(self.objects).add(
            Settings(
                "vault", "vault", "https://localhost:1", "key", "vault.json", options={SIGNING_KEY: "signs"}
            )
        )
        desk.tenants.create("acme", Managed("vault", self.kms))
        desk.tenants.add("acme", "spare", FIRST, [Managed("vault", self.kms)])
        desk.create()
        desk.acts.add("k", "spare", KeyFile(b"3" * 32), [FIRST])
        for number, name in enumerate(("off", "dying", "gone")):
            desk.create(name, MasterKey(bytes([number]) * 64))
        desk.life.disable("off")
        desk.life.destroy("dying", 0)
        missing = desk.safe.find("gone")
        (folder / "bundle").write_bytes(bundle.encode([missing]))
        for name in (missing.place, "name.gone"):
            del self.objects.stored[name]
        with self.custody(None, None) as found:
            found.acts.create("managed", "acme", MasterKey(b"m" * 64), "kms", found.by_tenant())
            found.schedule.rotate_every("acme", 86400)

    def private(self, name: str, data: bytes) -> None:
        file = self.folder / name
        file.touch(0o600)
        file.write_bytes(data)

    @contextmanager
    def custody(self, *_: object, bundle: object = None, dry_run: bool = False) -> Iterator[Custody]:
        objects = Overlay(self.objects) if dry_run else self.objects
        who = "user 0 at host as client.admin"
        clock = lambda: 1_900_000_000.0  # noqa: E731
        keeper = Keeper(Safe(objects, FSID, 1), Audit(objects, who, clock), who, clock)
        yield Custody(
            keeper,
            Register(objects),
            lambda name: Managed(name, self.kms),
            Schedule(keeper, objects),
            self.cluster,  # type: ignore[arg-type]
        )

    def seen(self) -> tuple[object, ...]:
        """All that an act could change."""
        files = {file: file.read_bytes() for file in self.folder.rglob("*") if file.is_file()}
        return dict(self.objects.stored), files, list(self.cluster.told), len(self.kms._versions)

    def words(self, *words: str) -> list[str]:
        return [word.replace("DIR", str(self.folder)) for word in words]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


_FIRST = ("--open", "key-file:DIR/first")
_CREDENTIALS = ("--credentials", "DIR/credentials")
_OTHER = ("--kind", "vault", "--address", "https://localhost:2", "--key", "key", "--file", "other.json")
ACTS: dict[str, tuple[str, ...]] = {
    "key create": ("new", "--with", "key-file:DIR/first"),
    "key add": ("k", "--with", "key-file:DIR/second", *_FIRST),
    "key remove": ("k", "spare"),
    "key test": ("k", "first", *_FIRST),
    "key drill": ("k", "first", *_FIRST),
    "key rewrap": ("k", "first", "--with", "key-file:DIR/second", *_FIRST),
    "key recover": ("k", "DIR/out", *_FIRST),
    "key disable": ("k",),
    "key enable": ("off",),
    "key expire": ("k", "2031-01-01"),
    "key drill-every": ("k", "180d"),
    "key destroy": ("k", "--confirm", "k"),
    "key cancel": ("dying",),
    "key finish": ("dying",),
    "key export-bundle": ("DIR/out",),
    "key import-bundle": ("DIR/bundle",),
    "key audit": ("--sign", "vault"),
    "tenant create": ("blue", "--kms", "vault"),
    "tenant add": ("acme", "--with", "key-file:DIR/second", "--open", "kms"),
    "tenant remove": ("acme", "spare"),
    "tenant test": ("acme", "spare", *_FIRST),
    "tenant rewrap": ("acme", "spare", "--with", "key-file:DIR/second", "--open", "kms"),
    "tenant rotate": ("acme", "--kms-too", *_FIRST),
    "tenant rotate-every": ("acme", "90d"),
    "kms add": ("other", *_OTHER, *_CREDENTIALS),
    "kms trust": ("vault", "--confirm", "vault", *_CREDENTIALS),
    "kms rm": ("vault",),
}


def test_no_verb_is_without_its_dry_run_or_its_reason():
    every = key_commands._KEYS.keys() | key_commands._MANAGERS.keys() | key_commands._TENANTS.keys()
    assert every == ACTS.keys() | NEVER_WRITES | {"key rescan"}


@pytest.mark.parametrize("act", ACTS)
def test_a_dry_run_changes_nothing(act: str, stage: Stage, capsys: pytest.CaptureFixture[str]):
    words = [*act.split(), *stage.words(*ACTS[act])]
    before = stage.seen()
    assert commands.main([*words, "--dry-run"]) == Exit.DONE, capsys.readouterr().err
    assert "would" in capsys.readouterr().out
    assert stage.seen() == before
    assert commands.main([*words, "--dry-run", "--json"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out.splitlines()[-1]).get("dry_run", True)
    assert stage.seen() == before
    assert commands.main(words) == Exit.DONE, capsys.readouterr().err
    assert stage.seen()[:2] != before[:2], "what nothing changes proves nothing"


def test_a_rotation_tells_the_manager_how_each_key_is_after_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with stage.custody() as found:
        found.acts.create("other", "acme", MasterKey(b"o" * 64), "kms", found.by_tenant())
        boxes = [found.safe.find(name) for name in ("managed", "other")]
    rotate = ["tenant", "rotate", "acme", *stage.words(*_FIRST)]
    rewrap, done = Acts.rewrap, list[Lockbox]()

    def once(*words: Any) -> Lockbox:
        if done:
            raise KmsUnreachableError("it is gone")
        done.append(rewrap(*words))
        return done[0]

    with monkeypatch.context() as patch:
        patch.setattr(Acts, "rewrap", once)
        assert commands.main(rotate) == Exit.UNREACHABLE
    said = capsys.readouterr().err
    assert ("nothing was changed" in said, "run it again: it goes on" in said) == (False, True)
    assert [KeyFacts.decode(each) for each in stage.cluster.reports] == [key_facts(done[0])], "what was done"
    assert commands.main(rotate) == Exit.DONE
    *keys, tenant = stage.cluster.reports
    with stage.custody() as found:
        now = [found.safe.find(box.key) for box in boxes]
    assert [box.generation for box in now] > [box.generation for box in boxes]
    told = {each.identifier: each for each in map(KeyFacts.decode, keys)}
    assert told == {box.key: key_facts(box) for box in now}
    assert TenantFacts.decode(tenant).version == 2
    stage.cluster.away, stage.cluster.attempts = True, 0
    capsys.readouterr()
    assert commands.main(rotate) == Exit.DONE, "it is none the worse for a manager that is away"
    assert stage.cluster.attempts == 1, "nothing that does not answer is asked for each key"
    assert capsys.readouterr().err.count("the manager was not told (the module is not enabled") == 1


def test_a_key_that_was_recovered_is_marked_and_told(stage: Stage, capsys: pytest.CaptureFixture[str]):
    words = ["key", "recover", "k", *stage.words("DIR/out", *_FIRST)]
    assert commands.main(words) == Exit.DONE
    assert (stage.folder / "out").read_bytes() == MASTER.expose()
    capsys.readouterr()
    assert commands.main(["key", "show", "k", "--json"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["left"] == 1_900_000_000
    assert commands.main(["key", "show", "k"]) == Exit.DONE
    assert "left         2030-03-17 17:46 UTC" in capsys.readouterr().out
    with stage.custody() as found:
        assert [each.result for each in found.keeper.audit.records() if each.act == "recover"] == ["done"]
    before = stage.seen()
    assert commands.main(words) == Exit.REFUSED, "the file is there"
    assert stage.seen() == before


def test_a_key_that_was_not_opened_has_not_left(stage: Stage):
    words = ["key", "recover", "k", *stage.words("DIR/out", "--open", "key-file:DIR/second")]
    assert commands.main(words) == Exit.LOCKED
    assert not (stage.folder / "out").exists()
    with stage.custody() as found:
        assert found.safe.find("k").left == 0
        (refused,) = [each.result for each in found.keeper.audit.records() if each.act == "recover"]
    assert refused.startswith("refused: ")


def test_a_bundle_is_not_written_over_a_file_not_even_in_a_dry_run(stage: Stage):
    before = stage.seen()[1]
    for more in ([], ["--dry-run"]):
        words = ["key", "export-bundle", *stage.words("DIR/bundle"), *more]
        assert commands.main(words) == Exit.REFUSED
    assert stage.seen()[1] == before


def test_a_bundle_is_made_without_a_damaged_version_that_nothing_needs(stage: Stage):
    with stage.custody() as found:
        (box,) = found.safe.tenant_keys("acme")
    stage.objects.create("tenant.acme.9", b"damaged")
    file = stage.folder / "all"
    assert commands.main(["key", "export-bundle", str(file), "--quiet"]) == Exit.DIFFERS
    assert box in bundle.decoded(file.read_bytes())


class Bundle:
    """All keys of a stage in a bundle, and a cluster without any."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.file = stage.folder / "all"
        assert commands.main(["key", "export-bundle", str(self.file), "--quiet"]) == Exit.DONE
        self.names = {box.name: box.place for box in self.kept()}
        stage.objects.stored.clear()

    def kept(self) -> list[Lockbox]:
        with self.stage.custody() as found:
            return [each for each in found.safe.lockboxes() if isinstance(each, Lockbox)]

    def damage(self, place: str) -> None:
        value = json.loads(self.file.read_bytes())
        value["objects"][place] = value["objects"][place][8:]
        self.file.write_text(json.dumps(value))

    def bring_in(self, code: Exit, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
        capsys.readouterr()
        assert commands.main(["key", "import-bundle", str(self.file), "--json"]) == code
        said = capsys.readouterr()
        return json.loads(said.out), said.err


@pytest.fixture
def whole(stage: Stage) -> Bundle:
    return Bundle(stage)


def test_a_damaged_entry_is_told_and_the_others_come_in(whole: Bundle, capsys: pytest.CaptureFixture[str]):
    whole.damage(whole.names["off"])
    told, notes = whole.bring_in(Exit.DIFFERS, capsys)
    assert told["left_out"] == [whole.names["off"]]
    assert f"damaged: {whole.names['off']} of the bundle cannot be read" in notes
    assert {box.name for box in whole.kept()} == whole.names.keys() - {"off"}
    assert len(told["keys"]) == len(whole.names), "the tenant's key is one of them"
    told, _ = whole.bring_in(Exit.DIFFERS, capsys)
    assert told["keys"] == [], "the rest is there"


def test_without_its_tenants_key_no_key_comes_in(whole: Bundle, capsys: pytest.CaptureFixture[str]):
    whole.damage("tenant.acme.1")
    told, notes = whole.bring_in(Exit.DIFFERS, capsys)
    assert set(told["left_out"]) == {"tenant.acme.1", whole.names["managed"]}
    assert "tenant key 1 of tenant acme, which opens it, is not here" in notes
    assert {box.name for box in whole.kept()} == whole.names.keys() - {"managed"}
    assert whole.stage.objects.read("name.managed") is None


def test_what_the_manager_knows_to_be_destroyed_stays_so(whole: Bundle, capsys: pytest.CaptureFixture[str]):
    cluster = whole.stage.cluster
    cluster.destroyed = {whole.names["off"].removeprefix("key.")}
    told, notes = whole.bring_in(Exit.DIFFERS, capsys)
    assert told["left_out"] == [whole.names["off"]]
    assert "was destroyed, as the manager knows" in notes
    key = next(iter(cluster.destroyed))
    whole.stage.private("off", bytes(64))
    assert MasterKey(bytes(64)).identifier.hex() == key
    words = ["key", "create", "again", "--from", "DIR/off", "--with", "key-file:DIR/first"]
    assert commands.main(whole.stage.words(*words)) == Exit.REFUSED
    cluster.away = True
    told, notes = whole.bring_in(Exit.DONE, capsys)
    assert told["keys"] == [key]
    assert "only tombstones were honoured" in notes
