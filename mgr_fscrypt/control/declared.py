"""Resources out of a text: all of it is read first, and one mistake keeps all of it from being done."""

import errno
from collections.abc import Mapping

from ..messages import MessageError
from ..messages.resource import GateResource, Resource, SubtreeResource, resource_of
from .documents import DocumentError, documents
from .paths import PathError, normal
from .refusal import RefusalError

MOST = 1000
"""Resources that one `apply` takes: they are one transaction."""
_TOLD = 10
"""Mistakes that are told; all are counted."""


def declared(text: str | None) -> tuple[Resource, ...]:
    """Read a list of resources, one resource, several documents of these, or what `ceph fscrypt show` printed.

    Raises:
        RefusalError: it is none of these, declares one thing twice, or things that cannot be at the same time.
    """
    if not text or not text.strip():
        raise RefusalError(
            errno.EINVAL,
            "no resource was given, nothing was changed; give a file of them with -i FILE "
            "(`ceph fscrypt show` prints those that there are)",
        )
    try:
        values = [value for document in documents(text) for value in _listed(document)]
    except DocumentError as error:
        raise RefusalError(errno.EINVAL, f"{error}; nothing was changed") from error
    if len(values) > MOST:
        raise RefusalError(
            errno.EINVAL,
            f"there are {len(values)} resources, more than {MOST}, nothing was changed; apply them in parts",
        )
    found: list[Resource] = []
    wrong: list[str] = []
    places: dict[tuple[str, str, str], int] = {}
    for number, value in enumerate(values, 1):
        try:
            resource = resource_of(value)
            name = _name(resource)
        except (MessageError, PathError) as error:
            wrong.append(f"resource {number}: {error}")
            continue
        first = places.setdefault((resource.KIND, resource.fs, name), number)
        if first != number:
            wrong.append(f"resource {number} is resource {first} once more: {resource.KIND} {name}")
        found.append(resource)
    wrong += _contradictions(found, places)
    if wrong:
        told = "; ".join(wrong[:_TOLD])
        more = f"; and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
        raise RefusalError(errno.EINVAL, f"{told}{more}; nothing was changed")
    return tuple(found)


def _name(resource: Resource) -> str:
    """What tells it from others of its kind. Raises `PathError`."""
    return normal(resource.path) if isinstance(resource, SubtreeResource | GateResource) else resource.name


def _contradictions(resources: list[Resource], places: Mapping[tuple[str, str, str], int]) -> list[str]:
    """Gates that cannot be where the others of the same text are."""
    wrong = []
    removed = {
        (each.fs, _name(each))
        for each in resources
        if isinstance(each, SubtreeResource) and each.facts is None
    }
    namespaces: dict[tuple[str, str], int] = {}
    for gate in resources:
        if not isinstance(gate, GateResource) or gate.rung is None:
            continue
        path = _name(gate)
        number = places[gate.KIND, gate.fs, path]
        if (gate.fs, path) in removed:
            other = places[SubtreeResource.KIND, gate.fs, path]
            wrong.append(
                f"resource {number} is a gate of {path}, which resource {other} removes from the register"
            )
        if not gate.namespace:
            continue
        first = namespaces.setdefault((gate.fs, gate.namespace), number)
        if first != number:
            wrong.append(
                f"resources {first} and {number} are gates with one namespace: each subtree needs its own"
            )
    return wrong


def _listed(document: object) -> list[object]:
    match document:
        case None:
            return []
        case list():
            return document
        # what `show` printed; where its next page begins says nothing here
        case {"resources": list() as resources, **rest} if rest.keys() <= {"following"}:
            return resources
        case _:
            return [document]
