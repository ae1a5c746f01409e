import pytest

from mgr_fscrypt.control.caps import (
    CapsError,
    FileSystemPools,
    MdsGrant,
    Rights,
    mds_grants,
    osd_grants,
    rights,
    written,
)

CEPHFS = FileSystemPools("cephfs", frozenset({"cephfs_data", "fast"}))
EVERYWHERE = "allow rw tag cephfs data=cephfs"
DEFAULT = 'allow rw namespace="" tag cephfs data=cephfs'


@pytest.mark.parametrize(
    ("text", "covers"),
    [
        # of the default namespace, of "fscrypt-1"
        (EVERYWHERE, (True, True)),
        (DEFAULT, (True, False)),
        ("allow rw namespace=fscrypt-1 tag cephfs data=cephfs", (False, True)),
        ("allow rw namespace=fscrypt-* tag cephfs data=cephfs", (False, True)),
        ("allow rw namespace fscrypt-1 tag cephfs data = cephfs", (False, True)),
        ("allow rw tag cephfs data=*", (True, True)),
        ("allow rw tag cephfs data=all", (True, True)),
        ("allow rw tag cephfs *=*", (True, True)),
        ("allow rw tag cephfs metadata=cephfs", (False, False)),
        ("allow rw tag cephfs data=other", (False, False)),
        ("allow rw tag rbd data=cephfs", (False, False)),
        ("allow rw pool=fast", (True, True)),
        ('allow rw pool "fast" namespace=""', (True, False)),
        ("allow rw pool=rbd", (False, False)),
        ("profile rbd pool=rbd namespace=x", (False, False)),
        ("profile rbd pool=fast", (True, True)),
        ("allow *", (True, True)),
        ("allow all", (True, True)),
        ("allow rwx class-read class-write pool=fast network 10.0.0.0/8", (True, True)),
        ("allow class-read object_prefix rbd_children, allow rwx pool=rbd", (True, True)),
    ],
)
def test_what_osd_caps_speak_of(text: str, covers: tuple[bool, bool]):
    grants = osd_grants(text)
    assert written(grants) == text
    found = tuple(any(each.covers(CEPHFS, name) for each in grants) for name in ("", "fscrypt-1"))
    assert found == covers


@pytest.mark.parametrize(
    "text",
    [
        "allow",
        "rw",
        "allow rw pool=",
        "deny rw",
        "allow rw tag cephfs",
        "allow rw,",
        "allow rw allow r",
        "allow rw pool=a tag cephfs data=cephfs",
        "allow pool foo rwx",
        "profile rbd",
        'allow rw namespace="a tag cephfs data=cephfs',
        "allow rw tag cephfs data=cephfs\0",
        "x" * 100_000,
    ],
)
def test_osd_caps_that_are_not_understood(text: str):
    with pytest.raises(CapsError):
        osd_grants(text)


@pytest.mark.parametrize(
    ("text", "namespace", "narrowed"),
    [
        (EVERYWHERE, "", 'allow rw namespace="" tag cephfs data=cephfs'),
        (EVERYWHERE, "fsvolumens_*", "allow rw namespace=fsvolumens_* tag cephfs data=cephfs"),
        ("allow rwx pool=fast", "a b", 'allow rwx pool=fast namespace="a b"'),
        ("profile rbd pool=fast", "x", "profile rbd pool=fast namespace=x"),
        (
            "allow r pool=fast network 10.0.0.0/8",
            "x",
            "allow r pool=fast namespace=x network 10.0.0.0/8",
        ),
        (
            "allow * tag cephfs data=cephfs object_prefix 100",
            "",
            'allow * namespace="" tag cephfs data=cephfs object_prefix 100',
        ),
    ],
)
def test_a_narrowed_grant_is_read_again(text: str, namespace: str, narrowed: str):
    (grant,) = osd_grants(text)
    made = grant.narrowed(namespace)
    assert made.text == narrowed
    assert osd_grants(narrowed) == (made,)


@pytest.mark.parametrize(
    ("text", "meets", "changes"),
    [
        ("allow rw", True, True),
        ("allow", True, True),
        ("allow *", True, True),
        ("allow r", True, False),
        ("allow rw path=/vault", True, True),
        ("allow rw path=vault", True, True),
        ("allow rw path=/vault/inner", True, True),
        ("allow rw path=/vaults", False, False),
        ("allow rw path=/plain", False, False),
        ("allow r, allow rw path=/plain", True, False),
        ("allow r;allow rw path=/vault", True, True),
        ("allow rw fsname=other", False, False),
        ("allow rws fsname=cephfs path=/vault", True, True),
        ("allow rwps path='/a b', allow r path=\"/c d\"", False, False),
        ("allow rw uid=5 gids=1,2, allow r path=/plain", True, True),
        ("allow rw fsname=cephfs path=/ root_squash network 10.0.0.0/8", True, True),
        ("", False, False),
    ],
)
def test_what_mds_caps_let_one_meet(text: str, meets: bool, changes: bool):
    grants = mds_grants(text)
    assert text == "" or len(written(grants)) >= len(text) - 1
    met = [each for each in grants if each.meets(CEPHFS, "/vault")]
    assert bool(met) == meets
    assert any(each.changes for each in met) == changes


@pytest.mark.parametrize(
    "text", ["allow rx", "allow rw path", "rw", "allow rw uid=a", "allow rw gids=1", "a" * 50_000]
)
def test_mds_caps_that_are_not_understood(text: str):
    with pytest.raises(CapsError):
        mds_grants(text)


def test_a_limited_grant_keeps_all_else():
    (grant,) = mds_grants("allow rwps fsname=cephfs path=/a root_squash network 10.0.0.0/8")
    limited = grant.limited("cephfs", "/a/b c")
    assert limited.text == 'allow rwps fsname=cephfs path="/a/b c" root_squash network 10.0.0.0/8'
    assert mds_grants(limited.text) == (limited,)
    assert mds_grants("allow rw")[0] == MdsGrant("allow rw", "rw")


@pytest.mark.parametrize(
    ("mds", "osd", "expected"),
    [
        ("allow rw", EVERYWHERE, Rights(meets=True, changes=True, reads=True, writes=True)),
        ("allow rw", DEFAULT, Rights(meets=True, changes=True, reads=False, writes=False)),
        ("allow r", "allow r pool=fast", Rights(meets=True, changes=False, reads=True, writes=False)),
        ("allow rw path=/x", "", Rights(meets=False, changes=False, reads=False, writes=False)),
        (
            "allow rw",
            "allow class-read object_prefix x",
            Rights(meets=True, changes=True, reads=False, writes=False),
        ),
    ],
)
def test_rights(mds: str, osd: str, expected: Rights):
    assert rights({"mds": mds, "osd": osd}, CEPHFS, "/vault", "fscrypt-1") == expected
