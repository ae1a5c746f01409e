"""The manual has an entry for each thing that there is: commands, operations, options, metrics, checks, exit codes."""

import re
from pathlib import Path

import pytest

from mgr_fscrypt.client.commands import parser
from mgr_fscrypt.client.outcome import Exit
from mgr_fscrypt.control.metrics import FAMILIES
from qa.manual import inventory, reference
from qa.manual.inventory import ROOT

DOC = ROOT / "doc"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    reference.write(folder, openapi=DOC / "openapi.json")
    return folder


def headings(file: Path) -> list[str]:
    return re.findall(r"^## `?([^`\n]+)`?$", file.read_text(), re.MULTILINE)


def told(page: str) -> str:
    """A page's words, one space between them; lists of verbs (`a|b|c`, `a`, `b`) are left to `said`."""
    return " ".join((DOC / page).read_text().split())


def test_every_command_of_the_client(made: Path):
    commands = [each.prog for each in inventory.client_commands(parser())]
    assert len(commands) == len(set(commands)) > 40
    assert headings(made / "client.md") == ["Exit codes", *commands]
    page = told("commands.md")
    missing = [each for each in commands if not said(each.removeprefix("cephfs-fscrypt "), page)]
    assert missing == [], "doc/commands.md has a word on each"


def test_every_command_of_the_manager(made: Path):
    commands = [each.name for each in inventory.manager_commands()]
    assert len(commands) > 60
    assert headings(made / "manager.md") == [f"ceph fscrypt {each}" for each in commands]
    page = told("manager.md") + told("gating.md")
    assert [each for each in commands if not said(each, page)] == [], "doc/manager.md has a word on each"


def said(command: str, page: str) -> bool:
    """Is a command named: as it stands, or as one of several verbs (`kms add|trust|rm`)?"""
    noun, _, verb = command.rpartition(" ")
    if re.search(rf"(?<![\w-]){re.escape(command)}(?![\w-])", page):
        return True
    return bool(noun) and bool(
        re.search(rf"(?<![\w-]){re.escape(noun)} [\w-]*(\|[\w-]+)*\|?\b{re.escape(verb)}(?![\w-])", page)
    )


def test_every_operation_of_the_api(made: Path):
    operations = [f"{each.method} {each.path}" for each in inventory.operations(DOC / "openapi.json")]
    assert len(operations) > 60
    assert headings(made / "rest.md") == operations


def test_every_option_of_the_module(made: Path):
    names = [str(each["name"]) for each in inventory.options()]
    assert re.findall(r"^\| `(\w+)` \|", (made / "options.md").read_text(), re.MULTILINE) == names
    pages = told("manager.md") + told("api.md")
    assert [name for name in names if f"`{name}`" not in pages and f"/{name} " not in pages] == []


def test_every_metric(made: Path):
    text = (made / "metrics.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [each.name for each in FAMILIES]


def test_every_health_check_has_what_to_do():
    checks = inventory.health_checks()
    assert len(checks) > 15
    assert headings(DOC / "howto/health.md") == checks
    for section in (DOC / "howto/health.md").read_text().split("\n## ")[1:]:
        assert "\n1. " in section, f"{section.split()[0]} has no first step"
    tables = told("manager.md") + told("gating.md")
    assert [each for each in checks if f"`{each}`" not in tables] == []


def test_every_exit_code():
    rows = re.findall(r"^\| (\d+) \|", told_lines("commands.md"), re.MULTILINE)
    assert [int(row) for row in rows] == sorted(each.value for each in Exit)


def told_lines(page: str) -> str:
    return (DOC / page).read_text()


def test_pages_of_the_reference_are_for_reading(made: Path):
    for file in made.iterdir():
        text = file.read_text()
        assert text.startswith("# ")
        assert "\n\n\n" not in text
        assert text.count("```") % 2 == 0
