"""All pages in a real browser, in both themes and narrow; what is done there, and script in every field of all forms.

`qa/run browser` runs this after test_browser.py, and keeps the pictures.
"""

import json
import os
import shlex
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from dashboard_ui.acts import ACTS, Act
from qa.demo.living import LETTERS
from qa.kms.bao import Bao
from qa.lab.cluster import Cluster
from qa.load.program import run
from qa.web.browser import NARROW, WIDE, Browser
from qa.web.visiting import moves, places

SCRIPT = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.mark.parametrize(
    ("theme", "width"), [("light", WIDE), ("dark", WIDE), ("light", NARROW), ("dark", NARROW)]
)
def test_no_page_has_anything_against_it(cluster: Cluster, browser: Browser, theme: str, width: int):
    against: list[str] = []
    for name, path in places(cluster).items():
        browser.go(path)
        against += browser.look(name, theme, width)
    assert against == []


def test_a_key_and_a_subtree(cluster: Cluster, browser: Browser):
    # a key is made on a client: the page has the line for it
    browser.go("/keys")
    browser.press("Create a key")
    browser.type("Key", "letters")
    browser.type("Opened by", "passphrase")
    browser.press("Show the line")
    browser.sees("cephfs-fscrypt key create letters --with passphrase --fs cephfs")
    against = browser.look("line")
    # what would be done is told while it is being typed
    path = f"/browser-{os.getpid()}"
    browser.go("/do/subtree/create?fs=cephfs&keep=%22%22")
    browser.type("Master key", "no-such-key")
    browser.type("Path", path)
    browser.sees("It would be refused")
    browser.type("Master key", "research")
    browser.sees("What would be done")
    against += browser.look("create-checked")
    browser.press("Create the subtree")
    browser.sees("Done:")
    against += browser.look("created", "dark")
    # the page moves by itself until it is made
    browser.sees("AES-256-XTS")
    assert "isolate" in browser.text
    # ... and goes, for who types its name
    browser.press("Remove")
    browser.type("To go on", "/other")
    browser.press("Remove for good")
    browser.sees("This is not what it is called")
    against += browser.look("mistyped")
    browser.type("To go on", path)
    browser.press("Remove for good")
    browser.sees("Done:")
    browser.wait("its end", lambda: path not in cluster.ceph("fscrypt", "subtree", "ls", "cephfs"))
    browser.go("/audit?text=" + path)
    browser.sees("subtree rm")
    assert against == []


def on_a_client(browser: Browser, bao: Bao, *more: str) -> None:
    """Run the line that the page shows, where the credentials of the key manager are."""
    browser.sees("Run this on a client")
    line = browser.driver.find_element("css selector", "section.notice code").text
    program, *words = shlex.split(line)
    assert program == "cephfs-fscrypt"
    answer = run(*words, *more, "--credentials", bao.credentials)
    assert answer.returncode == 0, answer.stderr.decode()


@pytest.fixture
def key(browser: Browser, bao: Bao, kms: str) -> str:
    """A key of a tenant, made by the lines of the pages."""
    tenant, name = (f"{word}-{uuid.uuid4().hex[:4]}" for word in ("contoso", "letters"))
    browser.go("/do/tenant/create?fs=cephfs")
    browser.type("Tenant", tenant)
    browser.type("Key manager", kms)
    browser.press("Show the line")
    on_a_client(browser, bao)
    browser.go("/do/key/create?fs=cephfs")
    browser.type("Key", name)
    browser.type("Opened by", "kms")
    browser.type("Tenant", tenant)
    browser.press("Show the line")
    on_a_client(browser, bao)
    return name


def generation(browser: Browser, key: str) -> int:
    """How often what is kept of a key was written, as its page says."""
    browser.go(f"/keys/show?fs=cephfs&key={key}")
    browser.sees("generation ")
    return int(browser.text.partition("generation ")[2].split()[0])


