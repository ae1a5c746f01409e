"""F3, F3a, F4, F5, F5a, F5b, F14, F15: what stock libcephfs does to encrypted files and to its own process.

Every client that may die lives in a child and is evicted when dead.
"""

import errno
import os
import re
import signal
import threading
import time
from typing import TYPE_CHECKING

import cephfs
import pytest
import rados

from qa.facts.blobs import AUTH, FILE, LIMIT, POLICY, size_field
from qa.facts.client import Client, Clients, DeathError, RefusedError, SilenceError
from qa.facts.tree import BLOCK, content, create

if TYPE_CHECKING:
    from qa.lab.cluster import Cluster

SIZE = 4 * BLOCK
CONVERGES_WITHIN = 5.0
"""Seconds in which a refused write goes through when it is tried again; 0.4 on an idle machine."""
ABORTED_BY = "stoll"
"""libcephfs reads the size field as a decimal number: the C++ function that throws."""


def kernel_mode_file(clients: Clients, path: str) -> None:
    """A file with both blobs, as a kernel leaves it; its maker is gone."""
    maker = clients.open()
    create(maker, path, b"k" * SIZE)
    maker.setxattr(path, AUTH, POLICY, 0)
    maker.setxattr(path, FILE, size_field(SIZE - 5), 0)
    maker.sync_fs()
    clients.end(maker)


def shrink(client: Client, act: str, path: str) -> None:
    """Start the act that makes a file smaller; its outcome is the caller's to see."""
    match act:
        case "truncate":
            client.ask("truncate", path, BLOCK)
        case "ftruncate":
            client.ask("ftruncate", client.open(path, os.O_RDWR), BLOCK)
        case "O_TRUNC":
            client.ask("open", path, os.O_RDWR | os.O_TRUNC)


def assert_aborts(death: DeathError) -> None:
    assert death.signal == signal.SIGABRT
    assert ABORTED_BY in death.said


def test_f3_f3a_a_second_client_makes_writes_fail_with_erofs_until_retried(
    clients: Clients, place: str
) -> None:
    path, writes = f"{place}/file", 80
    kernel_mode_file(clients, path)
    writer, other = clients.open(), clients.open()
    handle = writer.open(path, os.O_RDWR)
    enough = threading.Event()

    def read_again_and_again() -> None:
        while not enough.is_set():
            reading = other.open(path, os.O_RDONLY)
            other.read(reading, 0, BLOCK)
            other.close(reading)

    def refusals(turn: int) -> int:
        """Write one block; how often it was refused, 10 ms apart, before it went through."""
        start = time.monotonic()
        count = 0
        while True:
            try:
                writer.write(handle, bytes([turn]) * BLOCK, BLOCK * (turn % 4))
            except RefusedError as error:
                if error.errno != errno.EROFS or time.monotonic() - start > CONVERGES_WITHIN:
                    raise
                count += 1
                time.sleep(0.01)
            else:
                return count

    reading = threading.Thread(target=read_again_and_again)
    reading.start()
    try:
        counts = []
        for turn in range(writes):
            counts.append(refusals(turn))
            time.sleep(0.01)
    finally:
        enough.set()
        reading.join()
    refused = sum(count > 0 for count in counts)
    print(f"sampled: F3 {refused} of {writes} writes refused at first, at most {max(counts)} times each")
    assert refused > 0


@pytest.mark.parametrize("act", ["truncate", "ftruncate", "O_TRUNC"])
def test_f4_a_shrinking_truncate_aborts_every_client_with_capabilities(
    clients: Clients, place: str, act: str
) -> None:
    path = f"{place}/file"
    kernel_mode_file(clients, path)
    actor, reader = clients.open(), clients.open()
    handle = reader.open(path, os.O_RDONLY)
    reader.read(handle, 0, BLOCK)
    shrink(actor, act, path)
    assert_aborts(reader.last_words())
    reader.evict()
    assert_aborts(actor.last_words())


@pytest.mark.parametrize("act", ["truncate", "ftruncate", "O_TRUNC"])
def test_f5a_files_that_never_had_auth_are_safe(clients: Clients, place: str, act: str) -> None:
    """The size field alone, and auth on the directory and on a symlink, harm nobody."""
    directory = f"{place}/directory"
    path = f"{directory}/file"
    actor, reader = clients.open(), clients.open()
    actor.mkdir(directory, 0o755)
    actor.setxattr(directory, AUTH, POLICY, 0)
    actor.symlink("file", f"{directory}/symlink")
    actor.lsetxattr(f"{directory}/symlink", AUTH, POLICY, 0)
    create(actor, path, b"e" * SIZE)
    actor.setxattr(path, FILE, size_field(SIZE), 0)
    actor.sync_fs()
    handle = reader.open(f"{directory}/symlink", os.O_RDONLY)
    assert reader.read(handle, 0, SIZE) == b"e" * SIZE
    shrink(actor, act, path)
    actor.answer()
    smaller = 0 if act == "O_TRUNC" else BLOCK
    assert reader.fstat(handle).st_size == smaller
    assert actor.stat(path).st_size == smaller


