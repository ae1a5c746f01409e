"""Names that kernels stored hashed, on a real cluster: what its MDS tells of them."""

import base64
import errno
from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.dentries import alternate_names
from mgr_fscrypt.ceph.errors import CephError
from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.engine import FileSystem, Keyring, NameKind
from mgr_fscrypt.engine.fsck import Code
from mgr_fscrypt.format import AUTH_XATTR, Context, Dentry, MasterKey, Names
from qa.fakes.engine_cases import SECRET
from qa.lab.cluster import Cluster

KEY = MasterKey(SECRET)
LONG = b"a name that is longer than a hundred and twenty-eight bytes" * 3


@pytest.fixture
def hashed(mount: CephMount, files: FileSystem, subtree: str) -> Dentry:
    """The one entry of the subtree, as it is stored. libcephfs cannot set alternate names, so it has none."""
    top = subtree.encode()
    names = Names(KEY, Context.decode_auth(mount.getxattr(top, AUTH_XATTR)))
    files.mkdir(f"{subtree}/d")
    dentry = names.encode(LONG)
    mount.rename(top + b"/" + names.encode(b"d").dname, top + b"/" + dentry.dname)
    mount.sync()
    return dentry


@pytest.fixture
def dump(cluster: Cluster, mount: CephMount, subtree: str, hashed: Dentry) -> list[Any]:
    """What the MDS tells of the subtree."""
    found: list[Any] = []

    def told() -> bool:
        """What was made a moment ago is in the MDS's journal, and not yet in what it tells."""
        found[:] = mount._tell("cephfs:0", "dump dir", path=subtree, dentry_dump=True)
        return bool(found)

    cluster.wait("the MDS telling of the directory", told)
    return found


def store_beside(dump: list[Any], alternate_name: bytes) -> None:
    """As it would be told if a kernel had made the entry."""
    (here,) = (each for each in dump[0]["dentries"] if not each["is_null"])
    here["alternate_name"] = base64.b64encode(alternate_name).decode()


def test_what_the_mds_tells_is_read(
    mount: CephMount,
    files: FileSystem,
    subtree: str,
    hashed: Dentry,
    dump: list[Any],
    monkeypatch: pytest.MonkeyPatch,
):
    assert mount.alternate_names(subtree.encode()) == {}
    (entry,) = files.scandir(subtree)
    assert (entry.name, entry.name_kind) == (hashed.dname, NameKind.HASHED)
    (here,) = (each for each in dump[0]["dentries"] if not each["is_null"])
    assert here["alternate_name"] == ""
    store_beside(dump, hashed.alternate_name)
    assert alternate_names(dump) == {hashed.dname: hashed.alternate_name}
    monkeypatch.setattr(CephMount, "_tell", lambda *_, **__: dump)
    (entry,) = files.scandir(subtree)
    assert (entry.name, entry.name_kind) == (LONG, NameKind.DECRYPTED)


def test_fsck_names_what_belongs_to_another_name(
    files: FileSystem, subtree: str, hashed: Dentry, dump: list[Any], monkeypatch: pytest.MonkeyPatch
):
    def codes() -> list[Code]:
        return [one.code for one in files.fsck(subtree, patience=0.05).findings()]

    assert codes() == [Code.HASHED_NAME]
    monkeypatch.setattr(CephMount, "_tell", lambda *_, **__: dump)
    store_beside(dump, hashed.alternate_name)
    assert codes() == []
    store_beside(dump, hashed.alternate_name[:-1] + b"x")
    assert codes() == [Code.POISONED_NAME]


def test_who_may_not_ask_sees_them_as_stored(cluster: Cluster, subtree: str, hashed: Dentry, tmp_path: Path):
    keyring = tmp_path / "keyring"
    caps = ("mon", "allow r", "mds", "allow rw", "osd", "allow rw tag cephfs data=cephfs")
    keyring.write_text(cluster.ceph("auth", "get-or-create", "client.untold", *caps))
    keys = Keyring()
    keys.add(KEY)
    with connect(Access(entity="client.untold", keyring=keyring)) as other:
        with pytest.raises(CephError) as refusal:
            other.alternate_names(subtree.encode())
        assert refusal.value.errno in (errno.EPERM, errno.EACCES)
        (entry,) = FileSystem(other, keys).scandir(subtree)
        assert (entry.name, entry.name_kind) == (hashed.dname, NameKind.HASHED)
