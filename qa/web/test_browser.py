"""The pages in a real browser, against the module in a real ceph-mgr: what a change breaks most easily.

qa/web/whole_browser.py has the rest: `qa/run browser`.
"""

from qa.lab.cluster import Cluster
from qa.web.browser import NARROW, WIDE, Browser
from qa.web.visiting import log_in, moves, places

LOOKS = [("light", WIDE), ("dark", WIDE), ("light", NARROW)]
LOOKED_AT = ("overview", "key", "migration", "gates", "jobs", "create", "settings")


def test_who_is_not_logged_in_is_led_to_the_login_and_back(cluster: Cluster, window: Browser):
    log_in(cluster, window)
    window.press("Log out")
    window.go("/keys?fs=cephfs")
    assert window.path.startswith("/login")
    against = window.look("login")
    window.type("API token", "fscrypt_guessed")
    window.press("Log in")
    window.sees("Not logged in:")
    against += window.look("login-refused", "dark")
    token = cluster.ceph(
        "fscrypt", "api", "token", "create", "browser", "read-only", "--expires", "1d"
    ).split()[0]
    try:
        window.type("API token", token)
        window.press("Log in")
        assert window.path == "/keys?fs=cephfs"
        assert "read-only" in window.text
        # what it may not is not offered, and refused where it is asked for
        assert not [each for each in ("Destroy a key", "Read all keys anew") if each in window.text]
        window.go("/do/subtree/forget?fs=cephfs&path=/payroll")
        window.sees("Not allowed:")
    finally:
        cluster.ceph("fscrypt", "api", "access", "revoke", "browser")
    window.go("/keys")
    assert window.path.startswith("/login")
    assert against == []


def test_who_would_be_cut_off_is_told_before(cluster: Cluster, browser: Browser):
    with browser.without_scripts():
        browser.go("/do/gate/set?fs=cephfs&path=/research&rung=evict&grace=90")
        browser.press("Who would be cut off?")
        assert "1 session would be ended" in browser.text
        assert "client.legacy" in browser.text
        assert browser.field("Grace").get_attribute("value") == "90"
    assert browser.look("cut-off") == []
    # nothing was changed by it
    assert cluster.ceph_json("fscrypt", "gate", "show", "cephfs", "/research")["evictions"] == []


def test_a_job_is_watched(cluster: Cluster, browser: Browser):
    browser.go("/do/subtree/verify?fs=cephfs&path=/payroll")
    browser.type("Entries a second", "40")
    browser.press("Begin")
    assert browser.path.startswith("/jobs/show?job=")
    browser.sees(" of 1,")
    moves(browser)
    against = browser.look("running")
    browser.press("Pause")
    browser.sees("paused")
    browser.press("Resume")
    browser.sees("running")
    browser.press("Cancel")
    browser.press("Cancel it")
    browser.sees("cancelled")
    assert against == []


def test_pages_have_nothing_against_them(cluster: Cluster, browser: Browser):
    against: list[str] = []
    there = places(cluster)
    for number, name in enumerate(LOOKED_AT):
        browser.go(there[name])
        against += browser.look(name, *LOOKS[number % len(LOOKS)])
    assert against == []
