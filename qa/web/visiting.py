"""Ways through the pages that several tests take."""

from qa.demo.living import LETTERS, link
from qa.lab.cluster import Cluster
from qa.web.browser import Browser


def log_in(cluster: Cluster, window: Browser) -> None:
    window.go("/")
    if window.path.startswith("/login"):
        window.driver.get(link(cluster))
        window.press("Log in")
        window.sees("Overview")


def moves(browser: Browser) -> None:
    """Progress is seen that nobody loads the page again for."""

    def shown() -> str:
        return str(browser.driver.find_element("css selector", ".progress span").text)

    browser.driver.execute_script("window.stayed = true")
    browser.wait("something counted", shown)
    before = shown()
    browser.wait("progress", lambda: shown() != before)
    assert browser.driver.execute_script("return window.stayed")


def job_of(cluster: Cluster, kind: str) -> str:
    jobs = cluster.ceph_json("fscrypt", "job", "ls")["jobs"]
    return str(next(each["id"] for each in jobs if each["kind"] == kind))


def places(cluster: Cluster) -> dict[str, str]:
    """An address for each page, of things that are there."""
    cluster.wait("the client", lambda: cluster.ceph_json("fscrypt", "client", "ls")["clients"])
    session = cluster.ceph_json("fscrypt", "client", "ls")["clients"][0]["session"]
    return {
        "overview": "/",
        "subtrees": "/subtrees",
        "subtree": "/subtrees/show?fs=cephfs&path=/payroll",
        "keys": "/keys",
        "key": "/keys/show?fs=cephfs&key=payroll",
        "key-ending": "/keys/show?fs=cephfs&key=merger",
        "kms": "/kms",
        "clients": "/clients",
        "client": f"/clients/show?fs=cephfs&session={session}",
        "gates": "/gates",
        "gate": "/gates?fs=cephfs&path=/research",
        "jobs": "/jobs",
        "job": f"/jobs/show?job={job_of(cluster, 'verify')}",
        "migration": f"/migrations/show?fs=cephfs&path={LETTERS}",
        "audit": "/audit",
        "verified": "/audit/verify",
        "doctor": "/doctor",
        "settings": "/settings",
        "lost": "/nowhere",
        "create": "/do/subtree/create?fs=cephfs&path=/new&master_key=research",
        "remove": "/do/subtree/rm?fs=cephfs&path=/payroll",
    }
