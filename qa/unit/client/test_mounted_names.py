"""Names that the kernel gives, on ext4 as its stand-in (qa/fakes/encrypted_ext4.py)."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.client.kernel_keys import KernelKeys
from mgr_fscrypt.client.mounted_names import MountedNames
from mgr_fscrypt.engine import policy_of
from mgr_fscrypt.format import Context, MasterKey, Mode
from qa.fakes.encrypted_ext4 import UnavailableError, make_encrypted, mounted

KEY = MasterKey(bytes(range(64)))
LONG = b"n" * 250


@pytest.fixture
def top() -> Iterator[Path]:
    try:
        with mounted() as place:
            yield place
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def keys(top: Path) -> Iterator[KernelKeys]:
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    yield KernelKeys(descriptor)
    os.close(descriptor)


def context_of(directory: Path) -> Context:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        keys = KernelKeys(descriptor)
        policy = keys.policy()
        assert policy is not None
        return Context(policy, keys.nonce())
    finally:
        os.close(descriptor)


@pytest.fixture
def context(top: Path, keys: KernelKeys) -> Context:
    """Of the directory `/s`, whose key is there."""
    keys.add(KEY)
    make_encrypted(top / "s", policy_of(KEY.identifier, 32, Mode.AES_256_XTS))
    return context_of(top / "s")


def test_names_are_taken_and_given(top: Path, context: Context):
    names = MountedNames(top)
    number = names.make_empty(b"/s", context, LONG, directory=False)
    assert [each.name for each in (top / "s").iterdir()] == [LONG.decode()]
    assert (top / "s" / LONG.decode()).stat().st_ino == number
    with pytest.raises(FileExistsError):
        names.make_empty(b"/s", context, LONG, directory=True)
    (top / "s" / "short").write_bytes(b"content")
    names.rename(b"/s", context, b"short", LONG)
    assert (top / "s" / LONG.decode()).read_bytes() == b"content"
    inside = names.make_empty(b"/s", context, b"d" * 250, directory=True)
    assert (top / "s" / ("d" * 250)).stat().st_ino == inside
    assert (top / "s" / ("d" * 250)).is_dir()


def test_no_other_directory_is_taken_for_it(top: Path, context: Context):
    names, other = MountedNames(top), Context.fresh(context.policy)
    (top / "plain").mkdir()
    for path, meant in ((b"/s", other), (b"/plain", context), (b"/", context)):
        with pytest.raises(OSError, match="another directory") as refusal:
            names.make_empty(path, meant, LONG, directory=False)
        assert refusal.value.errno == errno.ESTALE
    with pytest.raises(FileNotFoundError):
        names.rename(b"/missing", context, b"a", LONG)
    assert sorted(each.name for each in top.iterdir()) == ["lost+found", "plain", "s"]


def test_a_locked_directory_is_refused(top: Path, keys: KernelKeys, context: Context):
    keys.remove(KEY.identifier)
    with pytest.raises(OSError, match="locked") as refusal:
        MountedNames(top).make_empty(b"/s", context, LONG, directory=False)
    assert refusal.value.errno == errno.ENOKEY
