"""A mount in the background that does not come about."""

import json
import sys
from pathlib import Path

import pytest

from mgr_fscrypt.client.background import start
from mgr_fscrypt.client.outcome import Exit, Failure
from mgr_fscrypt.client.report import Reporter

TOLD = {
    "error": "locked",
    "code": 4,
    "happened": "no key",
    "left": "nothing was changed",
    "remedy": "give it",
}


def instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Let another program serve."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))


def test_what_the_process_told_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    instead(monkeypatch, tmp_path, f"echo fuse: something >&2; echo '{json.dumps(TOLD)}' >&2; exit 4")
    with pytest.raises(Failure, match="no key") as failure:
        start(Reporter(), ["mount", "/s", "/m"])
    assert (failure.value.code, failure.value.remedy) == (Exit.LOCKED, "give it")


@pytest.mark.parametrize("script", ["echo it broke >&2; exit 9", "echo it broke '{}' >&2; exit 9"])
def test_a_process_that_dies_is_an_internal_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
):
    instead(monkeypatch, tmp_path, script)
    with pytest.raises(Failure, match="ended with code 9 before it was there: it broke") as failure:
        start(Reporter(), ["mount", "/s", "/m"])
    assert failure.value.code is Exit.INTERNAL


def test_the_arguments_arrive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    instead(monkeypatch, tmp_path, f"echo $@ > {tmp_path}/arguments; exit 1")
    with pytest.raises(Failure, match="it said nothing"):
        start(Reporter(), ["mount", "--key", "-", "--", "/s", "-m"])
    assert (tmp_path / "arguments").read_text() == (
        "-P -m mgr_fscrypt.client.commands mount --foreground --detached --json --key - -- /s -m\n"
    )
