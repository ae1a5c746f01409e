"""Commands of the manual, as they stand there, on a real cluster: some pages. `qa/run manual run` has all of them."""

from pathlib import Path

import pytest

from qa.lab.cluster import Cluster
from qa.load.promptness import prompt
from qa.manual import pages, session
from qa.manual.__main__ import run
from qa.manual.pages import Command, Page
from qa.manual.stages import EACH_TIME, STAGES, stage

PAGES = pages.every()
_TEN_MINUTES = 600.0
"""What the tutorial promises."""


@pytest.mark.parametrize(
    "page", [each for each in PAGES if EACH_TIME in each.needs], ids=lambda page: page.name
)
def test_a_page_does_as_it_says(page: Page, cluster: Cluster):
    cluster.enable_module("fscrypt")
    ran = run(page, cluster)
    assert [f"{page.name}:{each.command.line}: {each.wrong}" for each in ran if each.wrong] == []
    assert len(ran) == len(page.to_run())
    prompt(sum(each.seconds for each in ran), _TEN_MINUTES, page.name)


def test_every_need_is_known():
    assert {need for page in PAGES for need in page.needs} <= STAGES.keys()


@pytest.mark.parametrize(
    ("text", "wanted", "code", "says"),
    [
        ("echo a", "b", 0, "it printed:\na"),
        ("echo a; false", "", 0, "exit code 1, not 0:\na"),
        ("true", "", 4, "exit code 0, not 4"),
        ("exit 3", "", 0, "the shell ended in it"),
    ],
)
def test_what_does_otherwise_is_told(text: str, wanted: str, code: int, says: str, tmp_path: Path):
    first, after = Command(1, text, wanted, code, ""), Command(2, "echo after", "", 0, "")
    ran = play(tmp_path, first, after)
    assert ran[0].wrong.startswith(says)


def test_a_page_that_takes_too_long_is_ended(tmp_path: Path):
    (ran,) = play(tmp_path, Command(1, "sleep 1000", "", 0, ""), patience=1)
    assert ran.wrong.startswith("it did not end within the page's 1 s")


def test_a_page_has_a_place_of_its_own(tmp_path: Path):
    """Whatever it starts and mounts ends with it."""
    lines = ("touch here", "sleep 1234 &", "mount -t tmpfs page /mnt && touch /mnt/here", "pwd")
    ran = play(tmp_path, *(Command(number, line, "", 0, "") for number, line in enumerate(lines)))
    assert [each.wrong for each in ran] == [""] * len(lines)
    assert not Path("/mnt/here").exists()
    assert not Path("/root/here").exists()
    processes = Path("/proc").glob("[0-9]*/cmdline")
    assert not [each for each in processes if each.read_bytes() == b"sleep\x001234\x00"]


def play(folder: Path, *commands: Command, patience: float = 60) -> list[session.Ran]:
    with stage(("cluster",), folder) as variables:
        return list(session.run(commands, variables, patience))
