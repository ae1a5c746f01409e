"""What the manual has to have an entry for, as the code knows it: commands, operations, options, checks.

The manual's reference is written from it, and tests hold the pages that people wrote against it.
"""

import argparse
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa.fakes.manager import loaded

ROOT = Path(__file__).resolve().parents[2]
_CHECK = re.compile(r'"(FSCRYPT_[A-Z_]+)"')
_WHERE_CHECKS_ARE = ("mgr_fscrypt/api", "mgr_fscrypt/control", "mgr_fscrypt/module.py")


@dataclass(frozen=True)
class ManagerCommand:
    """One command of `ceph fscrypt`.

    Args:
        name: without these two words.
        changes: it may change something; needs `mgr 'allow rw'`.
        usage: its arguments, as they are typed.
        help: what `ceph fscrypt -h` says of it.
    """

    name: str
    changes: bool
    usage: str
    help: str


@dataclass(frozen=True)
class Operation:
    """One operation of the API, with what it takes as (name, where, type, whether it has to be there)."""

    method: str
    path: str
    help: str
    takes: tuple[tuple[str, str, str, bool], ...]


def client_commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Give the parser of each command of `cephfs-fscrypt`, in the order of its help."""
    # argparse has no public way to the commands of a parser
    nested = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not nested:
        yield parser
    for each in nested:
        for found in each.choices.values():
            yield from client_commands(found)


def manager_commands() -> list[ManagerCommand]:
    """Give the commands of `ceph fscrypt`, by their names."""
    with loaded() as manager:
        found = [
            ManagerCommand(
                name.removeprefix("fscrypt "),
                each.perm != "r",
                _usage(each.func),
                inspect.getdoc(each.func) or "",
            )
            for name, each in manager.commands.items()
        ]
    return sorted(found, key=lambda each: each.name)


def _usage(func: Any) -> str:
    words = []
    optional = False
    for name, parameter in inspect.signature(func).parameters.items():
        if name in ("self", "inbuf"):
            continue
        if name == "_end_positional_":
            optional = True
            continue
        word = name.replace("_", "-")
        needed = parameter.default is parameter.empty
        if needed:
            words.append(name.upper())
        elif parameter.annotation is bool:
            words.append(f"[--{word}]")
        elif optional or name == "format":
            words.append(f"[--{word} {name.upper()}]")
        else:
            words.append(f"[{name.upper()}]")
    if "inbuf" in inspect.signature(func).parameters:
        words.append("[-i FILE]")
    return " ".join(words)


def operations(openapi: Path) -> list[Operation]:
    """Give the operations of the API's description, by their paths."""
    described = json.loads(openapi.read_text())
    return [
        Operation(method.upper(), path, each["description"], tuple(_taken(each)))
        for path, methods in sorted(described["paths"].items())
        for method, each in sorted(methods.items())
    ]


def _taken(operation: Mapping[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    for each in operation.get("parameters", []):
        yield each["name"], each["in"], _kind(each["schema"]), bool(each.get("required"))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        for name, each in sorted(schema.get("properties", {}).items()):
            yield name, "body", _kind(each), name in schema.get("required", [])
        # the same body in other types
        return


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def options() -> list[Mapping[str, Any]]:
    """Give the options of the module, each as its `Option` has it."""
    with loaded() as manager:
        return [dict(each) for each in manager.module.MODULE_OPTIONS]


def health_checks() -> list[str]:
    """Give the codes of the health checks, as the sources name them."""
    files = [
        file
        for place in _WHERE_CHECKS_ARE
        for file in ([ROOT / place] if (ROOT / place).is_file() else sorted((ROOT / place).rglob("*.py")))
    ]
    return sorted({code for file in files for code in _CHECK.findall(file.read_text())})
