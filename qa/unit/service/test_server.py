"""Requests over real sockets."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mgr_fscrypt.messages.exchange import Answer, Request
from mgr_fscrypt.messages.lines import LONGEST, Lines, line_of
from mgr_fscrypt.messages.service import Ask, Done, Hello, Said, Shutdown, StatusQuestion, Trouble
from mgr_fscrypt.service.listening import Listener, ListeningError, listening
from mgr_fscrypt.service.server import Server


class Echo:
    """Says yes to all, and ends when it is told."""

    def __init__(self) -> None:
        self.ended = False
        self.ticks = 0

    def end(self) -> None:
        self.ended = True

    def tick(self) -> None:
        self.ticks += 1

    def answer(self, ask: Ask) -> Said:
        if ask == Shutdown():
            self.end()
        return Done()


@contextmanager
def running(server: Server, echo: Echo) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield thread
    finally:
        echo.end()
        thread.join(10)
        assert not thread.is_alive()


def answers(connection: socket.socket, count: int) -> list[Answer]:
    connection.settimeout(10)
    lines, found = Lines(), list[Answer]()
    while len(found) < count:
        data = connection.recv(65_536)
        assert data
        found += [Answer.decode(line) for line in lines.feed(data)]
    return found


def test_it_answers_and_ends_with_its_lifeline():
    ours, theirs = socket.socketpair()
    echo = Echo()
    server = Server(echo)
    server.live_by(theirs)
    with running(server, echo) as thread:
        data = b"".join(line_of(Request(number, StatusQuestion()).encode()) for number in (1, 2, 3))
        ours.sendall(data[:10])
        ours.sendall(data[10:])
        assert answers(ours, 3) == [Answer(number, Done()) for number in (1, 2, 3)]
        ours.close()
        thread.join(10)
        assert not thread.is_alive()
    assert echo.ended


def test_garbage_is_answered_and_a_line_without_end_is_not():
    ours, theirs = socket.socketpair()
    echo = Echo()
    server = Server(echo)
    server.live_by(theirs)
    with ours, running(server, echo):
        ours.sendall(b"{}\n" + line_of(Request(9, Hello("1")).encode()))
        bad, good = answers(ours, 2)
        assert isinstance(bad.said, Trouble)
        assert (bad.number, bad.said.code, good) == (0, "unknown", Answer(9, Done()))
        ours.settimeout(10)
        try:
            for _ in range(LONGEST // 1024 + 2):
                ours.sendall(b"x" * 1024)
            left = ours.recv(1)
        except (BrokenPipeError, ConnectionResetError):
            left = b""
        assert left == b""


def test_a_path_serves_many_and_outlives_them(tmp_path: Path):
    path = tmp_path / "made" / "socket"
    echo = Echo()
    with listening(path) as listener:
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        server = Server(echo)
        server.accept_from(listener.accept, listener.socket)
        with running(server, echo) as thread:
            for number in range(3):
                with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
                    one.connect(str(path))
                    other.connect(str(path))
                    for connection in (one, other):
                        connection.sendall(line_of(Request(number, StatusQuestion()).encode()))
                        assert answers(connection, 1) == [Answer(number, Done())]
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
                last.sendall(line_of(Request(1, Shutdown()).encode()))
                assert answers(last, 1) == [Answer(1, Done())]
                thread.join(10)
                assert not thread.is_alive()
    assert not path.exists()


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with listening(path):
        with pytest.raises(ListeningError, match="another service"), listening(path):
            pass
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(path))


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path):
    tmp_path.chmod(0o777)
    with pytest.raises(ListeningError, match="chmod go-w"), listening(tmp_path / "socket"):
        pass


def test_an_unknown_user_is_refused(tmp_path: Path):
    with pytest.raises(ListeningError, match="no user"), listening(tmp_path / "s", "nobody-of-this-name"):
        pass


def test_a_user_who_may_not_is_turned_away(tmp_path: Path):
    path = tmp_path / "socket"
    with (
        listening(path) as listener,
        socket.socket(socket.AF_UNIX) as one,
        socket.socket(socket.AF_UNIX) as two,
    ):
        one.connect(str(path))
        assert Listener(listener.socket, frozenset({os.geteuid() + 1})).accept() is None
        one.settimeout(10)
        assert one.recv(1) == b""
        two.connect(str(path))
        accepted = listener.accept()
        assert accepted is not None
        accepted.close()
