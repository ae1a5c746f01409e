"""Documents of people: what is read, and all that is refused, in a moment and with a place."""

import gc
import json
import time
from typing import Any

import pytest

from mgr_fscrypt.control.documents import LONGEST, DocumentError, documents


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ("# nothing\n", []),
        ("a: 1\n---\n- b\n- true\n", [{"a": 1}, ["b", True]]),
        ('{"a": [1, null, "x"]}', [{"a": [1, None, "x"]}]),
        ("a: [1, null, 'x']", [{"a": [1, None, "x"]}]),
        # as JSON has it, not as YAML 1.1 does
        ("key: 00112233445566778899001122334455", [{"key": "00112233445566778899001122334455"}]),
        ("a: yes\nb: on\nc: 0x10\nd: 1:30\ne: 2026-01-01\nf: .inf", [
            {"a": "yes", "b": "on", "c": "0x10", "d": "1:30", "e": "2026-01-01", "f": ".inf"}
        ]),
        ("{a: 1, b: [c]}", [{"a": 1, "b": ["c"]}]),
        ("a: -7\nb: 1.5e3\nc: ~\nd:", [{"a": -7, "b": 1500.0, "c": None, "d": None}]),
        ("<<: {a: 1}", [{"<<": {"a": 1}}]),
    ],
)  # fmt: skip
def test_what_is_read(text: str, values: list[object]):
    assert documents(text) == values


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x 1\nb: *x", "anchors and aliases are not read (line 1, column 4)"),
        ("b: *x", "anchors and aliases are not read"),
        ("a: !!python/object/apply:os.system [id]", "tags are not read (line 1, column 4)"),
        ("a: !!int 'x'", "tags are not read"),
        ("hunter2: 1\nhunter2: 2", "a field is given twice (line 2, column 1)"),
        ('{"hunter2": 1, "hunter2": 2}', "a field is given twice"),
        ("? [1]\n: 2", "a field has no name (line 1, column 3)"),
        ("1: 2", "a field has no name"),
        ("a: [", "it is neither YAML nor JSON"),
        ("a: b: c", "it is neither YAML nor JSON"),
        ("[1,", "it is neither YAML nor JSON"),
        ("\0", "special characters are not allowed"),
        ("\ud800", "special characters are not allowed"),
        ("a: " + "9" * 5000, "4300 digits"),
        ("[" * 100_000, "too many levels"),
        ("- " * 10_000, "too many levels"),
        ("x" * (LONGEST + 1), "apply it in parts"),
        ("\n".join(f"&a{n} [*a{n - 1},*a{n - 1}]" for n in range(1, 99)), "anchors and aliases are not read"),
    ],
)
def test_what_is_refused(text: str, says: str):
    with pytest.raises(DocumentError) as error:
        documents(text)
    assert says in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "garbage", [bytes(range(256)).decode("latin-1"), "a: {", "- [x, {y: ", "\t%&*!|>'\""]
)
def test_a_megabyte_of_garbage_takes_no_time(garbage: str):
    begun = time.process_time()
    with pytest.raises(DocumentError):
        documents(garbage * (2**20 // len(garbage)))
    with pytest.raises(DocumentError):
        documents(garbage * (LONGEST // len(garbage) - 1))
    assert time.process_time() - begun < 10


def test_many_fields_are_told_apart():
    fields = {f"a{number}": "x" for number in range(3000)}
    text = "\n".join(f"{name}: x" for name in fields)
    assert documents(text) == documents(json.dumps(fields)) == [fields]
    with pytest.raises(DocumentError, match="line 3001"):
        documents(f"{text}\na7: y")


def test_a_large_one_makes_nobody_look_for_garbage():
    text = "".join(f"- {{path: /volumes/{number}, policy: {{padding: 32}}}}\n" for number in range(5000))
    looked: list[int] = []

    def seen(phase: str, info: dict[str, Any]) -> None:
        looked.append(info["generation"])

    gc.collect()
    gc.callbacks.append(seen)
    try:
        assert len(documents(text)[0]) == 5000  # type: ignore[arg-type]
        with pytest.raises(DocumentError):
            documents(text + "]")
    finally:
        gc.callbacks.remove(seen)
    assert not [generation for generation in looked if generation > 0]
    assert gc.isenabled()
