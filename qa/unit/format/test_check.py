"""The check command: clean vectors pass, whatever is flipped or malformed is noticed, nothing is a traceback."""

import copy
import gzip
import json
import lzma
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mgr_fscrypt.format.check.__main__ import main
from mgr_fscrypt.format.check.cephfs import check_cephfs
from mgr_fscrypt.format.check.fields import Record
from mgr_fscrypt.format.check.tally import Tally
from qa.unit.format.keys_and_places import VECTORS

SEED = 4
FLIPS = 220
NOT_COMPARED = re.compile(
    r"what|how|kernel|generator|seed|runs\.#\.(kernel|ceph)"
    r"|cases\.#\.(dirs|files|symlinks)\.#\.(ino|path)|unavailable\.#\.(case|errno)|runs\.#\.entries\.#\.mode"
)
"""Prose and provenance, and what nothing derives from (see the package's docstring); in a sample, a path may
become that of an entry whose record was not taken."""


def _load(name: str) -> Any:
    return json.loads(lzma.decompress((VECTORS / f"{name}.json.xz").read_bytes()))


def _small(vectors: Any) -> Any:
    """Two cases (and one run) of the vectors, with the counters that belong to them: hundreds replay in seconds."""
    small = copy.deepcopy(vectors)
    if "cases" in small:
        small["cases"] = [
            case for case in small["cases"] if "inolblk32" in case["case"] or "dus9" in case["case"]
        ]
        return small
    run = small["runs"][0]
    run["cases"] = [case for case in run["cases"] if case["name"] in ("pad4", "cbc128-pad16")]
    keys = [case["id"] for case in run["cases"]]
    for kind in ("entries", "snapshots"):
        run[kind] = [record for record in run[kind] if any(key in record["dir_auth"] for key in keys)]
    small["runs"] = [run]
    tally = Tally()
    check_cephfs(Record(small, "small"), tally)
    run["notes"] = dict(tally.notes)
    return small


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        for key in value:
            yield from _leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path


def _shape(path: tuple[str | int, ...]) -> str:
    return ".".join("#" if isinstance(step, int) else step for step in path)


def _flip(value: Any, chance: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value ^ (1 << chance.randrange(max(1, value.bit_length())))
    at = chance.randrange(len(value))
    if re.fullmatch("[0-9a-f]+", value):
        digit = chance.choice([digit for digit in "0123456789abcdef" if digit != value[at]])
    else:
        digit = chr(ord(value[at]) ^ (1 << chance.randrange(5)))
    return value[:at] + digit + value[at + 1 :]


def _unprovable(parent: Any, name: str | int) -> bool:
    """The auth of an inode under which nothing is encrypted: its nonce shows nowhere else."""
    return name == "auth" and not parent.get("plain_parts") and "target" not in parent


@pytest.mark.parametrize("name", ["ext4", "cephfs"])
def test_what_kernels_wrote_is_what_we_compute(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(VECTORS / f"{name}.json.xz")]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    values = re.fullmatch(r"(\d+) values, 0 differ", last)
    assert values is not None
    assert int(values[1]) > 2000


@pytest.mark.parametrize("name", ["ext4", "cephfs"])
def test_every_flipped_value_is_noticed(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = _small(_load(name))
    place = tmp_path / "vectors.json"
    place.write_text(json.dumps(vectors))
    assert main([str(place)]) == 0
    chance = random.Random(SEED)
    by_shape = defaultdict(list)
    for path in _leaves(vectors):
        if not NOT_COMPARED.fullmatch(_shape(path)):
            by_shape[_shape(path)].append(path)
    unnoticed, flips = [], 0
    shapes = sorted(by_shape)
    while flips < FLIPS:
        path = chance.choice(by_shape[shapes[flips % len(shapes)]])
        flips += 1
        parent = vectors
        for step in path[:-1]:
            parent = parent[step]
        kept = parent[path[-1]]
        if kept == "" or _unprovable(parent, path[-1]):
            continue
        parent[path[-1]] = _flip(kept, chance)
        place.write_text(json.dumps(vectors))
        if main([str(place)]) == 0:
            unnoticed.append((path, kept, parent[path[-1]]))
        parent[path[-1]] = kept
    capsys.readouterr()
    print(f"sampled: {flips} flips of {name} vectors, seed {SEED}")
    assert unnoticed == []


@pytest.mark.parametrize("name", ["ext4", "cephfs"])
@pytest.mark.parametrize("junk", [None, [], {}, "x", "zz", -1, 1 << 70, 1.5, True, [[[]]]], ids=repr)
def test_fields_of_another_type_are_differences(name: str, junk: object, tmp_path: Path) -> None:
    vectors = _small(_load(name))
    chance = random.Random(SEED)
    by_shape = {}
    for path in _leaves(vectors):
        if not NOT_COMPARED.fullmatch(_shape(path)):
            by_shape.setdefault(_shape(path), path)
    for path in chance.sample(sorted(by_shape.values(), key=str), 6):
        broken = copy.deepcopy(vectors)
        parent = broken
        for step in path[:-1]:
            parent = parent[step]
        if parent[path[-1]] == junk:
            continue
        parent[path[-1]] = junk
        place = tmp_path / "vectors.json"
        place.write_text(json.dumps(broken))
        assert main([str(place)]) == 1, (path, junk)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"cases": [], "runs": []}', b"1" * 5000],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_vector_file_is_a_usage_error(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "vectors.json"
    place.write_bytes(content)
    assert main([str(place)]) == 2
    assert "nothing was checked" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".json.gz", ".json.xz"])
def test_a_broken_archive_is_a_usage_error(suffix: str, tmp_path: Path) -> None:
    place = tmp_path / f"vectors{suffix}"
    place.write_bytes(b"not compressed")
    assert main([str(place)]) == 2
    packed = gzip.compress(b"{}") if suffix == ".json.gz" else lzma.compress(b"{}")
    place.write_bytes(packed[:-3])
    assert main([str(place)]) == 2


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    assert main([str(tmp_path / "none.json")]) == 2


def test_no_argument_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2


def test_a_missing_field_is_a_difference(tmp_path: Path) -> None:
    vectors = _small(_load("cephfs"))
    for record, name in (
        (vectors["runs"][0]["entries"][0], "dname"),
        (vectors["runs"][0]["snapshots"][0], "name"),
        (vectors["runs"][0]["cases"][0], "policy"),
    ):
        kept = record.pop(name)
        place = tmp_path / "vectors.json"
        place.write_text(json.dumps(vectors))
        assert main([str(place)]) == 1
        record[name] = kept
