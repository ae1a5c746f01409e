"""Messages between a guard and its child."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.errors import CephError, LeaseHeldError, NotFoundError, UnreachableError
from mgr_fscrypt.ceph.guard import frames, values
from mgr_fscrypt.ceph.guard.changes import Changes
from mgr_fscrypt.ceph.interface import Entry, Kind


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize("size", [0, 1, 4096, (8 << 20) + 1])
def test_a_message_arrives_as_it_was_sent(pair: tuple[socket.socket, socket.socket], size: int) -> None:
    value = ("pwrite", (3, -1, 1 << 60, b"\xff\0", "ü", None, 1.5, {"a": "b"}))
    data = bytes(range(256)) * (size // 256 + 1)
    sender = threading.Thread(target=frames.send, args=(pair[0], value, data[:size]))
    sender.start()
    assert frames.receive(pair[1]) == (value, data[:size])
    sender.join()


def test_messages_do_not_run_into_each_other(pair: tuple[socket.socket, socket.socket]) -> None:
    for number in range(50):
        frames.send(pair[0], number, bytes(number))
    assert [frames.receive(pair[1]) for _ in range(50)] == [(number, bytes(number)) for number in range(50)]


@pytest.mark.parametrize("sent", [0, 1, 8, 9, 500])
def test_an_end_within_a_message_is_an_end(pair: tuple[socket.socket, socket.socket], sent: int) -> None:
    whole, theirs = socket.socketpair()
    with whole, theirs:
        frames.send(whole, "name", bytes(1000))
        pair[0].sendall(theirs.recv(4096)[:sent])
    pair[0].close()
    with pytest.raises(EOFError):
        frames.receive(pair[1])


def test_nobody_there_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].close()
    with pytest.raises(BrokenPipeError):
        frames.send(pair[0], "name")
    with pytest.raises(EOFError):
        frames.receive(pair[0])


@pytest.mark.parametrize(
    "error",
    [
        CephError(5, "text"),
        NotFoundError(2, "text", b"/p\xff"),
        LeaseHeldError(16, "text"),
        UnreachableError(110, "text", "pool"),
    ],
)
def test_errors_keep_their_class_and_what_they_say(error: CephError) -> None:
    back = values.error_of(values.of_error(error))
    assert type(back) is type(error)
    assert (back.errno, back.strerror, back.filename) == (error.errno, error.strerror, error.filename)


def test_access_and_entries_come_back() -> None:
    access = Access(conf=Path("/c"), entity="client.x", root=b"/\xff", announce={"job": "1"})
    assert values.access_of(values.of_access(access)) == access
    here = values.access_of(values.of_access(Access(conf=Path("conf"), keyring=Path("keyring"))))
    assert (here.conf, here.keyring) == (Path.cwd() / "conf", Path.cwd() / "keyring")
    entry = Entry(b"\xff", 1 << 40, Kind.SYMLINK)
    assert values.entry_of(values.of_entry(entry)) == entry


def test_changes_pend_until_what_was_made_before_is_durable() -> None:
    changes = Changes()
    assert not changes.pending
    changes.add()
    made = changes.made
    changes.add()
    changes.settle(made)
    assert changes.pending
    changes.take_back()
    assert not changes.pending


def test_a_change_that_was_taken_back_hides_no_later_one() -> None:
    changes = Changes()
    changes.add()
    changes.settle(changes.made)
    changes.take_back()
    changes.add()
    assert changes.pending
