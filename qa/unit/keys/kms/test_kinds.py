import builtins
import configparser
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mgr_fscrypt.keys.errors import KmsMissingError, KmsSettingsError
from mgr_fscrypt.keys.kms import KINDS, Flags, Kind, Settings, kinds, open_kms, trust
from mgr_fscrypt.keys.kms.backend import Backend

ROOT = Path(__file__).resolve().parents[4]
LIBRARIES = {
    "azure",
    "barbicanclient",
    "boto3",
    "google",
    "google_crc32c",
    "hvac",
    "keystoneauth1",
    "kmip",
    "pkcs11",
    "requests",
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_library_that_is_missing(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *arguments: object, **named: object) -> object:
        if name.split(".")[0] in LIBRARIES:
            msg = f"No module named {name!r}"
            raise ModuleNotFoundError(msg, name=name)
        return real(name, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    for module in [name for name in sys.modules if name.startswith("mgr_fscrypt.keys.kms.")]:
        if module.rpartition(".")[2] in {"aws", "azure", "barbican", "gcp", "kmip", "pkcs11", "vault", "web"}:
            monkeypatch.delitem(sys.modules, module)
    (tmp_path / "file").touch(0o600)
    (tmp_path / "file").write_text(json.dumps({"token": "x"}))
    settings = Settings("safe", kind, "https://localhost:1", "key", "file")
    trust(tmp_path, settings)
    with pytest.raises(KmsMissingError) as caught:
        open_kms(settings, tmp_path, timeout=1)
    assert caught.value.remedy == f"run `pip install cephfs-fscrypt[{KINDS[kind].extra}]`"


def test_every_extra_is_there():
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    assert {kind.extra for kind in KINDS.values()} <= set(metadata["options.extras_require"])


def test_what_is_not_proven_says_so():
    for kind in KINDS.values():
        assert kind.flags.proven is ("untested against the real service" not in kind.title)


def test_a_kind_that_is_not_there(tmp_path: Path):
    with pytest.raises(KmsSettingsError, match="no kind of key manager 'abacus'") as caught:
        open_kms(Settings("safe", "abacus", "", ""), tmp_path, timeout=1)
    assert "vault" in caught.value.remedy


def test_what_a_library_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def connect(*_: object) -> Backend:
        msg = "very-secret is no address"
        raise ValueError(msg)

    monkeypatch.setattr(kinds, "KINDS", {"odd": Kind("odd", Flags(), "odd", connect)})
    with pytest.raises(KmsSettingsError, match="takes no such address") as caught:
        open_kms(Settings("safe", "odd", "", ""), tmp_path, timeout=1)
    assert caught.value.__context__ is None


def test_no_library_sees_settings_that_were_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def connect(settings: Settings, *_: object) -> Backend:
        asked.append(settings)
        raise AssertionError

    monkeypatch.setattr(kinds, "KINDS", {"odd": Kind("odd", Flags(), "odd", connect)})
    (tmp_path / "file").touch(0o600)
    (tmp_path / "file").write_text(json.dumps({"token": "x"}))
    settings = Settings("safe", "odd", "https://safe", "key", "file")
    trust(tmp_path, settings)
    with pytest.raises(KmsSettingsError, match="another address"):
        open_kms(replace(settings, address="https://thief"), tmp_path, timeout=1)
    assert asked == []
