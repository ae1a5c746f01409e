"""Whose a file with a secret may be: the caller's own, or what systemd hands to a service."""

import os
from pathlib import Path

import pytest

from mgr_fscrypt.keys.private_files import UnsafeFileError, read_private

SERVICE = 4321


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What systemd makes for a service of another user: root's, with an ACL whose mask shows as the group's bits."""
    if os.geteuid() != 0:
        pytest.skip("only root can make files of root")
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "secret").write_bytes(b"words")
    (folder / "secret").chmod(0o440)
    folder.chmod(0o550)
    monkeypatch.setattr("os.geteuid", lambda: SERVICE)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def read(file: Path) -> bytes:
    return read_private(file, "key file", limit=100)


def test_a_credential_of_the_service_is_read(credentials: Path, monkeypatch: pytest.MonkeyPatch):
    assert read(credentials / "secret") == b"words"
    monkeypatch.chdir(credentials)
    assert read(Path("secret")) == b"words"


def test_it_is_one_only_in_the_directory_that_systemd_named(
    credentials: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(UnsafeFileError, match="belongs to user 0"):
        read(credentials / "secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials.parent))
    with pytest.raises(UnsafeFileError, match="belongs to user 0"):
        read(credentials / "secret")


@pytest.mark.parametrize(("what", "mode"), [("secret", 0o444), ("secret", 0o460), (".", 0o555), (".", 0o570)])
def test_what_others_may_use_is_none(credentials: Path, what: str, mode: int):
    (credentials / what).chmod(mode)
    with pytest.raises(UnsafeFileError):
        read(credentials / "secret")


@pytest.mark.parametrize("what", ["secret", "."])
def test_what_belongs_to_somebody_else_is_none(credentials: Path, what: str):
    os.chown(credentials / what, 1234, 0)
    with pytest.raises(UnsafeFileError):
        read(credentials / "secret")
