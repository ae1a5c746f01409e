"""The page with pictures: those that are there, or how they are made."""

from pathlib import Path

from qa.manual import pictures


def test_pictures_are_shown_in_order(tmp_path: Path):
    (tmp_path / "shots").mkdir()
    for name in ("keys-dark.png", "keys.png", "notes.txt"):
        (tmp_path / "shots" / name).touch()
    page = tmp_path / "doc.md"
    pictures.write(page, tmp_path / "shots")
    shown = [line for line in page.read_text().splitlines() if line.startswith("![")]
    assert shown == ["![keys-dark](shots/keys-dark.png)", "![keys](shots/keys.png)"]
    assert "qa/run browser" not in page.read_text()


def test_without_any_it_is_told_how_they_are_made(tmp_path: Path):
    page = tmp_path / "doc.md"
    pictures.write(page, tmp_path / "none")
    assert "sudo qa/run browser" in page.read_text()
