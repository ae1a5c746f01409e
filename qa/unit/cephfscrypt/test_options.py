"""What may be said of a place, and what is a secret in the wrong one."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.cephfscrypt import KeyStoreError, MasterKey, Passphrase, connect
from mgr_fscrypt.cephfscrypt.connecting import Place
from mgr_fscrypt.cephfscrypt.spec import CephFscryptFileSystem
from qa.fakes.engine_cases import SECRET

WRONG: list[dict[str, Any]] = [
    {"key": SECRET},
    {"key": bytearray(SECRET)},
    {"key": SECRET.hex()},
    {"key": MasterKey(SECRET)},
    {"open": "passphrase"},
    {"open": "passphrase:-"},
    {"open": "hunter2"},
    {"open": [b"hunter2"]},
    {"open": [Passphrase("hunter2")]},
    {"key": "/a", "open": "kms"},
    {"secret": "hunter2"},
]


@pytest.mark.parametrize("make", [Place, CephFscryptFileSystem])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_secret_is_no_option(make: type, wrong: dict[str, Any]):
    with pytest.raises((TypeError, ValueError)) as caught:
        make(**wrong)
    assert "hunter2" not in str(caught.value)
    assert SECRET.hex() not in str(caught.value)


@pytest.mark.parametrize(
    "relative", [{"key": "vault.key"}, {"open": ["kms", "passphrase:hunter2"]}, {"conf": "ceph.conf"}]
)
def test_files_of_options_that_travel_are_named_from_the_root(relative: dict[str, Any]):
    Place(**relative)
    with pytest.raises(ValueError, match="from the root") as caught:
        CephFscryptFileSystem(**relative)
    assert "hunter2" not in str(caught.value)


def test_options_are_what_is_kept_and_sent():
    options = {"key": "/root/vault.key", "file_system": "two", "timeout": 3}
    fs = CephFscryptFileSystem(**options)
    assert fs.storage_options == options
    again = pickle.loads(pickle.dumps(fs))  # noqa: S301 - made here
    assert again is fs
    # fsspec's own go without saying
    assert CephFscryptFileSystem(**options, use_listings_cache=True)._place == fs._place
    assert fs._place.durable_close
    assert Place(open=["kms", "shares:/a", "shares:/b"]).open == ("kms", "shares:/a", "shares:/b")
    assert Place(key=Path("/a")).key == "/a"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("cephfscrypt://vault/a", "/vault/a"),
        ("cephfscrypt:///vault/a/", "/vault/a"),
        ("/vault//./a", "/vault/a"),
        ("vault", "/vault"),
        ("cephfscrypt://", "/"),
        ("", "/"),
        ("/vault/é\udcff", "/vault/é\udcff"),
        ("/vault/../a", "/vault/../a"),
    ],
)
def test_paths(url: str, path: str):
    assert CephFscryptFileSystem._strip_protocol(url) == path


def test_a_key_that_is_none_is_told_before_the_cluster_is_asked(tmp_path: Path):
    file = tmp_path / "short.key"
    file.write_bytes(b"0" * 31)
    file.chmod(0o600)
    with pytest.raises(KeyStoreError, match="no master key") as caught:
        connect(key=file)
    assert "key generate" in caught.value.remedy
    with pytest.raises(KeyStoreError, match="there is no key file"):
        connect(key=tmp_path / "none")
