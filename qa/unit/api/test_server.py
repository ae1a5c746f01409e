"""The server on a socket: what it reads of a body before anybody is known."""

import logging
import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mgr_fscrypt.api.certificate import self_signed
from mgr_fscrypt.api.exchange import Reply, Request
from mgr_fscrypt.api.problems import ProblemError
from mgr_fscrypt.api.server import WORKERS, Server, subject
from mgr_fscrypt.api.sizes import LONGEST_BODY, LONGEST_HEAD, received


class Ear:
    """A server that keeps the bodies that reached it.

    Args:
        folder: for its certificate.
    """

    def __init__(self, folder: Path) -> None:
        pem = folder / "certificate.pem"
        pem.write_text(self_signed(("localhost",)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self._trust = ssl.create_default_context(cafile=str(pem))
        self.heard: list[bytes] = []
        self.server = Server(
            address="127.0.0.1",
            port=0,
            context=context,
            respond=self._respond,
            log=logging.getLogger(__name__),
        )

    def _respond(self, request: Request) -> Reply:
        self.heard.append(request.body)
        return Reply(200)

    def connected(self) -> ssl.SSLSocket:
        """A client that has said nothing yet."""
        plain = socket.create_connection(("127.0.0.1", self.server.port), timeout=60)
        return self._trust.wrap_socket(plain, server_hostname="localhost")

    def told(self, headers: str, body: bytes = b"") -> str:
        """The status line for a request, of which no more comes than is given here."""
        with self.connected() as spoken:
            spoken.sendall(f"PUT /x HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode() + body)
            with socket.socket(fileno=os.dup(spoken.fileno())) as other:
                # of TLS nothing is taken down by that
                other.shutdown(socket.SHUT_WR)
            return spoken.makefile("rb").readline().decode()


@pytest.fixture(scope="module")
def ear(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ear]:
    found = Ear(tmp_path_factory.mktemp("ear"))
    yield found
    found.server.stop()


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        # cheroot reads such a body to its end, wherever that is
        ("Content-Length: -1", b"x" * 10, 400),
        ("Content-Length: -7", b"", 400),
        ("Content-Length: 1_0", b"x" * 10, 400),
        (f"Content-Length: {LONGEST_BODY + 1}", b"", 413),
        # and such a line, too
        ("Transfer-Encoding: chunked", b"1" * 1000, 411),
        ("Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n", 411),
    ],
)
def test_a_body_has_the_length_that_was_said(ear: Ear, headers: str, body: bytes, status: int):
    ear.heard.clear()
    assert f" {status} " in ear.told(headers, body)
    assert ear.heard == []


@pytest.mark.parametrize(
    ("place", "headers", "status"),
    [
        ("/" + "x" * LONGEST_HEAD, {}, 414),
        ("/x", {"accept": "x" * LONGEST_HEAD}, 431),
        ("/x", {f"x-{number}": "x" * 100 for number in range(400)}, 431),
        ("/x", {"content-length": "9" * 5000}, 413),
        ("/x", {"content-length": str(LONGEST_BODY + 1)}, 413),
        ("/x", {"content-length": "-1"}, 400),
        ("/x", {"content-length": "\u0663"}, 400),
        ("/x", {"transfer-encoding": "gzip, chunked", "content-length": "3"}, 411),
        ("/x", {"content-length": "4"}, 400),
    ],
)
def test_what_no_door_reads(place: str, headers: dict[str, str], status: int):
    asked: list[int] = []

    def read(length: int) -> bytes:
        asked.append(length)
        return b"abc"

    with pytest.raises(ProblemError) as found:
        received(place, headers, read)
    assert (found.value.status, found.value.reply().status) == (status, status)
    assert asked in ([], [4]), "what is refused for its size is not read"
    assert received("/x", {"content-length": "3"}, read) == b"abc"
    assert received("/x", {}, read) == b""


def test_a_body_comes_whole(ear: Ear):
    ear.heard.clear()
    assert " 200 " in ear.told("Content-Length: 5", b"abcde")
    assert ear.heard == [b"abcde"]


def test_half_a_document_is_none(ear: Ear):
    """It may be a whole one that says something else."""
    ear.heard.clear()
    # TLS that was not taken down carries no answer
    with suppress(ssl.SSLError):
        ear.told("Content-Length: 30", b"open:\n- /a\n")
    assert ear.heard == []


def test_who_holds_all_workers_by_speaking_slowly_is_cut_off(ear: Ear, monkeypatch: pytest.MonkeyPatch):
    working = ear.server._server.working
    # on a busy machine the last ones come long after the first ones
    monkeypatch.setattr(ear.server._server, "timeout", 300)
    monkeypatch.setitem(Server.cut.__globals__, "URGENT", 1000.0)
    monkeypatch.setitem(Server.cut.__globals__, "LONGEST", 1000.0)
    dribbling = []
    try:
        for _ in range(WORKERS):
            dribbling.append(ear.connected())
            dribbling[-1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        end = time.monotonic() + 60
        while len(working) < WORKERS:
            assert time.monotonic() < end, "all workers are taken"
            time.sleep(0.01)
        ear.server.cut()
        assert len(working) == WORKERS, "they have some time"
        monkeypatch.setitem(Server.cut.__globals__, "URGENT", 0.0)
        ear.server.cut()
        assert " 200 " in ear.told("Content-Length: 0")
    finally:
        for each in dribbling:
            each.close()


def test_no_subject_can_be_written_as_another():
    def named(*pairs: tuple[str, str]) -> str:
        return subject({"subject": tuple((pair,) for pair in pairs)})

    assert named(("commonName", "node1"), ("organizationName", "Example")) == "CN=node1,O=Example"
    one = named(("commonName", "a\\"), ("organizationName", "b"))
    other = named(("commonName", "a,O=b"))
    assert one != other
