"""Who comes in, by what, how often; sessions, forms and the way out."""

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from http.cookies import SimpleCookie
from urllib.parse import quote, urlencode

import pytest

from mgr_fscrypt.api.exchange import MEDIA_TYPE, ROOT, Reply, Request
from mgr_fscrypt.api.limits import AT_ONCE, FAILURES, SHUT_OUT, Limits
from mgr_fscrypt.api.sessions import IDLE, LONGEST, MOST, Session, Sessions
from mgr_fscrypt.control import Result
from mgr_fscrypt.control.access import digest
from mgr_fscrypt.store import Identity
from qa.fakes.api_door import Door, told

FORM = {"content-type": "application/x-www-form-urlencoded"}
SOMEBODY = Identity("first", "token", "00", "operator", "", 1, 0)


def cookies(reply: Reply) -> dict[str, str]:
    found = SimpleCookie(reply.headers.get("Set-Cookie", ""))
    for each in found.values():
        assert (each["secure"], each["httponly"], each["samesite"], each["path"]) == (
            True,
            True,
            "Strict",
            "/",
        )
    return {name: each.value for name, each in found.items()}


def posted(door: Door, path: str, kept: dict[str, str], **fields: str) -> Reply:
    cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in kept.items())}
    return door.send("POST", path, None, raw=urlencode(fields).encode(), headers=FORM | cookie)


def logged_in(door: Door, **fields: str) -> tuple[Reply, dict[str, str]]:
    """The answer to the form of the login, and the cookies that the browser has then."""
    kept = cookies(door.send("GET", "/login", None))
    csrf = next(iter(kept.values()))
    reply = posted(door, "/login", kept, csrf=csrf, **fields)
    return reply, cookies(reply)


def test_a_token_is_shown_once_and_kept_nowhere(door: Door):
    token = door.token("operator")
    dump = "\n".join(door.manager.module._connection.iterdump())
    assert token not in dump
    listed = door.manager.run("api access ls", format="json").stdout
    assert "operator.all" in listed
    assert token not in listed
    assert token not in str(door.manager.module.told)


def test_a_token_ends(door: Door, monkeypatch: pytest.MonkeyPatch):
    token = {"authorization": f"Bearer {door.token('operator')}"}
    assert door.send("GET", f"{ROOT}/status", None, headers=token).status == 200
    now = door.manager.module.access._clock()
    monkeypatch.setattr(door.manager.module.access, "_clock", lambda: now + 91 * 86400)
    assert door.send("GET", f"{ROOT}/status", None, headers=token).status == 401
    monkeypatch.undo()
    assert door.manager.run("api access revoke", "operator.all").retval == 0
    assert door.send("GET", f"{ROOT}/status", None, headers=token).status == 401


@pytest.mark.parametrize(
    "said", ["Bearer", "Bearer x", "Bearer \udcff", "Basic eDp5", "Bearer " + "x" * 10000]
)
def test_what_is_no_token(door: Door, said: str):
    assert door.send("GET", f"{ROOT}/status", None, headers={"authorization": said}).status == 401


def test_the_last_use_is_told(door: Door):
    door.ask("/status", "operator")
    door.manager.module._answer(door.manager.module.access.note)
    (line,) = [each for each in door.ask("/access")["access"] if each["name"] == "operator.all"]
    assert line["used"] >= line["created"] > 0


def test_who_guesses_is_shut_out_and_the_audit_has_it(door: Door):
    good = {"authorization": f"Bearer {door.token('operator')}"}
    for _ in range(FAILURES):
        assert door.send("GET", f"{ROOT}/status", None, headers={"authorization": "Bearer x"}).status == 401
    reply = door.send("GET", f"{ROOT}/status", None, headers=good)
    assert reply.status == 429
    assert int(reply.headers["Retry-After"]) > 200
    (act,) = [each for each in door.manager.module.told if "api login" in each[1]]
    assert "192.0.2.7" in act[1]


