"""The manager's end, with small programs in the place of the service."""

import logging
import os
import signal
import socket
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.control.service import BusyError, ChannelError
from mgr_fscrypt.messages.exchange import Answer, Request
from mgr_fscrypt.messages.lines import line_of
from mgr_fscrypt.messages.service import Done, Greeting, Hello, StatusQuestion
from mgr_fscrypt.service_link import ServiceLink, SocketChannel, Way, interpreter
from qa.load.promptness import prompt

ANSWERS = """
import os, socket, sys
from mgr_fscrypt.messages.exchange import Answer, Request
from mgr_fscrypt.messages.lines import Lines, line_of
from mgr_fscrypt.messages.service import Greeting
connection = socket.socket(fileno=int(sys.argv[sys.argv.index("--inherited") + 1]))
lines = Lines()
while data := connection.recv(4096):
    for line in lines.feed(data):
        said = Greeting(" ".join(sys.argv[1:]), os.getpid(), None, os.environ["PYTHONPATH"])
        connection.sendall(line_of(Answer(Request.decode(line).number, said).encode()))
"""
REFUSES = "import sys; sys.exit('No module named cryptography')"
HANGS = "import time; time.sleep(600)"


def program(directory: Path, text: str) -> Path:
    """An interpreter that runs this whatever it is told to run."""
    (directory / "program.py").write_text(text)
    script = directory / "python"
    script.write_text(
        textwrap.dedent(f"""\
        #!/bin/sh
        exec {sys.executable} {directory / "program.py"} "$@"
        """)
    )
    script.chmod(0o755)
    return script


def way(python: Path | str = "", path: Path | str = "") -> Way:
    return Way(str(path), str(python), "/etc/ceph.conf", "mgr.x", "", "cephfs", 60.0)


@pytest.fixture
def link() -> ServiceLink:
    return ServiceLink(lambda: None, logging.getLogger("test"))


@pytest.fixture
def pair() -> Iterator[tuple[SocketChannel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = SocketChannel(ours)
    with theirs:
        theirs.settimeout(10)
        yield channel, theirs
    channel.close()


def greeting(channel: SocketChannel) -> Greeting:
    said = channel.ask(Hello("1"), 30)
    assert isinstance(said, Greeting)
    return said


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_gets_its_words_and_ends_with_its_channel(tmp_path: Path, link: ServiceLink):
    channel = link.start(way(program(tmp_path, ANSWERS)))
    said = greeting(channel)
    words = said.release.split()
    assert words[:3] == ["-P", "-m", "mgr_fscrypt.service"]
    assert words[5:] == [
        "--conf",
        "/etc/ceph.conf",
        "--name",
        "mgr.x",
        "--fs",
        "cephfs",
        "--resident-limit",
        "60",
    ]
    assert said.host.split(":")[0] == str(Path(__file__).resolve().parents[2])
    channel.close()
    assert not runs(said.pid)


def test_what_the_system_has_is_not_put_before_what_an_interpreter_has_itself(
    tmp_path: Path, link: ServiceLink, monkeypatch: pytest.MonkeyPatch
):
    root = str(Path(__file__).resolve().parents[2])
    told = ANSWERS.replace('os.environ["PYTHONPATH"]', 'repr(os.environ.get("PYTHONPATH"))')
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr("site.getsitepackages", lambda: [root])
    channel = link.start(way(program(tmp_path, f"import sys; sys.path.append({root!r})\n{told}")))
    assert greeting(channel).host == "None"
    channel.close()


def test_the_last_words_of_one_that_dies_are_told(tmp_path: Path, link: ServiceLink):
    channel = link.start(way(program(tmp_path, REFUSES)))
    with pytest.raises(ChannelError, match=r"ended with code 1: No module named cryptography") as gone:
        channel.ask(Hello("1"), 30)
    assert "service_python" in gone.value.remedy
    channel.close()


def test_one_that_is_killed_is_noticed_at_once(tmp_path: Path, link: ServiceLink):
    channel = link.start(way(program(tmp_path, ANSWERS)))
    os.kill(greeting(channel).pid, signal.SIGKILL)
    begun = time.monotonic()
    channel.idle(30)
    with pytest.raises(ChannelError, match="by signal 9"):
        channel.ask(StatusQuestion(), 30)
    prompt(time.monotonic() - begun, 10)
    channel.close()


def test_one_that_hangs_is_killed(tmp_path: Path, link: ServiceLink, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mgr_fscrypt.service_link._PARTING", 0.3)
    channel = link.start(way(program(tmp_path, HANGS)))
    with pytest.raises(ChannelError, match=r"did not answer in 0\.2 s"):
        channel.ask(Hello("1"), 0.2)
    channel.close()
    assert channel._child is not None
    assert channel._child._process.returncode == -signal.SIGKILL


def test_an_interpreter_that_is_not_there(link: ServiceLink):
    with pytest.raises(ChannelError, match="cannot be started") as gone:
        link.start(way("/no/python"))
    assert "service_python" in gone.value.remedy


def test_nobody_listens(tmp_path: Path, link: ServiceLink):
    with pytest.raises(ChannelError, match="can be reached at") as gone:
        link.start(way(path=tmp_path / "socket"))
    assert "--socket" in gone.value.remedy


def test_a_path_is_connected_to(tmp_path: Path, link: ServiceLink):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        channel = link.start(way(path=tmp_path / "socket"))
        accepted, _ = listener.accept()
        accepted.close()
        with pytest.raises(ChannelError, match="closed the connection"):
            channel.ask(Hello("1"), 10)
        channel.close()


def test_a_late_answer_is_not_the_next_ones(pair: tuple[SocketChannel, socket.socket]):
    channel, theirs = pair
    with pytest.raises(ChannelError, match="did not answer"):
        channel.ask(StatusQuestion(), 0.1)
    theirs.sendall(line_of(Answer(1, Greeting("late", 1, None, "")).encode()))
    theirs.sendall(line_of(Answer(2, Done()).encode()))
    assert channel.ask(StatusQuestion(), 10) == Done()


def test_garbage_ends_the_connection(pair: tuple[SocketChannel, socket.socket]):
    channel, theirs = pair
    theirs.sendall(b"hello\n")
    with pytest.raises(ChannelError, match="of no use"):
        channel.ask(StatusQuestion(), 10)
    assert Request.decode(theirs.recv(4096).decode()) == Request(1, StatusQuestion())
    assert theirs.recv(1) == b""


def test_questions_wait_for_each_other(pair: tuple[SocketChannel, socket.socket]):
    channel, theirs = pair
    first = threading.Thread(target=lambda: channel.ask(Hello("1"), 30))
    first.start()
    theirs.recv(4096)
    with pytest.raises(BusyError):
        channel.ask(StatusQuestion(), 0.1)
    theirs.sendall(line_of(Answer(1, Done()).encode()))
    first.join(10)
    assert not first.is_alive()


def test_hang_up_wakes_who_is_idle(pair: tuple[SocketChannel, socket.socket]):
    channel, _ = pair
    idle = threading.Thread(target=lambda: channel.idle(60))
    idle.start()
    channel.hang_up()
    idle.join(10)
    assert not idle.is_alive()


def test_the_interpreter_is_found_where_python_does_not_tell(monkeypatch: pytest.MonkeyPatch):
    assert interpreter() == sys.executable
    monkeypatch.setattr(sys, "executable", "")
    assert Path(interpreter()).name.startswith("python3")