def test_a_key_is_rotated(browser: Browser, bao: Bao, key: str):
    made = generation(browser, key)
    browser.press("Rotate")
    browser.press("Show the line")
    browser.sees(f"cephfs-fscrypt key rewrap {key} kms --with kms --fs cephfs")
    on_a_client(browser, bao)
    assert generation(browser, key) > made
    # and the key of its tenant, under which it is wrapped anew
    tenant = browser.driver.find_element("xpath", "//dt[.='Tenant']/../dd").text
    browser.go(f"/do/tenant/rotate?fs=cephfs&tenant={tenant}")
    browser.press("Show the line")
    on_a_client(browser, bao)
    browser.press("Back")
    row = browser.driver.find_element("xpath", f"//th[.='{tenant}']/..")
    assert row.find_element("css selector", ".number").text == "2"


@contextmanager
def somebody(cluster: Cluster, browser: Browser, name: str, role: str) -> Iterator[None]:
    """Another person at the browser, with an access of their own."""
    token = cluster.ceph("fscrypt", "api", "token", "create", name, role, "--expires", "1d").split()[0]
    try:
        browser.press("Log out")
        browser.type("API token", token)
        browser.press("Log in")
        browser.sees(f"{name}, {role}")
        yield
    finally:
        cluster.ceph("fscrypt", "api", "access", "revoke", name)


@pytest.fixture
def two_people(cluster: Cluster) -> Iterator[None]:
    """The end of a key takes them."""
    option = ("mgr", "mgr/fscrypt/two_people")
    cluster.ceph("config", "set", *option, "true")
    yield
    cluster.ceph("config", "rm", *option)


def test_a_key_is_destroyed_by_two_people(
    cluster: Cluster, two_people: None, browser: Browser, bao: Bao, key: str
):
    page = f"/keys/show?fs=cephfs&key={key}"
    with somebody(cluster, browser, "anna", "key-admin"):
        browser.go(page)
        browser.press("Destroy a key")
        browser.press("Show the line")
        browser.sees("This is not what it is called")
        browser.type("To go on", key)
        browser.press("Show the line")
        browser.sees("Not done:")
        browser.go(page)
        browser.press("Ask for its end (two people)")
        browser.type("To go on", key)
        browser.press("Ask for it")
        browser.sees("nobody has approved yet")
        assert "Approve of the end of a key" not in browser.text, "one person is not two"
        against = browser.look("key-wished", "dark", NARROW)
    with somebody(cluster, browser, "boris", "security-officer"):
        browser.go(page)
        browser.press("Approve of the end of a key")
        browser.type("To go on", key)
        browser.press("Approve")
        browser.sees("approved by")
        against += browser.look("key-approved")
        browser.press("Destroy a key")
        browser.type("Waiting time", "20s")
        browser.type("To go on", key)
        browser.press("Show the line")
        browser.sees(f"cephfs-fscrypt key destroy {key} --wait 20s")
        against += browser.look("destroy-line")
        on_a_client(browser, bao, "--confirm", key)
        browser.press("Back")
        browser.sees("It is being destroyed.")
        left = browser.driver.find_element("css selector", "time[data-until]")
        before = left.text
        browser.wait("the countdown", lambda: left.text != before)
        browser.sees("for good: the waiting time is over.")
        against += browser.look("waited", "dark")
        browser.press("Finish the destruction")
        browser.type("To go on", key)
        browser.press("Show the line")
        on_a_client(browser, bao)
        browser.press("Back")
        state = browser.driver.find_element("css selector", ".facts .tag")
        assert state.text == "destroyed"
        against += browser.look("destroyed", "light", NARROW)
    assert against == []


def test_a_key_manager_that_hangs(browser: Browser, bao: Bao, kms: str):
    browser.go("/kms")
    browser.sees(kms)
    bao.pause()
    try:
        browser.press("Test the connection")
        browser.sees("✕ unreachable")
        against = browser.look("kms-unreachable", "dark", NARROW)
    finally:
        bao.resume()
    browser.press("Test the connection")
    browser.sees("✓ reachable")
    assert against == []