def test_a_login_by_token(door: Door):
    reply, kept = logged_in(door, token=door.token("operator"), back="/subtrees?x=1")
    assert (reply.status, reply.headers["Location"]) == (303, "/subtrees?x=1")
    cookie = {"cookie": f"__Host-fscrypt={kept['__Host-fscrypt']}"}
    assert door.send("GET", f"{ROOT}/status", None, headers=cookie).status == 200
    assert door.send("GET", "/", None, headers=cookie).status == 200
    door.manager.run("api access revoke", "operator.all")
    assert door.send("GET", f"{ROOT}/status", None, headers=cookie).status == 401


def test_a_link_logs_in_once(door: Door):
    door.manager.module.serving._doors = type(door.manager.module.serving.doors())(address="https://here:1")
    link = door.manager.run("api login", "read-only").stdout
    assert link.startswith("https://here:1/login?link=")
    secret = link.partition("=")[2]
    page = door.send("GET", f"/login?link={secret}", None)
    assert secret.encode() in page.body
    assert logged_in(door, link=secret)[0].status == 303
    assert logged_in(door, link=secret)[0].status == 403


def test_sessions_and_links_are_listed_and_ended(door: Door):
    serving = door.manager.module.serving
    serving._doors = type(serving.doors())(address="https://here:1")
    waits, followed = (door.manager.run("api login", "operator").stdout.partition("=")[2] for _ in range(2))
    assert logged_in(door, link=followed)[0].status == 303
    _, kept = logged_in(door, token=door.token("read-only", "acme"))
    here = {"cookie": f"__Host-fscrypt={kept['__Host-fscrypt']}"}
    assert door.send("GET", f"{ROOT}/status", None, headers=here).status == 403
    lines = door.ask("/sessions?sort=used")["sessions"]
    assert [(each["kind"], each["address"], each["used"] > 0) for each in lines] == [
        ("link", "", False),
        ("link", "192.0.2.7", True),
        ("token", "192.0.2.7", True),
    ]
    assert all(each["begun"] < each["ends"] for each in lines)
    assert [each["identity"] for each in door.ask("/sessions?kind=token")["sessions"]] == ["read-only.acme"]
    assert [each["identity"] for each in door.ask("/sessions?tenant=acme")["sessions"]] == ["read-only.acme"]
    mine = door.ask("/sessions", tenant="acme")["sessions"]
    assert [each["identity"] for each in mine] == ["read-only.acme"], "a tenant's officer sees the tenant's"
    assert door.send("GET", f"{ROOT}/sessions", "key-admin").status == 403
    assert "not used yet" in door.manager.run("api session ls").stdout
    # each is ended by its name
    assert door.send("GET", "/keys", None, headers=here).status == 200
    for line in lines:
        assert door.send("DELETE", f"{ROOT}/sessions/{line['name']}").status == 200
        assert door.send("DELETE", f"{ROOT}/sessions/{line['name']}").status == 404
    assert door.ask("/sessions") == {"sessions": [], "following": None}
    assert door.send("GET", "/keys", None, headers=here).status == 303
    assert logged_in(door, link=waits)[0].status == 403
    assert [each["command"] for each in door.ask("/audit?limit=1")["acts"]] == ["api session revoke"]


def test_a_session_whose_access_is_over_is_not_listed(door: Door):
    logged_in(door, token=door.token("operator"))
    assert len(door.ask("/sessions")["sessions"]) == 1
    assert door.manager.run("api access revoke", "operator.all").retval == 0
    assert door.ask("/sessions")["sessions"] == []


@pytest.mark.parametrize(
    "back",
    [
        *("//evil", "https://evil", "/\\evil", "/..//e.com", "/.//e.com", "/%2e//e.com"),
        *("/a\r\nSet-Cookie: x=y", "javascript:x", "/\u4e2d", ""),
    ],
)
def test_nobody_is_sent_elsewhere(door: Door, back: str):
    reply, _ = logged_in(door, token=door.token("operator"), back=back)
    assert reply.headers["Location"] == "/"
    page = door.send("GET", f"/login?back={quote(back)}", None)
    assert re.search(rb'name="back" value="/"', page.body)


