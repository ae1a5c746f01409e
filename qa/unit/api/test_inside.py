"""The door inside of Ceph's dashboard, as far as it is ours: who its users are here, and their forms."""

from collections.abc import Callable
from urllib.parse import urlencode

import pytest

from mgr_fscrypt.api.exchange import MEDIA_TYPE, PAGES, ROOT, Reply, Request, User
from mgr_fscrypt.api.limits import AT_ONCE
from qa.fakes.api_door import Door, told
from qa.unit.dashboard.markup import Markup

BOSS = User("boss", True, "a.b.c", False)
BROWSER = User("boss", True, "a.b.c", True)
STRANGER = User("stranger", False, "a.b.d", False)
Ask = Callable[..., Reply]


@pytest.fixture
def ask(door: Door) -> Ask:
    inside = door.manager.module.serving.inside()

    def asked(method: str, path: str, user: User | None, body: bytes = b"", **headers: str) -> Reply:
        place, _, query = path.partition("?")
        said = {"accept": MEDIA_TYPE, "content-type": "application/json"} | headers
        answer: Reply = inside.respond(Request(method, place, query, said, body, "192.0.2.7"), user, "/ceph")
        return answer

    return asked


def test_who_reads_cephfs_there_reads_here_and_no_more(ask: Ask):
    assert ask("GET", f"{ROOT}/status", BOSS).status == 200
    refused = ask("POST", f"{ROOT}/links", BOSS, b'{"role": "operator"}')
    assert (refused.status, "is read-only" in told(refused)["detail"]) == (403, True)
    assert ask("GET", f"{ROOT}/status", STRANGER).status == 403
    assert ask("GET", f"{ROOT}/status", None).status == 401


def test_our_own_store_says_what_a_user_is(ask: Ask, door: Door):
    door.manager.run("api user add", "boss", "security-officer")
    body = b'{"name": "d", "role": "operator"}'
    assert ask("POST", f"{ROOT}/access/tokens", BOSS, body).status == 200
    made = [each for each in door.ask("/audit")["acts"] if each["about"] == "d operator"]
    assert [each["who"] for each in made] == ["dashboard:dashboard.boss@192.0.2.7"]
    door.manager.run("api access revoke", "dashboard.boss")
    assert ask("POST", f"{ROOT}/access/tokens", BOSS, body).status == 403


def test_what_a_browser_sends_by_itself_changes_nothing(ask: Ask, door: Door):
    door.manager.run("api user add", "boss", "security-officer")
    body = b'{"name": "d", "role": "operator"}'
    assert ask("POST", f"{ROOT}/access/tokens", BROWSER, body).status == 403
    assert ask("GET", f"{ROOT}/status", BROWSER).status == 200
    form = urlencode({"csrf": "x"}).encode()
    assert ask("POST", f"{PAGES}/", BROWSER, form).status == 403


def test_too_many_requests_of_one_user(ask: Ask, door: Door):
    """By page or by operation, whatever the role; at both doors it is one count."""
    limits = door.manager.module.serving._limits
    limits._clock = lambda: 0.0
    for number in range(int(AT_ONCE)):
        path = (f"{ROOT}/doors", f"{PAGES}/nosuch")[number % 2]
        assert ask("GET", path, BOSS).status in (200, 404)
    for path in (f"{ROOT}/doors", f"{PAGES}/nosuch"):
        refused = ask("GET", path, BOSS)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert limits.wait("dashboard.boss") > 0
    assert ask("GET", f"{ROOT}/doors", STRANGER).status == 403, "another one is not held up"
    assert ask("GET", f"{PAGES}/assets/pages.css", BOSS).status == 200, "what a page needs is not counted"
    limits._clock = lambda: 1.0
    assert ask("GET", f"{ROOT}/doors", BOSS).status == 200


def test_pages_hang_where_the_dashboard_does(ask: Ask):
    page = ask("GET", f"{PAGES}/", BROWSER)
    assert page.status == 200
    assert b'href="/ceph/ui-fscrypt/' in page.body
    assert "frame-ancestors 'self'" in page.headers["Content-Security-Policy"]
    assert ask("GET", f"{PAGES}/assets/nosuch", None).status == 404


def way_back(reply: Reply) -> str:
    assert reply.status == 401
    assert b'href="/ceph/#/login"' in reply.body
    markup = Markup(reply.body.decode())
    (back,) = [each for each in markup.named("a") if each.get("id") == "back"]
    return back["href"] or ""


def test_who_is_not_logged_in_is_led_to_the_login_and_back(ask: Ask):
    assert way_back(ask("GET", f"{PAGES}/", None)) == f"/ceph{PAGES}/"
    assert (
        way_back(ask("GET", f"{PAGES}/keys?fs=a%20b&x=%22%3E", None))
        == f"/ceph{PAGES}/keys?fs=a%20b&x=%22%3E"
    )
    # what waits there asks whether they are in by now
    assert way_back(ask("GET", f"{PAGES}/login", None)) == f"/ceph{PAGES}/"
    there = ask("GET", f"{PAGES}/login", BROWSER)
    assert (there.status, there.headers["Location"]) == (303, f"/ceph{PAGES}/")


def test_a_form_that_was_sent_too_late_is_there_again_with_what_was_typed(ask: Ask, door: Door):
    form = {"csrf": "x", "fs": "cephfs", "path": "/a b", "typed": "/a b", "rehearse": "yes"}
    back = way_back(ask("POST", f"{PAGES}/do/subtree/rm", None, urlencode(form).encode()))
    assert back == f"/ceph{PAGES}/do/subtree/rm?fs=cephfs&path=%2Fa+b"
    # it is shown, and nothing is done by it
    page = ask("GET", back.removeprefix("/ceph"), BROWSER)
    assert page.status == 200
    assert b'value="/a b"' in page.body
    for body in (b"\xff", b"a=%zz", b"a=1&a=2", b"path=" + b"x" * 9000):
        assert way_back(ask("POST", f"{PAGES}/do/scan", None, body)) == f"/ceph{PAGES}/do/scan"
    place, query = "/do/subtree/rm", urlencode(form).encode()
    away = door.send(
        "POST", place, None, raw=query, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert away.headers["Location"] == "/login?back=%2Fdo%2Fsubtree%2Frm%3Ffs%3Dcephfs%26path%3D%252Fa%2Bb"
