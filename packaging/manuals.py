"""Manual pages and completion for shells, out of the parsers that answer --help: `manuals.py FOLDER`.

Needs argparse-manpage and shtab, and the bindings of Ceph that the commands import.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage

from mgr_fscrypt.client.commands import parser
from mgr_fscrypt.messages import RELEASE
from mgr_fscrypt.service.program import command_line

_COMMAND = "cephfs-fscrypt"
_COMPLETIONS = {"bash": _COMMAND, "zsh": f"_{_COMMAND}"}
_SERVICE = f"{_COMMAND}-service"
_LOCAL = ("FILE", "DIR")
"""What arguments are called that are local paths without being typed so."""


def write(into: Path) -> None:
    """Write pages into `into`/man, and completions into `into`/SHELL; folders that are missing are made."""
    top = parser()
    pages = into / "man"
    pages.mkdir(parents=True, exist_ok=True)
    everyone = (top, *_below(top))
    told = {
        f"{one.prog} {choice.dest}": choice.help or ""
        for one in everyone
        for verbs in _verbs(one)
        for choice in verbs._choices_actions
    }
    for one in everyone:
        near = [_page(other.prog) for other in everyone if _near(one, other)]
        (pages / f"{_page(one.prog)}.1").write_text(_manual(one, _page(one.prog), 1, near, told))
    service = command_line()
    (pages / f"{_SERVICE}.8").write_text(_manual(service, _SERVICE, 8, [_COMMAND], {}))
    _complete_paths(everyone)
    for shell, name in _COMPLETIONS.items():
        (into / shell).mkdir(exist_ok=True)
        (into / shell / name).write_text(shtab.complete(top, shell))


def _verbs(one: argparse.ArgumentParser) -> Iterator[argparse._SubParsersAction[argparse.ArgumentParser]]:
    return (action for action in one._actions if isinstance(action, argparse._SubParsersAction))


def _below(one: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for verbs in _verbs(one):
        for made in verbs.choices.values():
            yield made
            yield from _below(made)


def _page(prog: str) -> str:
    return prog.replace(" ", "-")


def _near(one: argparse.ArgumentParser, other: argparse.ArgumentParser) -> bool:
    """Whether `other` is the command above `one`, or one right below it."""
    words, others = one.prog.split(), other.prog.split()
    return words[:-1] == others or others[:-1] == words


def _manual(
    one: argparse.ArgumentParser, name: str, section: int, near: list[str], told: dict[str, str]
) -> str:
    usage, listed = one.format_usage(), [choice for verbs in _verbs(one) for choice in verbs._choices_actions]
    # verbs have pages of their own, and examples keep their lines
    examples, one.epilog = one.epilog or "", None
    groups, one._action_groups = (
        one._action_groups,
        [group for group in one._action_groups if not set(group._group_actions) & set(_verbs(one))],
    )
    page = Manpage(one)
    page.prog, page.section, page.manual = name, section, "CephFS encryption"
    page.source = f"{_COMMAND} {RELEASE}"
    # a noun has no description but what the list of commands says of it
    page.description = (one.description or told.get(one.prog, "")).partition(".")[0]
    page.synopsis = usage.partition(":")[2].split()
    text = str(page)
    one._action_groups, one.epilog = groups, examples
    if listed:
        rows = (f".TP\n.B {_dashes(choice.dest)}\n{_dashes(choice.help or '')}\n" for choice in listed)
        text += ".SH COMMANDS\n" + "".join(rows)
    if examples:
        text += f".SH NOTES\n.nf\n{_verbatim(examples)}\n.fi\n"
    return text + ".SH SEE ALSO\n" + ",\n".join(f".BR {_dashes(other)} (1)" for other in near) + "\n"


def _dashes(text: str) -> str:
    return text.replace("-", "\\-")


def _verbatim(text: str) -> str:
    escaped = _dashes(text.replace("\\", "\\e"))
    # a dot or quote at the beginning of a line would be a request
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in escaped.splitlines())


def _complete_paths(parsers: tuple[argparse.ArgumentParser, ...]) -> None:
    for one in parsers:
        for action in one._actions:
            if action.type is Path or action.metavar in _LOCAL:
                action.complete = shtab.FILE  # type: ignore[attr-defined] # what shtab looks for


if __name__ == "__main__":
    write(Path(sys.argv[1]))
