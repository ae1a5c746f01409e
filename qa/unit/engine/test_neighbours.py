"""What is understood of what others keep on a file system: subvolumes, google/fscrypt's metadata, ceph-csi's layout."""

import os

import pytest

from mgr_fscrypt.ceph.errors import NotFoundError
from mgr_fscrypt.ceph.subvolumes import Subvolume, SubvolumeError, base_of, subvolume_at
from mgr_fscrypt.engine.foreign import Metadata, foreign_at
from qa.fakes.ceph import FakeMount

KEY = "0f72fb0d426a0334a9f8ab1dfb5e7d8e"


def made(mount: FakeMount, path: bytes, content: bytes | None = None) -> None:
    """A file, or a directory, and what it lies in."""
    above = b""
    for name in path.split(b"/")[1:-1]:
        above += b"/" + name
        if not any(each.name == name for each in mount.scandir(above.rpartition(b"/")[0] or b"/")):
            mount.mkdir(above, 0o755)
    if content is None:
        mount.mkdir(path, 0o755)
        return
    fd = mount.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
    mount.pwrite(fd, content, 0)
    mount.close(fd)


@pytest.mark.parametrize("version", [1, 2])
def test_a_subvolume_is_where_its_metadata_says(mount: FakeMount, version: int):
    base = base_of("csi", "vol-1")
    meta = (
        f"[GLOBAL]\nversion = {version}\ntype = subvolume\npath = /volumes/csi/vol-1/u%d\nstate = complete\n"
    )
    made(mount, base + b"/.meta", meta.encode())
    assert subvolume_at(mount, base) == Subvolume(b"/volumes/csi/vol-1/u%d", version, "complete")


def test_a_legacy_subvolume_has_no_metadata_beside_its_data(mount: FakeMount):
    made(mount, b"/volumes/_nogroup/old/data")
    assert subvolume_at(mount, base_of("", "old")) == Subvolume(b"/volumes/_nogroup/old", 0, "complete")


@pytest.mark.parametrize(
    "meta", [b"", b"[GLOBAL]\nversion = 2\n", b"\xff", b"path", b"[GLOBAL]\nversion=x\npath=/\nstate=s\n"]
)
def test_metadata_that_is_none(mount: FakeMount, meta: bytes):
    made(mount, base_of("", "odd") + b"/.meta", meta)
    with pytest.raises(SubvolumeError, match="not what Ceph's volumes module writes"):
        subvolume_at(mount, base_of("", "odd"))
    with pytest.raises(NotFoundError):
        subvolume_at(mount, base_of("", "absent"))


def test_metadata_of_fscrypt_is_found_above(mount: FakeMount):
    for name in (f"policies/{KEY}", "policies/README", "protectors/00112233aabbccdd"):
        made(mount, b"/vol/uuid/.fscrypt/" + name.encode(), b"wrapped")
    made(mount, b"/vol/uuid/.fscrypt/protectors/ffffffffffffffff.link", b"elsewhere")
    made(mount, b"/vol/uuid/ceph-csi-encrypted")
    found = foreign_at(mount, b"/vol/uuid/ceph-csi-encrypted")
    assert found.csi
    assert found.metadata == (Metadata(b"/vol/uuid", (KEY,), ("00112233aabbccdd", "ffffffffffffffff")),)
    mount.close(mount.open(b"/.fscrypt", os.O_CREAT | os.O_WRONLY, 0o644))
    assert foreign_at(mount, b"/vol/uuid/ceph-csi-encrypted") == found, "a file of that name is nothing"
    assert foreign_at(mount, b"/vol") == foreign_at(mount, b"/vol/uuid"), "nothing above those"
