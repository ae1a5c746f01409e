import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dashboard_ui.__main__ import main
from dashboard_ui.overview import overview_page
from mgr_fscrypt.control import FileSystemCount, Overview, Result, SubtreeLine, SubtreePage

OVERVIEW = Overview(
    "0.1.0",
    "ceph 20.2.4",
    (FileSystemCount(1, "cephfs", True, 2, 1), FileSystemCount(2, "old", False, 0, 4)),
)
LINE = SubtreeLine(
    "cephfs", True, "/secret", 10, "engine", "AES-256-XTS", "AES-256-CBC-CTS", 32, "0f" * 16, 1_700_000_000
)
VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """What a browser makes of a page: elements in order, and the text of each table cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.cells[-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_shows_what_control_says():
    page = Page(overview_page(OVERVIEW, SubtreePage((LINE,))))
    assert page.open == []
    assert page.cells == [
        *["Name", "Subtrees", "Engine mode", "Kernel mode"],
        *["cephfs", "3", "2", "1"],
        *["old removed", "4", "0", "4"],
        *["Path", "File system", "Mode", "Contents", "Names", "Key identifier", "Registered"],
        *["/secret", "cephfs", "engine", "AES-256-XTS", "AES-256-CBC-CTS, padded to 32", "0f" * 16],
        "2023-11-14 22:13 UTC",
    ]


@pytest.mark.parametrize("field", ["path", "fs_name", "mode", "contents", "names", "key_identifier"])
def test_markup_in_a_value_is_text(field: str):
    hostile = "/<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"
    values = {**LINE.__dict__, field: hostile}
    page = Page(overview_page(OVERVIEW, SubtreePage((SubtreeLine(**values),), f"1:{hostile}")))
    assert page.named("script") == page.named("img") == []
    assert any(hostile in cell for cell in page.cells)


def test_markup_in_the_name_of_a_file_system_is_text():
    hostile = "<b>&amp;</b>"
    page = Page(
        overview_page(Overview("1", hostile, (FileSystemCount(1, hostile, True, 0, 0),)), SubtreePage(()))
    )
    assert page.named("b") == []
    assert hostile in page.cells


def test_tables_can_be_heard():
    page = Page(overview_page(OVERVIEW, SubtreePage((LINE,))))
    assert page.named("html") == [{"lang": "en"}]
    assert len(page.named("caption")) == len(page.named("table")) == 2
    assert all(cell.get("scope") in ("col", "row") for cell in page.named("th"))
    assert page.named("a")[0]["href"] == f"#{page.named('main')[0]['id']}"
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    labels = [value["aria-labelledby"] for _, value in page.elements if "aria-labelledby" in value]
    assert set(labels) <= set(identifiers)


def test_nothing_is_fetched_and_no_script_runs():
    text = overview_page(OVERVIEW, SubtreePage((LINE,), "1:/secret"))
    page = Page(text)
    assert page.named("link") == page.named("script") == page.named("img") == []
    assert "url(" not in text
    assert "@import" not in text
    assert "://" not in text


def test_an_empty_cluster_says_what_to_do():
    text = overview_page(Overview("1", "ceph 20", ()), SubtreePage(()))
    assert "ceph fs volume create" in text
    assert "cephfs-fscrypt subtree create" in text
    assert Page(text).named("table") == []


def test_more_rows_are_told():
    text = overview_page(OVERVIEW, SubtreePage((LINE,), "1:/secret; reboot"))
    assert "ceph fscrypt subtree ls --after &#39;1:/secret; reboot&#39;</code>" in text


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    subtrees = SubtreePage((LINE,))
    status_file = written(tmp_path, "status.json", json.dumps(OVERVIEW.simplified()))
    subtrees_file = written(tmp_path, "subtrees.json", Result(answer=subtrees).rendered("json")[1])
    assert main([status_file, subtrees_file]) == 0
    assert capsys.readouterr().out == overview_page(OVERVIEW, subtrees)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"subtrees": [{}], "following": null}'])
def test_the_command_refuses_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str):
    status_file = written(tmp_path, "status.json", json.dumps(OVERVIEW.simplified()))
    with pytest.raises(SystemExit, match="2"):
        main([status_file, written(tmp_path, "other.json", text)])
    assert "not the answers of the two commands" in capsys.readouterr().err


def test_the_command_refuses_an_absent_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "none"), str(tmp_path / "none")])
    assert "No such file" in capsys.readouterr().err