def test_a_job_is_watched(cluster: Cluster, browser: Browser):
    browser.go("/do/subtree/verify?fs=cephfs&path=/payroll")
    browser.type("Entries a second", "40")
    browser.press("Begin")
    assert browser.path.startswith("/jobs/show?job=")
    assert "Verification of /payroll" in browser.driver.title
    browser.sees(" of 1,")
    moves(browser)
    against = browser.look("running")
    browser.press("Pause")
    browser.sees("paused")
    browser.press("Resume")
    browser.sees("running")
    job = parse_qs(urlsplit(browser.path).query)["job"][0]
    browser.press("Cancel")
    cluster.ceph("fscrypt", "job", "pause", job)
    browser.press("Cancel it")
    browser.sees("somebody else changed it meanwhile")
    assert "job pause" in browser.text
    against += browser.look("overtaken", "light", NARROW)
    browser.press("Load it anew, with what you typed")
    browser.press("Cancel it")
    browser.sees("cancelled")
    assert against == []


def test_the_keyboard_is_enough(browser: Browser):
    browser.go("/subtrees")
    first = browser.driver.switch_to.active_element
    first.send_keys("\ue004")
    skip = browser.driver.switch_to.active_element
    assert skip.text == "Skip to the content"
    skip.send_keys("\ue007")
    browser.driver.switch_to.active_element.send_keys("\ue004")
    assert browser.driver.switch_to.active_element.text == "Create an encrypted subtree"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.driver.execute_script(outline) == "solid"


def test_a_token_of_another_session_is_refused(browser: Browser):
    browser.go("/do/subtree/forget?fs=cephfs&path=/payroll")
    browser.driver.execute_script(
        "document.querySelectorAll('form.act [name=csrf]').forEach(each => { each.value = 'x' })"
    )
    browser.press("Forget")
    found = json.loads(browser.text)
    assert "nothing was changed" in found["detail"]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.command)
def test_script_in_every_field_is_text(browser: Browser, act: Act):
    browser.go(act.address)
    browser.driver.execute_script(
        "document.querySelectorAll('details').forEach(each => { each.open = true })"
    )
    for field in act.fields:
        if field.kind in ("text", "number"):
            browser.type(field.label, SCRIPT)
    browser.press(act.button)
    assert "Not done:" in browser.text or "Nothing was changed." in browser.text, browser.text
    kept = [each for each in act.fields if each.kind == "text"]
    assert all(browser.field(each.label).get_attribute("value") == SCRIPT for each in kept)
    assert (
        browser.driver.execute_script("return document.querySelectorAll('main script, main img').length") == 0
    )


def done(browser: Browser) -> None:
    """What the page is about has come to its end; nobody loads it again."""
    browser.sees("✓ done")
    assert browser.path.startswith(f"/migrations/show?fs=cephfs&path={quote(LETTERS, safe='')}")


def test_a_migration_is_watched(cluster: Cluster, browser: Browser):
    """The last one here: it ends the session of the client that the others look at."""
    browser.go(f"/migrations/show?fs=cephfs&path={LETTERS}")
    browser.sees("Nothing keeps it from beginning.")
    browser.press("Start as planned")
    browser.unfold()
    browser.type("Files a second", "10")
    browser.tick("End the sessions")
    browser.press("Start")
    moves(browser)
    against = browser.look("migration-running")
    against += browser.look("migration-running", "dark", NARROW)
    done(browser)
    against += browser.look("migration-done", "dark")
    browser.wait("its record", lambda: LETTERS in cluster.ceph("fscrypt", "subtree", "ls", "cephfs"))

    browser.press("Verify")
    browser.press("Verify")
    done(browser)
    browser.sees("Different\n0")
    against += browser.look("migration-verified", "light", NARROW)

    browser.press("Roll back")
    browser.tick("End the sessions")
    browser.press("Check")
    browser.sees("What would be done")
    browser.press("Roll back")
    browser.sees("This is not what it is called")
    browser.type("To go on", LETTERS)
    browser.press("Roll back")
    done(browser)
    against += browser.look("migration-rolled-back")
    browser.wait("the end of its record", lambda: LETTERS not in cluster.ceph("fscrypt", "subtree", "ls"))

    browser.press("Go on, or with other limits")
    browser.type("Master key", "research")
    browser.unfold()
    browser.tick("End the sessions")
    browser.press("Start")
    done(browser)
    browser.press("Remove the old tree")
    browser.type("To go on", LETTERS)
    browser.press("Remove for good")
    done(browser)
    against += browser.look("migration-purged")
    browser.go(f"/subtrees/show?fs=cephfs&path={LETTERS}")
    browser.sees("AES-256-XTS")
    assert against == []
