"""What a comparison tells in files: names of encrypted files, for their owner alone."""

import json
import os
import stat
from pathlib import Path

from mgr_fscrypt.migrate.reports import file_of, told_in
from mgr_fscrypt.migrate.verdict import CLASSES


def test_an_entry_is_a_line_whatever_its_name_is(tmp_path: Path) -> None:
    folder = tmp_path / "of its own"
    odd = b"/a\nb\x1b[2J\xff\xc3\xa9\x7f"
    with told_in(folder) as told:
        told("differ", odd, "contents")
        told("same", b"/one", "")
    text = file_of(folder, "differ").read_text("ascii")
    assert [os.fsencode(json.loads(line)["path"]) for line in text.splitlines()] == [odd]
    assert "\x1b" not in text
    assert json.loads(file_of(folder, "same").read_text()) == {"path": "/one"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for each in CLASSES:
        assert stat.S_IMODE(file_of(folder, each).stat().st_mode) == 0o600


def test_nothing_is_told_to_who_was_there_before(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    file_of(tmp_path, "same").symlink_to(elsewhere)
    os.link(elsewhere, file_of(tmp_path, "differ"))
    os.mkfifo(file_of(tmp_path, "extra"))
    readable = file_of(tmp_path, "missing")
    readable.write_text("of an earlier run")
    readable.chmod(0o644)
    with readable.open() as listening, told_in(tmp_path) as told:
        for each in CLASSES:
            told(each, b"/secret", "")
        assert listening.read() == "of an earlier run"
    assert elsewhere.read_text() == "kept"
    for each in CLASSES:
        found = file_of(tmp_path, each).lstat()
        assert (stat.S_ISREG(found.st_mode), stat.S_IMODE(found.st_mode)) == (True, 0o600)
        assert file_of(tmp_path, each).read_text() == '{"path": "/secret"}\n'