def test_a_form_of_another_browser_logs_nobody_in(door: Door):
    mine = cookies(door.send("GET", "/login", None))
    theirs = next(iter(cookies(door.send("GET", "/login", None)).values()))
    for kept, csrf in ((mine, theirs), ({}, theirs), ({}, "")):
        reply = posted(door, "/login", kept, csrf=csrf, token=door.token("operator"))
        assert reply.status == 403
        assert "__Host-fscrypt" not in cookies(reply)


def test_a_change_with_a_cookie_takes_the_forms_token(door: Door):
    _, kept = logged_in(door, token=door.token("security-officer"))
    cookie = {"cookie": f"__Host-fscrypt={kept['__Host-fscrypt']}"}
    body = {"name": "second", "role": "operator"}
    place = f"{ROOT}/access/tokens"
    for wrong in ({}, {"x-csrf-token": "x"}, {"x-csrf-token": "\udcff"}):
        assert door.send("POST", place, None, body, headers=cookie | wrong).status == 403
    session = door.manager.module.serving._sessions.of(kept["__Host-fscrypt"])
    assert door.send("POST", place, None, body, headers=cookie | {"x-csrf-token": session.csrf}).status == 200
    assert posted(door, "/", kept, csrf="x").status == 403


def test_a_logout_ends_the_session(door: Door):
    _, kept = logged_in(door, token=door.token("operator"))
    session = door.manager.module.serving._sessions.of(kept["__Host-fscrypt"])
    assert (
        door.send(
            "GET", "/logout", None, headers={"cookie": f"__Host-fscrypt={kept['__Host-fscrypt']}"}
        ).status
        == 405
    )
    assert posted(door, "/logout", kept, csrf=session.csrf).headers["Location"] == "/login"
    again = posted(door, "/logout", kept, csrf=session.csrf)
    assert (again.status, again.headers["Location"]) == (303, "/login"), "and not back to where they log out"
    cookie = {"cookie": f"__Host-fscrypt={kept['__Host-fscrypt']}"}
    assert door.send("GET", f"{ROOT}/status", None, headers=cookie).status == 401


def test_headers_of_every_reply(door: Door):
    for path in ("/login", "/", "/x", f"{ROOT}/status"):
        headers = door.send("GET", path, None).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["Strict-Transport-Security"].startswith("max-age=")
        assert (headers["X-Content-Type-Options"], headers["X-Frame-Options"]) == ("nosniff", "DENY")
        assert headers["Cache-Control"] == "no-store"


def test_metrics_are_open_only_where_it_was_asked_for(door: Door):
    assert door.send("GET", "/metrics", None).status == 401
    reply = door.send("GET", "/metrics", "read-only")
    assert (reply.status, reply.headers["Content-Type"][:10]) == (200, "text/plain")
    assert b"ceph_fscrypt_" in reply.body
    door._site = door.manager.module.serving.site(open_metrics=True)
    assert door.send("GET", "/metrics", None).status == 200


