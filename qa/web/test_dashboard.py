"""The API and the pages inside of Ceph's dashboard, behind its login (20.2)."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from qa.fakes.api_client import ACCEPT, ROOT, Answer
from qa.fakes.ports import free_port
from qa.lab.cluster import Cluster
from qa.web.browser import NARROW, WIDE, Browser, browsing

WORD = "Secret-4711x"


class Unfollowed(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Redirections are looked at."""


class Dashboard:
    """The dashboard of one cluster, without TLS."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(Unfollowed)

    def send(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        said = {"Accept": ACCEPT, "Content-Type": "application/json"} | dict(headers or {})
        text = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, text, said, method=method)  # noqa: S310 - of ours
        try:
            reply = self._opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            reply = error
        with reply:
            return Answer(reply.status, dict(reply.headers), reply.read())

    def token(self, user: str) -> str:
        return str(self.send("POST", "/api/auth", {"username": user, "password": WORD}).json["token"])


@pytest.fixture(scope="module")
def dashboard(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    cluster.enable_module("fscrypt")
    port = free_port()
    options = {"ssl": "false", "server_addr": "127.0.0.1", "server_port": str(port)}
    for name, value in options.items():
        cluster.ceph("config", "set", "mgr", f"mgr/dashboard/{name}", value)
    cluster.enable_module("dashboard")
    found = Dashboard(port)
    word: Path = tmp_path_factory.mktemp("dashboard") / "word"
    word.write_text(WORD)

    def ready() -> bool:
        try:
            return found.send("GET", f"{ROOT}/status").status == 401
        except OSError:
            return False

    try:
        cluster.wait("our API in the dashboard", ready, timeout=180)
        users = ("dashboard", "ac-user-create", "--force-password", "-i", str(word))
        cluster.wait("the dashboard's users", lambda: cluster.ceph(*users, "boss", "administrator") != "")
        yield found
        cluster.ceph("dashboard", "ac-user-delete", "boss")
    finally:
        cluster.ceph("mgr", "module", "disable", "dashboard")
        for name in options:
            cluster.ceph("config", "rm", "mgr", f"mgr/dashboard/{name}")


def test_behind_its_login(cluster: Cluster, dashboard: Dashboard):
    token = dashboard.token("boss")
    bearer, cookie = {"Authorization": f"Bearer {token}"}, {"Cookie": f"token={token}"}

    def told() -> bool:
        # the manager began anew with the dashboard, and its database comes some moments later
        return dashboard.send("GET", f"{ROOT}/status", headers=bearer).status == 200

    cluster.wait("an answer", told)
    assert dashboard.send("GET", f"{ROOT}/status", headers=bearer).json["value"]["file_systems"]
    wish = {"name": f"of-a-user-{free_port()}", "role": "read-only", "expires": "1h"}
    place = f"{ROOT}/access/tokens"
    assert dashboard.send("POST", place, wish, bearer).status == 403, "the dashboard's administrator reads"
    cluster.ceph("fscrypt", "api", "user", "add", "boss", "security-officer")
    try:
        assert dashboard.send("POST", place, wish, cookie).status == 403, "a browser sends a cookie by itself"
        assert dashboard.send("POST", place, wish, bearer).json["value"]["token"].startswith("fscrypt_")
        assert dashboard.send("DELETE", f"{ROOT}/access/{wish['name']}", headers=bearer).status == 200
    finally:
        cluster.ceph("fscrypt", "api", "access", "revoke", "dashboard.boss")
    shown = dashboard.send(
        "GET", f"{ROOT}/subtrees/cephfs/subtree?path=/nosuch%2Fpath&self=1", headers=bearer
    )
    assert shown.status == 400, "what the dashboard would take for its own is ours to judge"
    wide = dashboard.send("GET", f"{ROOT}/status", headers={**bearer, "X-Wide": "x" * (33 << 10)})
    assert (wide.status, wide.json["code"]) == (431, "TOO_LONG")
    large = {**bearer, "Content-Length": str(2 << 20)}
    assert dashboard.send("PUT", f"{ROOT}/resources", headers=large).status == 413, "it is not read before"
    page = dashboard.send("GET", "/ui-fscrypt/", headers=cookie)
    assert (page.status, page.headers["Content-Type"][:9]) == (200, "text/html")
    assert dashboard.send("GET", "/ui-fscrypt/").status == 401
    assert dashboard.send("GET", f"{ROOT}/status", headers={"Authorization": "Bearer x.y.z"}).status == 401


def let_in(window: Browser) -> None:
    """Log in as the page asks: in a window of its own, which closes by itself."""
    window.sees("Log in to Ceph's dashboard")
    (wanted,) = window.driver.window_handles
    window.driver.find_element("link text", "Log in").click()
    window.wait("the login", lambda: len(window.driver.window_handles) == 2)
    (login,) = {*window.driver.window_handles} - {wanted}
    window.driver.switch_to.window(login)
    window.wait("its form", lambda: window.driver.find_elements("name", "password"))
    window.driver.find_element("name", "username").send_keys("boss")
    window.driver.find_element("name", "password").send_keys(WORD + "\ue007")
    window.wait("its end", lambda: window.driver.window_handles == [wanted])
    window.driver.switch_to.window(wanted)


def test_a_browser_is_led_to_its_login_and_back(dashboard: Dashboard, tmp_path: Path):
    shots = Path(os.environ["FSCRYPT_QA_SHOTS"]) if "FSCRYPT_QA_SHOTS" in os.environ else None
    with browsing(dashboard.address, tmp_path, shots) as window:
        window.go("/ui-fscrypt/keys?fs=cephfs")
        against = window.look("outside", "light", NARROW)
        let_in(window)
        window.wait("the page", lambda: window.path == "/ui-fscrypt/keys?fs=cephfs")
        window.sees("dashboard.boss, read-only")
        against += window.look("inside", "light", WIDE)
        # the session ends while a page moves, which lasts until somebody logs in again
        window.go("/ui-fscrypt/kms")
        window.driver.delete_all_cookies()
        let_in(window)
        window.wait("the page", lambda: window.path == "/ui-fscrypt/kms")
        window.sees("Time that key managers took")
        assert against == []
