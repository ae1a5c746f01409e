"""Text that people write, YAML or JSON, as plain values: strictly, and without surprises.

Of YAML that is what JSON has too: no anchors, no tags, no words that are booleans in disguise, and what looks like a
number is one only if JSON says so. A field that is given twice is an error in both.
"""

import gc
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import yaml

LONGEST = 1 << 19
"""Characters that a document may have: reading so much YAML takes ceph-mgr's interpreter about a second."""


_TWICE = "a field is given twice"
"""Which one is not said: this goes into the audit, and what stands in the place of a name may be a secret."""


class DocumentError(ValueError):
    """A text that is no such document. The message says where, and what is wrong."""


def documents(text: str) -> list[object]:
    """Give the values of all documents of a text.

    Raises:
        DocumentError: it is too long, or neither YAML nor JSON.
    """
    if len(text) > LONGEST:
        raise DocumentError(f"it has {len(text)} characters, more than {LONGEST}: apply it in parts")
    try:
        if text.lstrip().startswith(("{", "[")):
            # YAML may begin so, too
            with suppress(json.JSONDecodeError):
                return [json.loads(text, object_pairs_hook=_object)]
        # in Python: the reader in C would hold ceph-mgr's interpreter all the time
        with _uncollected():
            return list(yaml.load_all(text, _Loader))
    except yaml.YAMLError as error:
        raise DocumentError(f"it is neither YAML nor JSON: {_told(error)}") from error
    except RecursionError as error:
        raise DocumentError("it has too many levels") from error
    except ValueError as error:
        raise DocumentError(str(error)) from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """Have no garbage collected meanwhile.

    Of a large document PyYAML makes some 100,000 objects, none of which is garbage before all of it is read, and which
    need no collector then. By their number Python would walk over all that ceph-mgr has in memory, and let nobody run.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # the first one to come sees to that: one that came meanwhile found it so
        if was:
            gc.enable()


def _object(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise DocumentError(_TWICE)
        found[name] = value
    return found


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML has no types
    """Reads what the module's docstring says."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        f"tag:yaml.org,2002:{name}": yaml.SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{name}"]
        for name in ("null", "bool", "int", "float", "str", "seq", "map")
    } | {None: yaml.SafeLoader.yaml_constructors[None]}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        for has, what in (("anchor", "anchors and aliases"), ("tag", "tags")):
            if getattr(event, has, None) is not None:
                raise yaml.MarkedYAMLError(problem=f"{what} are not read", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names: set[str] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str) or name in names:
                wrong = _TWICE if isinstance(name, str) else "a field has no name"
                raise yaml.MarkedYAMLError(problem=wrong, problem_mark=key.start_mark)
            names.add(name)
        return super().construct_mapping(node, deep=deep)


for _tag, _looks, _first in (
    ("null", r"null|~|", ("n", "~", "")),
    ("bool", r"true|false", ("t", "f")),
    ("int", r"-?(?:0|[1-9][0-9]*)", tuple("-0123456789")),
    ("float", r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", tuple("-0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_looks})\\Z"), _first)


def _told(error: yaml.YAMLError) -> str:
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
    return f"{problem or getattr(error, 'reason', None) or 'it cannot be read'}{where}"
