"""What `--cache` and `--cache-size` say."""

import argparse
from pathlib import Path

import pytest

from mgr_fscrypt.client.cache_options import bytes_of, chosen_cache
from mgr_fscrypt.client.commands import main, parser
from mgr_fscrypt.client.outcome import Exit


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("3k", 3072),
        ("500M", 500 << 20),
        ("20G", 20 << 30),
        ("1TiB", 1 << 40),
        ("7b", 7),
    ],
)
def test_sizes(text: str, size: int):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5G", "G", "1P", "1G 2G", "\u0661G"])
def test_no_sizes(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="not a size"):
        bytes_of(text)


def test_there_is_none_by_default(tmp_path: Path):
    options = parser().parse_args(["mount", "/s", str(tmp_path)])
    assert chosen_cache(options) is None
    assert list(tmp_path.iterdir()) == []


def test_a_size_alone_is_a_mistake(capsys: pytest.CaptureFixture[str]):
    assert main(["mount", "--foreground", "--cache-size", "1G", "/s", "/m"]) == Exit.USAGE
    assert "name its directory with `--cache`" in capsys.readouterr().err


def test_a_directory_for_all_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "open").mkdir(mode=0o755)
    assert main(["mount", "--foreground", "--cache", str(tmp_path / "open"), "/s", "/m"]) == Exit.REFUSED
    assert "others may use the directory of the cache" in capsys.readouterr().err
