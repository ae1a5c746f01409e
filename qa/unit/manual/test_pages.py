"""How commands of the manual are read, and that all that look like commands are in blocks that are run."""

import re
from pathlib import Path

import pytest

from qa.manual import pages
from qa.manual.pages import ROOT, Command, PageError

_LOOKS_LIKE_ONE = re.compile(
    r"^( {4,}|\t)(\$ |sudo |ceph |cephfs-fscrypt |qa/run |python3? |pip |rados |u?mount )"
)


def page(text: str, folder: Path) -> pages.Page:
    file = folder / "page.md"
    file.write_text(text)
    return pages.read(file, "page.md")


def test_a_page(tmp_path: Path):
    found = page(
        """<!-- run: vault each-time -->
# Title

```console
$ first
$ second \\
    --more
...said
twice
$ cat <<EOF # exit code 4
> text
> EOF
```

<!-- not run: it takes a day -->
```console
$ third
```

```text
$ no command
```
""",
        tmp_path,
    )
    assert found.needs == ("vault", "each-time")
    assert found.commands == (
        Command(5, "first", "", 0, ""),
        Command(6, "second \\\n    --more", "...said\ntwice", 0, ""),
        Command(10, "cat <<EOF # exit code 4\ntext\nEOF", "", 4, ""),
        Command(17, "third", "", 0, "it takes a day"),
    )
    assert len(found.to_run()) == 3


@pytest.mark.parametrize(
    "text", ["```console\n$ a\n", "```console\nno command\n```\n", "```console\n\n$ a\n```\n"]
)
def test_a_page_that_is_not_written_so(text: str, tmp_path: Path):
    with pytest.raises(PageError, match=r"page.md:\d"):
        page(text, tmp_path)


def test_a_reason_is_for_the_next_block_only(tmp_path: Path):
    found = page("<!-- not run: why -->\n```console\n$ a\n```\n\n```console\n$ b\n```\n", tmp_path)
    assert [each.reason for each in found.commands] == ["why", ""]


def test_commands_under_a_heading(tmp_path: Path):
    (tmp_path / "page.md").write_text(
        "# Page\n```console\n$ a\n```\n## One\n```console\n$ b\n```\n### More\n```console\n$ c\n```\n"
        "## Two\n```console\n$ d\n```\n"
    )
    assert [each.text for each in pages.under("One", "page.md", tmp_path)] == ["b", "c"]
    assert [each.text for each in pages.under("Two", "page.md", tmp_path)] == ["d"]
    with pytest.raises(PageError, match="no heading 'Three'"):
        pages.under("Three", "page.md", tmp_path)


def test_an_empty_reason_is_none(tmp_path: Path):
    assert page("<!-- not run: -->\n```console\n$ a\n```\n", tmp_path).commands[0].reason == ""


def test_every_page_can_be_read_and_says_what_it_needs():
    found = pages.every()
    assert len(found) >= 10
    assert [each.name for each in found if each.to_run() and not each.needs] == []


def test_no_command_stands_outside_of_a_block_that_is_run():
    files = [*ROOT.glob("*.md"), *(ROOT / "doc").rglob("*.md")]
    loose = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in sorted(files)
        for number, line in enumerate(_outside_of_fences(file), 1)
        if _LOOKS_LIKE_ONE.match(line)
    ]
    assert loose == []


def test_settings_of_units_have_no_comment_behind_a_value():
    """systemd would take it for a part of the value (systemd.exec(5), EnvironmentFile=)."""
    blocks = re.findall(r"```ini\n(.*?)```", (ROOT / "doc/installing.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if "#" in line] == []


def _outside_of_fences(file: Path) -> list[str]:
    lines, inside = [], False
    for line in file.read_text().splitlines():
        fence = line.lstrip().startswith("```")
        inside ^= fence
        lines.append("" if inside or fence else line)
    return lines
