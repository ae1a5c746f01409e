"""Which releases are read and written."""

import errno

import pytest

from mgr_fscrypt.ceph.errors import UnsupportedReleaseError
from mgr_fscrypt.ceph.releases import Release, require_usable, require_writable

REEF = Release(18, 2, 7)
TENTACLE = Release(20, 2, 4)
QUINCY = Release(17, 2, 9)
UMBRELLA = Release(21, 0, 0)


def test_a_release_is_read_from_what_daemons_say_of_themselves() -> None:
    line = "ceph version 20.2.4 (7f793731f1b39eb4f465e960113d2363c311b964) tentacle (stable - RelWithDebInfo)"
    assert Release.parse(line) == TENTACLE
    assert str(TENTACLE) == "20.2.4"


def test_text_without_a_version_is_no_release() -> None:
    with pytest.raises(ValueError, match="no Ceph version"):
        Release.parse("tentacle")


@pytest.mark.parametrize("library", [REEF, TENTACLE])
@pytest.mark.parametrize("servers", [(REEF,), (TENTACLE,), (REEF, TENTACLE), ()])
def test_proven_releases_are_written_to(library: Release, servers: tuple[Release, ...]) -> None:
    require_writable(library, servers)


@pytest.mark.parametrize(("library", "servers"), [(QUINCY, (REEF,)), (REEF, (REEF, QUINCY))])
def test_below_18_nothing_works(library: Release, servers: tuple[Release, ...]) -> None:
    with pytest.raises(UnsupportedReleaseError, match=r"17\.2\.9; encryption needs 18") as refusal:
        require_usable(library, servers)
    assert refusal.value.errno == errno.EOPNOTSUPP
    with pytest.raises(UnsupportedReleaseError):
        require_writable(library, servers)


@pytest.mark.parametrize(("library", "servers"), [(UMBRELLA, (TENTACLE,)), (TENTACLE, (TENTACLE, UMBRELLA))])
def test_above_20_is_read_but_not_written(library: Release, servers: tuple[Release, ...]) -> None:
    require_usable(library, servers)
    with pytest.raises(
        UnsupportedReleaseError, match=r"21\.0\.0; this program writes to Ceph 18 to 20 only"
    ) as refusal:
        require_writable(library, servers)
    assert refusal.value.errno == errno.EROFS


def test_the_servers_may_come_as_an_iterator() -> None:
    with pytest.raises(UnsupportedReleaseError):
        require_writable(TENTACLE, iter([TENTACLE, UMBRELLA]))
