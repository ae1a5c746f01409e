"""One child, at the moment of its death."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.ceph.guard import frames
from mgr_fscrypt.ceph.guard.process import Child
from qa.fakes.guard_child import Plan

ROOT = Path(__file__).resolve().parents[4]


def test_a_connection_is_closed_also_when_its_answer_came_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Plan().write(tmp_path)
    command = (sys.executable, "-m", "qa.fakes.guard_child", str(tmp_path))
    child = Child(command, "session", (None, "session", ()))
    child.greeting()
    connections = []
    receive = frames.receive

    def dying(connection: socket.socket) -> tuple[Any, bytes]:
        answer = receive(connection)
        monkeypatch.setattr(frames, "receive", receive)
        connections.append(connection)
        child.kill()
        child.wait()
        return answer

    monkeypatch.setattr(frames, "receive", dying)
    child.ask("stat", b"/f")
    assert [connection.fileno() for connection in connections] == [-1]
