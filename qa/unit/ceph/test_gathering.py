"""What libcephfs gathers of its log."""

from mgr_fscrypt.ceph.gathering import gather_nothing


class Settings(dict[str, str]):
    """The part of a `cephfs.LibCephFS` that has them."""

    conf_get = dict.__getitem__
    conf_set = dict.__setitem__


def test_nothing_is_gathered_but_what_a_configuration_asks_for() -> None:
    library = Settings(debug_client="0/5", debug_objectcacher="0/5", debug_objecter="20/20", debug_ms="0/0")
    gather_nothing(library)
    assert library == {
        "debug_client": "0/0",
        "debug_objectcacher": "0/0",
        "debug_objecter": "20/20",
        "debug_ms": "0/0",
    }
