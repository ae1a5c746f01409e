from pathlib import Path

import pytest

from dashboard_ui.pages import HERE, Pages
from qa.fakes.visitors import FakeCaller, visit

STATUS = {
    "version": "0.1.0",
    "ceph": "ceph 20",
    "file_systems": [{"fscid": 1, "name": "<b>fs", "present": True, "engine": 2, "kernel": 1}],
}


def test_an_address_that_is_none_is_told():
    page = Pages().respond(visit(FakeCaller({}), "/nowhere"))
    assert page.status == 404
    assert "There is no such page" in page.body


def test_what_is_told_is_text():
    page = Pages().respond(visit(FakeCaller({"status": STATUS})))
    assert page.status == 200
    assert "&lt;b&gt;fs" in page.body
    assert "<b>fs" not in page.body


def test_links_begin_where_the_pages_hang():
    page = Pages().respond(visit(FakeCaller({"status": STATUS}), base="/ui-fscrypt"))
    assert 'href="/ui-fscrypt/assets/pages.css"' in page.body
    assert 'href="/assets' not in page.body


def test_a_form_carries_the_token():
    assert 'name="csrf" value="the-token"' in Pages().respond(visit(FakeCaller({"status": STATUS}))).body


@pytest.mark.parametrize(
    "path", ["", ".", "../pages.py", "static/pages.css", "/etc/passwd", "pages.css\0", "base.html"]
)
def test_no_other_file_is_an_asset(path: str):
    assert Pages().asset(path) is None


def test_an_asset_has_its_kind():
    sheet = Pages().asset("pages.css")
    assert sheet is not None
    assert sheet.headers["Content-Type"] == "text/css; charset=utf-8"
    assert b"{" in sheet.body


def test_the_login_shows_trouble_as_text():
    page = Pages().login(base="/x", csrf="c", nonce="n", trouble="<script>alert(1)</script>")
    assert page.status == 403
    assert "<script>alert" not in page.body
    assert 'action="/x/login"' in page.body
    assert 'name="token"' in page.body


def test_a_link_that_works_once_needs_a_press_of_a_button():
    page = Pages().login(base="", csrf="c", nonce="n", link="one-time")
    assert 'name="link" value="one-time"' in page.body
    assert 'name="token"' not in page.body


def test_the_pages_stand_without_what_npm_brings(tmp_path: Path):
    plain = Pages((HERE / "static",)).respond(visit(FakeCaller({"status": STATUS})))
    assert "assets/pages.css" in plain.body
    assert "carbon.css" not in plain.body
    (tmp_path / "carbon.css").touch()
    dressed = Pages((HERE / "static", tmp_path)).respond(visit(FakeCaller({"status": STATUS}))).body
    assert dressed.index("assets/pages.css") < dressed.index("assets/carbon.css")
