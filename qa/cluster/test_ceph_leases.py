"""Leases: exclusive, short-lived, gone without a trace."""

import errno
import threading
import time
from collections.abc import Iterator

import pytest
import rados

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.cluster import Cluster
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.errors import LeaseHeldError, LeaseLostError
from mgr_fscrypt.ceph.leases import DURATION, NAMESPACE, Keeper, ObjectLease
from qa.load.promptness import prompt

INO = 0x7FFF0000


@pytest.fixture
def ioctx() -> Iterator["rados.Ioctx"]:
    with Cluster(Access()) as cluster:
        context = cluster.ioctx("cephfs_data", NAMESPACE)
        yield context
        context.close()


def lease(ioctx: "rados.Ioctx", duration: int = 4) -> ObjectLease:
    """One that nobody keeps."""
    keeper = Keeper()
    keeper.end()
    return ObjectLease(ioctx, INO, "test", keeper, duration)


def exists(ioctx: "rados.Ioctx") -> bool:
    return f"{INO:x}" in {found.key for found in ioctx.list_objects()}


def test_one_holder_at_a_time_and_no_object_is_left(ioctx: "rados.Ioctx") -> None:
    first, second = lease(ioctx), lease(ioctx)
    first.acquire(1)
    first.renew()
    with pytest.raises(LeaseHeldError) as held:
        second.acquire(0.2)
    assert held.value.errno == errno.EBUSY
    assert second.holder() == first.token != second.token
    first.release()
    assert not exists(ioctx)
    assert second.holder() == ""
    second.acquire(1)
    assert first.holder() == second.token
    first.release()  # not ours any more: nothing happens
    assert exists(ioctx)
    second.release()
    assert not exists(ioctx)


def test_a_dead_holder_is_outlived(ioctx: "rados.Ioctx") -> None:
    lease(ioctx, duration=2).acquire(1)
    begun = time.monotonic()
    with lease(ioctx, duration=1) as heir:
        heir.acquire(10)
        took = time.monotonic() - begun
        assert took > 1.5
        prompt(took, 3, "the OSD counts whole seconds, and no more: it")


def test_a_lease_that_another_had_meanwhile_is_lost(ioctx: "rados.Ioctx") -> None:
    late = lease(ioctx, duration=1)
    late.acquire(1)
    with lease(ioctx, duration=1) as guest:
        guest.acquire(10)
    with pytest.raises(LeaseLostError):
        late.renew()
    late.acquire(1)
    late.renew()
    late.release()


def test_a_lease_that_another_took_is_lost(ioctx: "rados.Ioctx") -> None:
    late, heir = lease(ioctx, duration=1), lease(ioctx, duration=1)
    late.acquire(1)
    heir.acquire(10)
    with pytest.raises(LeaseLostError):
        late.renew()
    late.release()
    heir.release()
    assert not exists(ioctx)


def test_a_lease_in_use_is_kept_for_long(ioctx: "rados.Ioctx") -> None:
    busy, other = lease(ioctx, duration=1), lease(ioctx)
    busy.acquire(1)
    for _ in range(25):
        time.sleep(0.1)
        busy.renew()
    with pytest.raises(LeaseHeldError):
        other.acquire(0)
    busy.release()


def keepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fscrypt-leases"]


def test_an_idle_lease_is_kept_until_it_is_released(ioctx: "rados.Ioctx") -> None:
    other = lease(ioctx)
    with connect(Access()) as mount:
        assert keepers() == []
        idle, second = mount.lease(INO), mount.lease(INO + 2)
        idle.acquire(1)
        second.acquire(1)
        assert len(keepers()) == 1, "one for all"
        with pytest.raises(LeaseHeldError):
            other.acquire(DURATION + 1.5)
        idle.renew()
        second.release()
        idle.release()
        other.acquire(0)
        other.release()
    assert keepers() == []


def test_a_lease_that_cannot_be_renewed_is_lost_and_taken_again(ioctx: "rados.Ioctx") -> None:
    with connect(Access()) as mount, mount.lease(INO) as held:
        held.acquire(1)
        ioctx.remove_object(f"{INO:x}")
        time.sleep(2.2)
        with pytest.raises(LeaseLostError):
            held.renew()
        held.acquire(0)
        held.renew()


def test_counters_under_leases_of_several_clients_lose_nothing() -> None:
    rounds, workers = 15, 4
    counter = [0]

    def work() -> None:
        with connect(Access()) as mount:
            for _ in range(rounds):
                with mount.lease(INO + 1) as held:
                    held.acquire(30)
                    seen = counter[0]
                    time.sleep(0.001)
                    counter[0] = seen + 1

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter[0] == rounds * workers
