"""The pages of the manual's reference that are made from the code, each time that the manual is."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mgr_fscrypt.client.commands import EXIT_CODES, parser
from mgr_fscrypt.control.metrics import FAMILIES

from . import inventory, pages

_MADE = "This page is made from the code when the manual is."


def write(folder: Path, *, openapi: Path) -> None:
    """Write them into a folder."""
    folder.mkdir(exist_ok=True)
    for name, lines in (
        ("client", _client()),
        ("manager", _manager()),
        ("rest", _rest(openapi)),
        ("options", _options()),
        ("metrics", _metrics()),
        ("run", _run(openapi.parent / "results/manual.json")),
    ):
        text = "\n".join([*lines, ""])
        file = folder / f"{name}.md"
        # untouched where it is the same: what was built of it stays good
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def _client() -> Iterator[str]:
    yield "# All commands of `cephfs-fscrypt`"
    yield f"\nWhat `--help` says of each. What they mean is told in [the client's commands](../commands.md). {_MADE}"
    yield from _literal("Exit codes", EXIT_CODES)
    for each in inventory.client_commands(parser()):
        yield from _literal(f"`{each.prog}`", each.format_help())


def _literal(title: str, text: str) -> Iterator[str]:
    yield f"\n## {title}\n\n```text"
    yield text.rstrip()
    yield "```"


def _manager() -> Iterator[str]:
    yield "# All commands of `ceph fscrypt`"
    yield (
        "\nArguments as they are typed; those in brackets may be left out. What they mean is told in "
        f"[the manager module](../manager.md). {_MADE}"
    )
    for each in inventory.manager_commands():
        yield f"\n## `ceph fscrypt {each.name}`\n\n```text"
        yield f"ceph fscrypt {each.name} {each.usage}".rstrip()
        yield f"```\n\n{_prose(each.help)}."
        yield f"\nNeeds `mgr 'allow {'rw' if each.changes else 'r'}'`."


def _rest(openapi: Path) -> Iterator[str]:
    yield "# All operations of the API"
    yield (
        "\nWhat holds for all of them is told in [the API](../api.md); the same for programs, in OpenAPI 3.1: "
        f"{{download}}`openapi.json <../openapi.json>`. {_MADE}"
    )
    for each in inventory.operations(openapi):
        yield f"\n## `{each.method} {each.path}`\n\n{_prose(each.help)}"
        if each.takes:
            rows = [
                (f"`{name}`", place, kind, "yes" if needed else "")
                for name, place, kind, needed in each.takes
            ]
            yield from _table(("parameter", "in", "type", "needed"), rows)


def _options() -> Iterator[str]:
    yield "# All options of the module"
    yield f"\n`ceph config set mgr mgr/fscrypt/NAME VALUE`. {_MADE}"
    rows = [
        (
            f"`{each['name']}`",
            " or ".join(f"`{value}`" for value in each.get("enum_allowed", ())) or each.get("type", "str"),
            f"`{each['default']}`" if each["default"] != "" else "",
            _prose(str(each["desc"])),
        )
        for each in inventory.options()
    ]
    yield from _table(("option", "type", "default", "what it is"), rows)


def _metrics() -> Iterator[str]:
    yield "# All metrics"
    yield f"\nWhere they come from is told in [monitoring](../monitoring.md). {_MADE}"
    rows = [
        (f"`{each.name}`", each.kind, ", ".join(f"`{label}`" for label in each.labels), _prose(each.help))
        for each in FAMILIES
    ]
    yield from _table(("metric", "type", "labels", "what it is"), rows)


def _run(record: Path) -> Iterator[str]:
    yield "# What of this manual was run"
    found = pages.every()
    yield f"\nHow is told in [testing](../testing.md#the-manual). {_MADE}"
    told = (
        json.loads(record.read_text())
        if record.exists()
        else {"pages": [], "commit": "none", "release": "none"}
    )
    yield f"\nThe last whole run was of commit `{told['commit']}`, on a cluster of {told['release']}."
    ran = {each["page"]: each for each in told["pages"]}
    rows = [
        (
            f"`{page.name}`",
            str(len(page.to_run())),
            str(len(page.commands) - len(page.to_run())),
            f"{ran[page.name]['seconds']:.0f}" if page.name in ran else "",
            _state(page, ran.get(page.name)),
        )
        for page in found
    ]
    yield from _table(("page", "commands", "not run", "seconds", "in the last whole run"), rows)
    yield "\n## Not run, and why"
    left_out = [
        (f"`{page.name}`", f"`{each.text.splitlines()[0]}`", _prose(each.reason))
        for page in found
        for each in page.commands
        if each.reason
    ]
    yield from _table(("page", "command", "why"), left_out)


def _state(page: pages.Page, ran: Mapping[str, Any] | None) -> str:
    if ran is None or ran["digest"] != page.digest():
        return "is another one by now"
    return "did otherwise than it says" if ran["wrong"] else "did as it says"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield ""
    for row in (heads, ("---",) * len(heads), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _prose(text: str) -> str:
    """Text of help, which is no Markdown."""
    return text.replace("<", "\\<").replace("*", "\\*").replace("[", "\\[")
