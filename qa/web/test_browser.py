"""The pages in a real browser, against the module in a real ceph-mgr: what a change breaks most easily.

qa/web/whole_browser.py has the rest: `qa/run browser`.
"""

from qa.lab.cluster import Cluster
from qa.web.browser import NARROW, WIDE, Browser
from qa.web.visiting import log_in, places

LOOKS = [("light", WIDE), ("dark", WIDE), ("light", NARROW)]
LOOKED_AT = ("overview", "key", "migration", "gates", "kms", "jobs", "create", "settings")


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


def test_a_key_manager_is_tested(browser: Browser, kms: str):
    browser.go("/kms")
    browser.sees(kms)
    browser.press("Test the connection")
    browser.sees(f"{kms} is being tried")
    # by the real server, which the service asks; nobody loads the page again
    browser.sees("✓ reachable")


def test_pages_have_nothing_against_them(cluster: Cluster, browser: Browser):
    against: list[str] = []
    there = places(cluster)
    for number, name in enumerate(LOOKED_AT):
        browser.go(there[name])
        against += browser.look(name, *LOOKS[number % len(LOOKS)])
    assert against == []
