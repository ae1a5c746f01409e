"""Each searcher finds a secret that was planted in its place, in each form; and takes nothing else for one."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qa.hygiene import files
from qa.hygiene.cores import UnavailableError, search_cores
from qa.hygiene.files import search_files
from qa.hygiene.forms import Leak, Needles, Searched, Secret
from qa.hygiene.processes import Watch
from qa.hygiene.verdict import NotProvedError, believed

SECRET = Secret("key", bytes(range(64)).replace(b"\n", b"\xff"))
PHRASE = Secret("phrase", 'correct "horse" battery stäple'.encode())
DECOY = Secret("decoy", bytes(range(128, 192)))


def forms_in(data: bytes, secret: Secret = SECRET) -> set[str]:
    return {leak.form for leak in Needles([secret]).found_in(data, "here")}


@pytest.mark.parametrize("secret", [SECRET, PHRASE], ids=["key", "passphrase"])
@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("behind", range(6))
def test_base64_of_a_text_with_the_secret_in_it(secret: Secret, before: int, behind: int):
    text = os.urandom(before) + secret.value + os.urandom(behind)
    # where no character tells the alphabets apart, either name will do
    expected = {f"base64+{before % 3}", f"base64url+{before % 3}"}
    assert forms_in(base64.b64encode(text), secret) & expected
    assert forms_in(base64.urlsafe_b64encode(text), secret) & expected


def test_other_forms():
    value = SECRET.value
    assert "raw" in forms_in(b"abc" + value + b"def")
    assert "hex" in forms_in(b"key=" + value.hex().encode())
    assert "HEX" in forms_in(b"key=" + value.hex().upper().encode())
    assert "repr" in forms_in(repr({"key": value}).encode())
    assert "json" in forms_in(json.dumps(["a" + value.decode("latin-1")]).encode())
    assert "json" in forms_in(json.dumps({"phrase": PHRASE.value.decode()}).encode(), PHRASE)


def test_what_is_nearly_the_secret_is_not_it():
    value = SECRET.value
    for data in (value[:-1], value[1:], value[::-1], value[:32] + b"\0" + value[32:]):
        for each in (data, data.hex().encode(), base64.b64encode(data)):
            assert forms_in(each) == set()


@pytest.mark.parametrize("value", [b"short", b"a line\n and another one"])
def test_what_cannot_be_searched_for(value: bytes):
    with pytest.raises(ValueError, match="16 bytes or more"):
        Secret("bad", value)


def test_files_are_searched_across_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_PIECE", 100)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_bytes(b"x" * 90 + SECRET.value.hex().encode() + b"y" * 1000)
    (tmp_path / "fine").write_bytes(b"z" * 1000)
    (tmp_path / "loop").symlink_to("/dev/zero")
    found = search_files("logs", [tmp_path, tmp_path / "absent"], Needles([SECRET]))
    assert found.leaks == {Leak(str(tmp_path / "deep" / "log"), "key", "hex")}
    assert found.items == 2


def test_names_of_files_are_searched(tmp_path: Path):
    (tmp_path / SECRET.value.hex()).touch()
    (leak,) = search_files("cache", [tmp_path], Needles([SECRET])).leaks
    assert (leak.form, leak.where.partition(" of ")[0]) == ("hex", "name")


@pytest.mark.parametrize("place", ["cmdline", "environ"])
def test_processes_are_searched_while_they_run(place: str):
    encoded = base64.b64encode(SECRET.value).decode()
    words = ["sleep", "0.5"] if place == "environ" else ["sh", "-c", "sleep 0.5; :", encoded]
    environment = {"PATH": "/bin:/usr/bin"} | ({"KEY": encoded} if place == "environ" else {})
    with Watch() as watch:
        subprocess.run(words, env=environment, check=True)
    assert {(leak.form, leak.where.split()[0]) for leak in watch.search(Needles([SECRET])).leaks} == {
        ("base64+0", place)
    }
    assert watch.saw(b"sleep\0")
    assert not watch.saw(b"never\0run\0")


HOLDER = """
import sys
sys.path.insert(0, sys.argv[1])
from mgr_fscrypt.ceph.prctl import keep_out_of_core_dumps
if sys.argv[2] == "protected":
    keep_out_of_core_dumps()
key = bytes.fromhex(sys.stdin.readline())
secret = bytes(range(64)).replace(b"\\n", b"\\xff")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["plain", "protected"])
def test_core_dumps_are_searched(tmp_path: Path, how: str):
    root = str(Path(__file__).resolve().parents[3])
    command = [sys.executable, "-c", HOLDER, root, how]
    try:
        found = search_cores([command], tmp_path, Needles([SECRET, DECOY]), DECOY)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert {leak.secret for leak in found.leaks} == ({"decoy", "key"} if how == "plain" else {"decoy"})
    assert {leak.secret for leak in found.without(DECOY).leaks} == ({"key"} if how == "plain" else set())


def test_a_searcher_that_missed_the_decoy_proves_nothing():
    seeing = Searched("logs", 1, 9, frozenset({Leak("a", "decoy", "raw"), Leak("a", "key", "hex")}))
    blind = Searched("caches", 1, 9, frozenset({Leak("b", "key", "hex")}))
    (found,) = believed([seeing], DECOY)
    assert found.leaks == {Leak("a", "key", "hex")}
    assert str(found).endswith("\n  key as hex in a")
    with pytest.raises(NotProvedError, match="not found in: caches"):
        believed([seeing, blind], DECOY)
