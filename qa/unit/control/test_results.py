import errno
import json

import pytest

from mgr_fscrypt.control import FileSystemCount, Overview, Result, SubtreeLine, SubtreePage

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


def test_plain_is_the_default():
    assert Result(answer=OVERVIEW).rendered(None) == Result(answer=OVERVIEW).rendered("plain")


def test_an_unknown_format():
    assert Result(answer=OVERVIEW).rendered("xml") == (
        -errno.EINVAL,
        "",
        'there is no format "xml"; use one of plain, json, json-pretty',
    )


def test_a_failure_is_a_negative_errno_and_one_line():
    assert Result.failed(errno.ENOENT, "gone").rendered("json") == (-errno.ENOENT, "", "gone")


@pytest.mark.parametrize("value", [OVERVIEW, PAGE])
def test_values_come_back_from_json(value: Overview | SubtreePage):
    assert type(value).restored(json.loads(json.dumps(value.simplified()))) == value
