"""What opens protectors, as people give it."""

import argparse
import io
import sys
from pathlib import Path

import pytest

from mgr_fscrypt.client.openers import given, new_protector, openers_of
from mgr_fscrypt.client.times import waiting
from mgr_fscrypt.keys.managed import Managed, Managers
from mgr_fscrypt.keys.opener import Opener
from mgr_fscrypt.keys.passphrase import Passphrase


def no_tenant(_: str | None) -> Opener:
    raise AssertionError("the tenant's key manager was asked")


def no_manager(name: str) -> Managed:
    raise AssertionError(f"{name} was asked")


def test_a_dry_run_writes_no_words_and_gives_none(tmp_path: Path):
    for text in ("recovery-code", "shares:2/3", f"recovery-code:{tmp_path}/code", f"shares:2/3:{tmp_path}"):
        assert new_protector(given(text), no_tenant, dry_run=True).words == ()
    assert list(tmp_path.iterdir()) == []
    new_protector(given(f"shares:2/3:{tmp_path}"), no_tenant)
    assert len(list(tmp_path.iterdir())) == 3


def test_the_old_and_the_new_passphrase_are_two_lines_of_standard_input(monkeypatch: pytest.MonkeyPatch):
    lines = io.TextIOWrapper(io.BytesIO("correct horse\r\npäss word \n".encode()))
    monkeypatch.setattr(sys, "stdin", lines)
    (old,) = openers_of([given("passphrase:-")], Managers(no_manager))
    new = new_protector(given("passphrase:-"), no_tenant, seconds=0.01).opener
    for opener, text in ((old, "correct horse"), (new, "päss word ")):
        assert isinstance(opener, Passphrase)
        assert opener._secret == text.encode()


def test_a_waiting_time_ends():
    assert waiting("7d") == 7 * 86400
    with pytest.raises(argparse.ArgumentTypeError, match="a waiting time ends"):
        waiting("never")
