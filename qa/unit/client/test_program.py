"""The program where a host lacks what it needs; the rest of it is `commands`, and tested there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mgr_fscrypt.client.outcome import Exit
from mgr_fscrypt.messages import RELEASE

ROOT = Path(__file__).resolve().parents[3]


def run(*words: str, missing: str = "", instead: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """The program in a Python that lacks the module `missing`, or finds others in the folder `instead`."""
    lacking = f"sys.modules[{missing!r}] = None; " if missing else ""
    program = f"import sys; {lacking}from mgr_fscrypt.client.program import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        env=os.environ | {"PYTHONPATH": f"{instead or ROOT}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("missing", ["rados", "cephfs"])
def test_without_the_bindings_it_says_what_to_install(missing: str):
    done = run("ls", "/secret", missing=missing)
    assert done.returncode == Exit.UNREACHABLE
    assert done.stdout == ""
    happened, left, remedy = done.stderr.splitlines()
    assert happened.startswith(f"cephfs-fscrypt: this host lacks the Python module `{missing}`")
    assert left == "  Left as it was: nothing was changed."
    assert "python3-cephfs" in remedy
    assert "--system-site-packages" in remedy


def test_what_the_bindings_lack_is_told(tmp_path: Path):
    why = "librados.so.2: cannot open shared object file: No such file or directory"
    (tmp_path / "rados.py").write_text(f"raise ImportError({why!r}, name='rados')")
    done = run("ls", "/secret", instead=tmp_path)
    assert done.returncode == Exit.UNREACHABLE
    assert "librados.so.2: cannot open shared object file" in done.stderr


def test_without_the_cipher_library_another_thing_is_to_be_installed():
    done = run("ls", "--json", "/secret", missing="cryptography")
    assert done.returncode == Exit.UNREACHABLE
    told = json.loads(done.stderr)
    assert told["code"] == Exit.UNREACHABLE
    assert "`python3-cryptography`" in told["remedy"]


def test_a_mistake_of_ours_is_no_matter_of_installing():
    done = run("ls", "/secret", missing="mgr_fscrypt.client.subtree")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_where_all_is_there_it_is_the_commands():
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"cephfs-fscrypt {RELEASE}\n", "")