def test_a_mistake_of_ours_is_told_without_its_words(door: Door, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> Reply:
        raise RuntimeError("secret words")

    monkeypatch.setattr(door.manager.module.serving.api, "respond", broken)
    reply = door.send("GET", f"{ROOT}/status")
    assert (reply.status, told(reply)["code"]) == (500, "EIO")
    assert b"secret words" not in reply.body


def test_too_many_requests():
    now = 0.0
    limits = Limits(lambda: now)
    assert [limits.wait("a") for _ in range(int(AT_ONCE))] == [0.0] * int(AT_ONCE)
    assert limits.wait("a") > 0
    assert limits.wait("b") == 0.0, "another one is not held up"
    now = 1.0
    assert limits.wait("a") == 0.0


def test_who_was_shut_out_is_listened_to_again():
    now = 0.0
    limits = Limits(lambda: now)
    assert [limits.failed("a") for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
    assert limits.shut_out("a") == SHUT_OUT
    assert limits.shut_out("b") == 0.0
    now = SHUT_OUT + 1
    assert limits.shut_out("a") == 0.0
    assert limits.failed("a") is False


def test_sessions_end_by_themselves():
    now = 0.0
    sessions = Sessions(lambda: now, lambda: now)
    idle, busy = sessions.begin(SOMEBODY, "here"), sessions.begin(SOMEBODY, "here")
    for now in range(0, int(LONGEST), int(IDLE) - 1):  # noqa: B007 - the clock reads it
        assert sessions.of(busy) is not None
    assert sessions.of(idle) is None
    assert len(sessions.lines()) == 1
    now = LONGEST + 1
    assert sessions.of(busy) is None
    many = [sessions.begin(SOMEBODY, "here") for _ in range(MOST + 1)]
    assert [sessions.of(each) is None for each in (many[0], many[1], many[-1])] == [True, False, False]


def test_what_nobody_thought_of_does_not_end_the_thread_without_a_word(
    door: Door, monkeypatch: pytest.MonkeyPatch
):
    serving = door.manager.module.serving

    def broken() -> None:
        serving.stop()
        raise AttributeError("x")

    monkeypatch.setattr(serving, "look", broken)
    serving.run()
    assert serving.doors().trouble.startswith("internal error (AttributeError)")
    assert "FSCRYPT_API_DOWN" in serving.checks()


def test_a_session_outlives_the_note_of_its_use_and_changes_of_others(door: Door):
    _, kept = logged_in(door, token=door.token("operator"))
    door.manager.module._answer(door.manager.module.access.note)
    assert door.manager.run("api token create", "other", "read-only").retval == 0
    here = {"cookie": "; ".join(f"{name}={value}" for name, value in kept.items())}
    assert door.send("GET", f"{ROOT}/status", None, headers=here).status == 200
    assert door.manager.run("api access revoke", "operator.all").retval == 0
    assert door.send("GET", f"{ROOT}/status", None, headers=here).status == 401


def test_what_is_revoked_during_a_look_is_not_kept(door: Door, monkeypatch: pytest.MonkeyPatch):
    token = door.token("operator")
    access = door.manager.module.access
    answer = access._answer

    def late(work: Callable[[], Result]) -> Result:
        result = answer(work)
        assert door.manager.run("api access revoke", "operator.all").retval == 0
        return result

    monkeypatch.setattr(access, "_answer", late)
    assert access.known("token", digest(token)) is not None, "it was good when it was looked up"
    monkeypatch.undo()
    assert access.known("token", digest(token)) is None


def test_a_session_that_ends_while_it_is_looked_at_is_over(monkeypatch: pytest.MonkeyPatch):
    sessions = Sessions(lambda: 0.0, lambda: 0.0)
    secret = sessions.begin(SOMEBODY, "here")
    ends = threading.Thread(target=sessions.end, args=(secret,))

    def noted(session: Session, **changes: float) -> Session:
        ends.start()
        ends.join(0.2)
        return replace(session, **changes)

    monkeypatch.setitem(Sessions.of.__globals__, "replace", noted)
    sessions.of(secret)
    ends.join()
    assert sessions.of(secret) is None


def test_metrics_of_all_are_not_a_tenants(door: Door):
    assert door.send("GET", "/metrics", "read-only", tenant="acme").status == 403


@pytest.mark.parametrize("sent", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_a_browsers_certificate_changes_nothing_by_itself(door: Door, sent: dict[str, str]):
    assert door.manager.run("api certificate add", "boss", "CN=boss", "security-officer").retval == 0
    path = f"{ROOT}/access/nosuch"
    shown = {"accept": MEDIA_TYPE}
    site = door._site
    refused = site.respond(Request("DELETE", path, headers=shown | sent, subject="CN=boss"))
    assert (refused.status, b"a browser shows" in refused.body) == (403, True)
    assert site.respond(Request("DELETE", path, headers=shown, subject="CN=boss")).status == 404
    assert (
        site.respond(Request("GET", f"{ROOT}/status", headers=shown | sent, subject="CN=boss")).status == 200
    )
