"""The API's own server in a real ceph-mgr. Its operations are tried in qa/unit/api, on 20.2 in qa/web too."""

from qa.fakes.api_client import ROOT, served
from qa.lab.cluster import Cluster


def test_the_server_answers_those_who_may_ask(cluster: Cluster):
    with served(cluster) as server:
        shown = server.send("GET", f"{ROOT}/status", "read-only")
        assert (shown.status, shown.json["value"]["file_systems"][0]["name"]) == (200, "cephfs")
        assert server.send("GET", f"{ROOT}/status", None).status == 401
        page = server.send("GET", "/login", None)
        assert (page.status, b"<form" in page.body) == (200, True)
