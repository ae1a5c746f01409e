from pathlib import Path

import pytest

from dashboard_ui import build


def test_without_npm_all_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "carbon.css").write_text("kept")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.main(["--to", str(assets), "--axe", str(tmp_path / "axe.js")]) == 1
    assert "there is no npm on this host" in capsys.readouterr().err
    assert (assets / "carbon.css").read_text() == "kept"
    assert not (tmp_path / "axe.js").exists()


def test_what_is_made_is_what_the_pages_ask_for():
    asked = (build.RECIPE / "carbon.scss").read_text()
    names = [name for of_package in build._FONTS.values() for name in of_package]
    assert all(f'"{name}"' in asked for name in names)


def test_nothing_of_a_registry_is_pinned():
    assert "resolved" not in (build.RECIPE / "package-lock.json").read_text()