def test_f5a_auth_can_be_given_to_a_file_that_is_complete(clients: Clients, place: str) -> None:
    path, data = f"{place}/file", bytes(range(256)) * 64
    writer, reader = clients.open(), clients.open()
    create(writer, path, data)
    assert content(reader, path) == data
    writer.setxattr(path, AUTH, POLICY, 0)
    writer.setxattr(path, FILE, size_field(len(data)), 0)
    writer.sync_fs()
    late = clients.open()
    assert content(late, path) == content(reader, path) == data
    assert late.getxattr(path, AUTH, LIMIT) == POLICY


@pytest.mark.parametrize("victim", ["writer itself", "idle reader"])
def test_f5_unsetting_auth_does_not_save_clients_that_knew_the_file(
    clients: Clients, place: str, victim: str
) -> None:
    path = f"{place}/file"
    kernel_mode_file(clients, path)
    knows = clients.open()
    handle = knows.open(path, os.O_RDWR if victim == "writer itself" else os.O_RDONLY)
    knows.read(handle, 0, BLOCK)
    unsetter = clients.open()
    unsetter.setxattr(path, AUTH, b"", 0)
    clients.end(unsetter)
    fresh = clients.open()
    with pytest.raises(RefusedError) as unset:
        fresh.getxattr(path, AUTH, LIMIT)
    assert unset.value.errno == errno.ENODATA
    if victim == "writer itself":
        knows.close(handle)
        handle = knows.open(path, os.O_RDWR)
        knows.write(handle, b"w", 0)
        knows.fstat(handle)
        knows.ask("ftruncate", handle, BLOCK)
    else:
        shrink(fresh, "truncate", path)
    assert_aborts(knows.last_words())
    knows.evict()


def test_f5_a_client_that_meets_the_file_after_the_unset_is_safe(clients: Clients, place: str) -> None:
    path = f"{place}/file"
    kernel_mode_file(clients, path)
    unsetter = clients.open()
    unsetter.setxattr(path, AUTH, b"", 0)
    clients.end(unsetter)
    actor, reader = clients.open(), clients.open()
    handle = reader.open(path, os.O_RDONLY)
    reader.read(handle, 0, BLOCK)
    actor.truncate(path, BLOCK)
    assert reader.fstat(handle).st_size == BLOCK


def test_f5_an_unset_under_ax_stays_local(clients: Clients, place: str) -> None:
    path = f"{place}/file"
    setter = clients.open()
    create(setter, path, bytes(BLOCK))
    setter.setxattr(path, AUTH, POLICY, 0)
    setter.sync_fs()
    setter.open(path, os.O_RDWR)
    assert re.match(rb"p[^L]*As?x", setter.getxattr(path, "ceph.caps", LIMIT))
    setter.setxattr(path, AUTH, b"", 0)
    setter.sync_fs()
    assert clients.open().getxattr(path, AUTH, LIMIT) == POLICY


def test_f5b_a_chmod_by_a_client_that_knew_the_file_brings_auth_back(clients: Clients, place: str) -> None:
    path = f"{place}/file"
    kernel_mode_file(clients, path)
    stale = clients.open()
    stale.open(path, os.O_RDWR)
    unsetter = clients.open()
    unsetter.setxattr(path, AUTH, b"", 0)
    with pytest.raises(RefusedError):
        clients.open().getxattr(path, AUTH, LIMIT)
    clients.end(unsetter)
    # capabilities come back with a new open by the only client left
    stale.open(path, os.O_RDWR)
    stale.chmod(path, 0o600)
    stale.sync_fs()
    assert clients.open().getxattr(path, AUTH, LIMIT) == POLICY


def test_f14_a_client_that_dies_blocks_others_until_it_is_evicted(clients: Clients, place: str) -> None:
    path = f"{place}/file"
    dead, other = clients.open(), clients.open()
    handle = dead.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    dead.write(handle, b"d" * BLOCK, 0)
    dead.kill()
    other.ask("stat", path)
    with pytest.raises(SilenceError):
        other.answer(5)
    dead.evict()
    other.answer(10)


def test_f15_errors_of_the_bindings_are_not_pythons() -> None:
    for binding in (cephfs, rados):
        assert not issubclass(binding.OSError, OSError)
        assert issubclass(binding.OSError, binding.Error)


def test_f15_a_write_of_nothing(cluster: "Cluster", clients: Clients, place: str) -> None:
    """20.2 answers EINVAL; 18.2 aborts the client."""
    client = clients.open()
    handle = client.open(f"{place}/file", os.O_CREAT | os.O_RDWR, 0o644)
    if cluster.release == "tentacle":
        with pytest.raises(RefusedError) as refusal:
            client.write(handle, b"", 0)
        assert refusal.value.errno == errno.EINVAL
    else:
        with pytest.raises(DeathError) as death:
            client.write(handle, b"", 0)
        assert death.value.signal == signal.SIGABRT
