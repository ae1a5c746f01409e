import json
import os
from pathlib import Path

import pytest

from mgr_fscrypt.keys.errors import KmsSettingsError
from mgr_fscrypt.keys.kms import Settings
from mgr_fscrypt.keys.kms.credentials import Credentials

FIELDS = {"token": "very-secret-token", "user": "me"}


def settings(name: str) -> Settings:
    return Settings("safe", "vault", "https://localhost", "key", name)


def written(folder: Path, text: str = json.dumps(FIELDS), mode: int = 0o600) -> Credentials:
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
    credentials = written(tmp_path, json.dumps({"private_key": "client.key", "elsewhere": "../client.key"}))
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
