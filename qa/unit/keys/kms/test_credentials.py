import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mgr_fscrypt.keys.errors import KmsSettingsError
from mgr_fscrypt.keys.kms import Settings, Standing, standing, trust
from mgr_fscrypt.keys.kms.credentials import Credentials

FIELDS = {"token": "very-secret-token", "user": "me"}
FOR = {"kind": "vault", "address": "https://localhost", "key": "key", "options": {}}


def settings(name: str) -> Settings:
    return Settings("safe", "vault", "https://localhost", "key", name)


def written(folder: Path, text: str = json.dumps({**FIELDS, "for": FOR}), mode: int = 0o600) -> Credentials:
    file = folder / "safe"
    file.write_text(text)
    file.chmod(mode)
    return Credentials(folder, settings("safe"))


def test_its_fields(tmp_path: Path):
    credentials = written(tmp_path)
    assert credentials.require("token") == "very-secret-token"
    assert credentials.get("password") is None
    assert sorted(credentials.secrets()) == ["me", "very-secret-token"]
    assert "very-secret" not in repr(credentials)


def test_none_are_named(tmp_path: Path):
    credentials = Credentials(tmp_path, settings(""))
    assert credentials.get("token") is None
    with pytest.raises(KmsSettingsError, match="there is no 'token'"):
        credentials.require("token")


def test_a_field_that_is_missing_or_too_many(tmp_path: Path):
    credentials = written(tmp_path)
    with pytest.raises(KmsSettingsError, match="there is no 'password'"):
        credentials.require("password")
    credentials.only("token", "user")
    with pytest.raises(KmsSettingsError, match="does not know: user"):
        credentials.only("token")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700 | 0o010])
def test_a_file_that_others_may_use(tmp_path: Path, mode: int):
    with pytest.raises(KmsSettingsError, match="others may use credentials file") as caught:
        written(tmp_path, mode=mode)
    assert caught.value.remedy.startswith(f"run `chmod 600 {tmp_path}/safe`")


def test_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(KmsSettingsError, match="belongs to user"):
        written(tmp_path)


@pytest.mark.parametrize("name", ["../safe", "/etc/passwd", "..", ".", "a/b", "a\0b"])
def test_names_stay_in_the_directory(tmp_path: Path, name: str):
    with pytest.raises(KmsSettingsError, match="not the name of a file"):
        Credentials(tmp_path, settings(name))


def test_an_absent_file(tmp_path: Path):
    with pytest.raises(KmsSettingsError, match="there is no credentials file") as caught:
        Credentials(tmp_path, settings("none"))
    assert "0600" in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "",
        "geheim",
        '["geheim"]',
        '{"token": 5}',
        '{"token": {"very": "geheim"}}',
        '{"a": "geheim"',
    ],
    ids=["empty", "word", "list", "number", "object", "cut"],
)
def test_another_form(tmp_path: Path, text: str):
    with pytest.raises(KmsSettingsError, match="not a JSON object") as caught:
        written(tmp_path, text)
    # not even in what led to it
    error: BaseException | None = caught.value
    while error is not None:
        assert "geheim" not in str(vars(error)) + str(error)
        error = error.__cause__ or error.__context__


def test_files_beside(tmp_path: Path):
    credentials = written(
        tmp_path, json.dumps({"private_key": "client.key", "elsewhere": "../client.key", "for": FOR})
    )
    key = tmp_path / "client.key"
    with pytest.raises(KmsSettingsError, match="there is no private key"):
        credentials.private_file("private_key")
    key.touch(0o640)
    with pytest.raises(KmsSettingsError, match="others may use private key"):
        credentials.private_file("private_key")
    key.chmod(0o600)
    assert credentials.private_file("private_key") == key
    with pytest.raises(KmsSettingsError, match="not the name of a file"):
        credentials.private_file("elsewhere")
    with pytest.raises(KmsSettingsError, match="there is no file"):
        credentials.public_file("ca.crt")


# for which settings


def pinned(folder: Path) -> Settings:
    """Settings, and a file that is for them."""
    file = folder / "safe"
    file.touch(0o600)
    file.write_text(json.dumps(FIELDS))
    found = settings("safe")
    trust(folder, found)
    return found


def test_a_file_is_used_for_the_settings_that_it_names(tmp_path: Path):
    found = pinned(tmp_path)
    assert json.loads((tmp_path / "safe").read_text()) == {
        **FIELDS,
        "for": FOR,
    }
    credentials = Credentials(tmp_path, replace(found, name="another-name"))
    assert credentials.require("token") == "very-secret-token"
    credentials.only("token", "user")
    assert sorted(credentials.secrets()) == ["me", "very-secret-token"]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "gcp"},
        {"address": "https://thief.example"},
        {"key": "another"},
        {"options": {"ca": "thief.crt"}},
    ],
    ids=["kind", "address", "key", "options"],
)
def test_a_file_is_used_for_no_others(tmp_path: Path, change: dict[str, object]):
    changed = replace(pinned(tmp_path), **change)
    assert standing(tmp_path, changed) is Standing.ELSEWHERE
    with pytest.raises(KmsSettingsError, match=f"is for another {next(iter(change))} than") as caught:
        Credentials(tmp_path, changed)
    assert "Nothing was sent" in str(caught.value)
    assert "`cephfs-fscrypt kms trust safe`" in caught.value.remedy
    trust(tmp_path, changed)
    assert Credentials(tmp_path, changed).require("token")


def test_a_file_that_names_none_is_not_used(tmp_path: Path):
    file = tmp_path / "safe"
    file.touch(0o600)
    file.write_text(json.dumps(FIELDS))
    assert standing(tmp_path, settings("safe")) is Standing.UNPINNED
    with pytest.raises(KmsSettingsError, match="does not say for which settings it is") as caught:
        Credentials(tmp_path, settings("safe"))
    assert "kms trust safe" in caught.value.remedy


@pytest.mark.parametrize("pin", ['"vault"', "[]", "{}", '{"kind": "vault"}', "7"])
def test_what_says_nothing_fits_nothing(tmp_path: Path, pin: str):
    (tmp_path / "safe").touch(0o600)
    (tmp_path / "safe").write_text('{"token": "x", "for": ' + pin + "}")
    with pytest.raises(KmsSettingsError, match="is for another"):
        Credentials(tmp_path, settings("safe"))


def test_what_is_trusted_stays_private_and_whole(tmp_path: Path):
    assert standing(tmp_path, settings("safe")) is Standing.ABSENT
    with pytest.raises(KmsSettingsError, match="there is no credentials file"):
        trust(tmp_path, settings("safe"))
    found = pinned(tmp_path)
    assert standing(tmp_path, found) is Standing.PINNED
    assert (tmp_path / "safe").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["safe"]
    link = tmp_path / "link"
    link.symlink_to("safe")
    trust(tmp_path, replace(found, credentials="link"))
    assert link.is_symlink()
    (tmp_path / "safe").chmod(0o640)
    with pytest.raises(KmsSettingsError, match="others may use"):
        trust(tmp_path, found)
