import json
import re
from pathlib import Path

import pytest

from mgr_fscrypt.client import commands
from mgr_fscrypt.client.commands import main, parser
from mgr_fscrypt.client.outcome import Exit
from mgr_fscrypt.messages import RELEASE

COMMANDS = [
    "key generate",
    "subtree create",
    "subtree status",
    "subtree release",
    "subtree hold",
    "put",
    "get",
    "ls",
    "cat",
    "fsck",
    "mount",
    "unlock",
    "lock",
    "status",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_stands_alone(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "--help"])
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"cephfs-fscrypt {command}" in text
    assert "exit codes:" in text
    for code in Exit:
        assert re.search(rf"\b{int(code)}  ", text)


def test_examples_in_the_help_are_commands(capsys: pytest.CaptureFixture[str]):
    seen = set()
    for command in [[], *(each.split() for each in COMMANDS)]:
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        for line in capsys.readouterr().out.splitlines():
            found = re.match(r"  (?:cat \S+ \| )?cephfs-fscrypt ([^(|>]+)", line)
            if found:
                seen.add(parser().parse_args(found[1].split()).command)
    assert seen == set(COMMANDS)


def test_release(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"cephfs-fscrypt {RELEASE}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: COMMAND"),
        (["frobnicate"], "invalid choice"),
        (["subtree"], "required: VERB"),
        (["put", "one"], "required: target"),
        (["subtree", "create", "/a", "--padding", "5"], "--padding: invalid choice"),
        (["ls", "/a", "--id", "x", "--name", "client.x"], "not allowed with"),
        (["ls", "/a", "--time", "3"], "unrecognized arguments"),
    ],
)
def test_usage(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == Exit.USAGE
    told = capsys.readouterr().err
    assert told.startswith("usage: cephfs-fscrypt")
    assert says in told
    assert "Left as it was: nothing was changed." in told
    assert "--help`" in told


def test_a_key_is_never_an_argument(capsys: pytest.CaptureFixture[str]):
    secret = "ab" * 64
    assert main(["ls", "/", "--key", secret]) == Exit.NOT_FOUND
    assert main(["ls", "/", "--key-hex", secret]) == Exit.USAGE
    capsys.readouterr()


def test_no_time_at_all_is_not_the_never_that_a_trash_may_be_kept_for(capsys: pytest.CaptureFixture[str]):
    assert main(["migrate", "start", "/data", "--keep-trash", "0d"]) == Exit.USAGE
    assert "more than 0, or `never`" in capsys.readouterr().err
    assert parser().parse_args(["migrate", "start", "/data", "--keep-trash", "never"]).keep_trash == 0


def test_key_generate(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "key"
    assert main(["key", "generate", str(file), "--json"]) == Exit.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(file)
    assert re.fullmatch("[0-9a-f]{32}", told["key_identifier"])
    assert file.read_bytes().hex() not in json.dumps(told)
    assert main(["key", "generate", str(file)]) == Exit.REFUSED
    assert "never overwritten" in capsys.readouterr().err


def test_a_mistake_of_ours_is_an_internal_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fail(_: Path) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(commands, "write_new_key", fail)
    assert main(["key", "generate", str(tmp_path / "key")]) == Exit.INTERNAL
    told = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: planted" in told
    assert "please report it" in told
