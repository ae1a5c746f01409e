import os
from pathlib import Path

import pytest

from mgr_fscrypt.client.local import open_source, walk


def test_directories_come_before_and_after_their_contents(tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").touch()
    (tmp_path / "a").symlink_to("b")
    (tmp_path / os.fsdecode(b"\xff")).touch()
    found = [(each.target, each.leaving) for each in walk(tmp_path, b"/x/y")]
    assert found == [
        (b"/x/y", False),
        (b"/x/y/a", False),
        (b"/x/y/b", False),
        (b"/x/y/b/c", False),
        (b"/x/y/b", True),
        (b"/x/y/\xff", False),
        (b"/x/y", True),
    ]


def test_one_file(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"abc")
    (each,) = walk(tmp_path / "file", b"/name")
    assert (each.path, each.target, each.status.st_size) == (tmp_path / "file", b"/name", 3)


def test_a_source_is_read(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"abc")
    (each,) = walk(tmp_path / "file", b"/name")
    with open_source(each) as opened:
        assert opened.read() == b"abc"


@pytest.mark.parametrize("becomes", ["link", "pipe", "file"])
def test_what_took_the_place_of_a_source_is_not_read(tmp_path: Path, becomes: str):
    """The owner of a file that root copies must not get one of root's into the copy."""
    shadow = tmp_path / "shadow"
    shadow.write_bytes(b"root's")
    file = tmp_path / "file"
    file.touch()
    (each,) = walk(file, b"/name")
    # not removed: its inode number could be given again
    file.rename(tmp_path / "kept")
    if becomes == "link":
        file.symlink_to(shadow)
    elif becomes == "pipe":
        os.mkfifo(file)
    else:
        file.hardlink_to(shadow)
    with pytest.raises(OSError, match=r"another file took its place|Too many levels") as caught:
        open_source(each)
    assert caught.value.filename == str(file)
