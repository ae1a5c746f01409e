"""The commands of a page of the manual, as they stand there.

    <!-- run: vault mount -->                   first of all: what the page needs around it (qa/manual/stages.py)

    ```console
    $ cephfs-fscrypt ls /vault                  a command; it goes on where a line ends with a backslash
    $ cat <<EOF >file                           or as long as lines begin with `> `
    > text
    > EOF
    $ cephfs-fscrypt cat /vault/a # exit code 4
    cephfs-fscrypt: ...                         what it prints, `...` being anything
    ```

A block whose commands cannot be run has its reason in the line before it: `<!-- not run: it takes a day -->`. Other
fences (`text`, `yaml`) are no commands.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(?P<indent> {0,3})(?P<ticks>```+)(?P<kind>\S*)\s*$")
_NEEDS = re.compile(r"^<!-- run:(?P<needs>[^>]*)-->$", re.MULTILINE)
_REASON = re.compile(r"^\s*<!-- not run: (?P<reason>\S[^>]*?) -->$")
_CODE = re.compile(r"\s+# exit code (?P<code>\d+)$", re.MULTILINE)


class PageError(ValueError):
    """A page is not written as pages are; the message says where."""


@dataclass(frozen=True)
class Command:
    """One command.

    Args:
        line: where it stands.
        text: what a shell is given.
        wanted: what it prints, `...` being anything; empty: not said.
        code: the exit code that it ends with.
        reason: why it is not run; empty: it is.
    """

    line: int
    text: str
    wanted: str
    code: int
    reason: str


@dataclass(frozen=True)
class Page:
    """One page.

    Args:
        name: its place below the checkout.
        needs: what it needs around it, as words of `stages`.
        commands: in their order.
    """

    name: str
    needs: tuple[str, ...]
    commands: tuple[Command, ...]

    def digest(self) -> str:
        """A name for what is run, and how: wherever it stands on the page."""
        said = [(each.text, each.wanted, each.code, each.reason) for each in self.commands]
        return hashlib.sha256(repr((self.needs, said)).encode()).hexdigest()[:16]

    def to_run(self) -> list[Command]:
        """Those that are run."""
        return [each for each in self.commands if not each.reason]


def every(root: Path = ROOT) -> list[Page]:
    """Give all pages with commands: those of `doc/`, and those beside it.

    Raises:
        PageError: one is not written as pages are.
    """
    files = [*sorted(root.glob("*.md")), *sorted((root / "doc").rglob("*.md"))]
    made = ("doc/reference/", "doc/_build/")
    names = [str(file.relative_to(root)) for file in files]
    pages = [read(root / name, name) for name in names if not name.startswith(made)]
    return [page for page in pages if page.commands]


def read(file: Path, name: str) -> Page:
    """Read one page. Raises `PageError`."""
    text = file.read_text()
    needs = _NEEDS.search(text)
    return Page(name, tuple(needs["needs"].split()) if needs else (), tuple(_commands(name, text)))


def under(heading: str, name: str, root: Path = ROOT) -> list[Command]:
    """Give the commands of a page that stand under a heading of the second depth. Raises `PageError`."""
    lines = (root / name).read_text().splitlines()
    if f"## {heading}" not in lines:
        raise PageError(f"{name}: there is no heading {heading!r}")
    begun = lines.index(f"## {heading}") + 1
    ended = next((n for n, line in enumerate(lines[begun:], begun) if line.startswith("## ")), len(lines))
    return [each for each in read(root / name, name).commands if begun < each.line <= ended]


def _commands(name: str, text: str) -> Iterator[Command]:
    before, fence, block, begun = "", None, list[str](), 0
    for number, line in enumerate(text.splitlines(), 1):
        found = _FENCE.match(line)
        if fence is None:
            if found:
                fence, block, begun = found, [], number
            elif line.strip():
                before = line
            continue
        if found and found["ticks"] == fence["ticks"] and not found["kind"]:
            if fence["kind"] == "console":
                reason = _REASON.match(before)
                yield from _of_block(name, begun, block, reason["reason"] if reason else "")
            fence, before = None, ""
        else:
            block.append(line.removeprefix(fence["indent"]))
    if fence is not None:
        raise PageError(f"{name}:{begun}: a fence has no end")


def _of_block(name: str, begun: int, block: list[str], reason: str) -> Iterator[Command]:
    number = 0
    while number < len(block):
        if not block[number].startswith("$ "):
            raise PageError(f"{name}:{begun + 1 + number}: a console begins with `$ ` and a command")
        at = begun + 1 + number
        words = [block[number][2:]]
        number += 1
        while number < len(block) and (block[number].startswith("> ") or words[-1].endswith("\\")):
            words.append(block[number].removeprefix("> "))
            number += 1
        wanted = []
        while number < len(block) and not block[number].startswith("$ "):
            wanted.append(block[number])
            number += 1
        text = "\n".join(words)
        code = _CODE.search(text)
        yield Command(at, text, "\n".join(wanted), int(code["code"]) if code else 0, reason)
