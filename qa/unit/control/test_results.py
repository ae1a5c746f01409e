import errno
import json
import logging

import pytest
import yaml

from mgr_fscrypt.control import FileSystemCount, Overview, Result, SubtreeLine, SubtreePage
from mgr_fscrypt.control.packed import Made
from mgr_fscrypt.control.results import guarded, written

OVERVIEW = Overview(version="1", ceph="ceph 20", file_systems=(FileSystemCount(1, "cephfs", True, 2, 3),))
PAGE = SubtreePage(
    (SubtreeLine("cephfs", True, "/a", 1, "engine", "AES-256-XTS", "AES-256-CBC-CTS", 32, "00" * 16, 7),),
    "1:/a",
)


@pytest.mark.parametrize("form", ["json", "json-pretty"])
def test_json_forms_hold_the_same(form: str):
    code, text, status = Result(answer=OVERVIEW).rendered(form)
    assert (code, status) == (0, "")
    assert json.loads(text) == OVERVIEW.simplified()


@pytest.mark.parametrize("value", [OVERVIEW, PAGE])
def test_yaml_holds_the_same(value: Overview | SubtreePage):
    code, text, status = Result(answer=value).rendered("yaml")
    assert (code, status) == (0, "")
    assert type(value).restored(yaml.safe_load(text)) == value


LINES = [
    {"a": 1, "b": "x\ny", "c": [1, {"d": 2}], "e": [], "u": "\xe9"},
    {"a": None, "b": "", "c": {}, "e": [[]]},
    {"z": True},
]
BESIDE: list[dict[str, object]] = [{}, {"following": None, "x": {"y": [1, 2]}}, {"following": "1:/\xe9\n"}]


@pytest.mark.parametrize("count", range(4))
@pytest.mark.parametrize("beside", BESIDE)
def test_what_is_written_piece_by_piece_is_what_is_written_at_once(count: int, beside: dict[str, object]):
    lines = LINES[:count]
    whole = {"list": lines, **beside}
    pieces = {"list": Made(lines, dict), **beside}
    assert written(pieces, "json") == json.dumps(whole)
    assert written(pieces, "json-pretty") == json.dumps(whole, indent=2)
    for value in (pieces, whole):
        assert written(value, "yaml") == yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
    assert [written({}, form) for form in ("json", "json-pretty", "yaml")] == ["{}", "{}", "{}\n"]


def test_what_only_has_a_status_tells_it_to_programs_too():
    done = Result(status="registered subtree /a")
    assert done.rendered("plain") == (0, "", "registered subtree /a")
    assert json.loads(done.rendered("json")[1]) == {"status": "registered subtree /a"}
    assert yaml.safe_load(done.rendered("yaml")[1]) == {"status": "registered subtree /a"}


def test_plain_is_the_default():
    assert Result(answer=OVERVIEW).rendered(None) == Result(answer=OVERVIEW).rendered("plain")


def test_an_unknown_format():
    assert Result(answer=OVERVIEW).rendered("xml") == (
        -errno.EINVAL,
        "",
        'there is no format "xml"; use one of plain, json, json-pretty, yaml',
    )


def test_a_failure_is_a_negative_errno_and_one_line():
    assert Result.failed(errno.ENOENT, "gone").rendered("json") == (-errno.ENOENT, "", "gone")


@pytest.mark.parametrize("value", [OVERVIEW, PAGE])
def test_values_come_back_from_json(value: Overview | SubtreePage):
    for form in ("json", "json-pretty", "yaml"):
        text = Result(answer=value).rendered(form)[1]
        assert type(value).restored(yaml.safe_load(text)) == value


@pytest.mark.parametrize("form", ["plain", "xml\x1b[2J"])
def test_no_status_moves_the_cursor_or_floods_the_terminal(form: str):
    status = f"\x1b[2J\n\udcff{'x' * 2**20}; run this next"
    _, _, told = Result.failed(errno.ENOENT, status).rendered(form)
    assert told.isprintable()
    assert len(told) < 2**15
    if form == "plain":
        assert told.startswith("\\x1b[2J\\n\\udcff")
        assert told.endswith("; run this next")


def test_a_mistake_of_ours_is_told_in_one_line_and_logged(caplog: pytest.LogCaptureFixture):
    def fail() -> Result:
        raise ZeroDivisionError("planted")

    result = guarded(fail, logging.getLogger("fscrypt"))
    assert (result.code, "\n" in result.status, "planted" in result.status) == (errno.EIO, False, False)
    assert "ZeroDivisionError: planted" in caplog.text
    assert guarded(lambda: Result(status="done"), logging.getLogger("fscrypt")) == Result(status="done")
