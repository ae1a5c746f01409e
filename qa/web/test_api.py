"""The API as cloud tooling meets it: a client made from its description, generated requests, and bad behaviour."""

import json
import os
import shlex
import socket
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.migrate.trees import PlainTree
from qa.cluster.test_manager import forget
from qa.cluster.test_subtree_acts import serving
from qa.fakes.api_client import ACCEPT, ROOT, ApiServer, trusting
from qa.fakes.engine_cases import remove
from qa.kms.bao import Bao
from qa.kms.certificates import Authority
from qa.lab.cluster import Cluster
from qa.load.program import done, refused, run
from qa.load.promptness import prompt

TOOLS = Path(sys.executable).parent
DESCRIPTION = Path(__file__).resolve().parents[2] / "doc" / "openapi.json"


def test_the_description_is_openapi(server: ApiServer):
    served = server.send("GET", "/openapi.json", "read-only").json
    assert list(OpenAPIV31SpecValidator(served).iter_errors()) == []
    assert served == json.loads(DESCRIPTION.read_text())


def test_generated_requests_meet_no_mistake(server: ApiServer, tmp_path: Path):
    """A sample; `qa/run soak api` gives many more."""
    certificate = tmp_path / "certificate.pem"
    place = urlsplit(server.address)
    certificate.write_text(ssl.get_server_certificate((place.hostname or "", place.port or 0)))
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_headers_conformance,response_schema_conformance"
    )
    words = (
        *("schemathesis", "run", f"{server.address}/openapi.json", "--tls-verify", str(certificate)),
        *("-H", f"Authorization: Bearer {server.token('security-officer')}", "-H", f"Accept: {ACCEPT}"),
        *("--phases", "fuzzing", "-n", "1", "--no-shrink", "-c", checks, "--rate-limit", "auto"),
    )
    done = subprocess.run(
        [str(TOOLS / words[0]), *words[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    # they may have had the names of tokens from an answer, and revoked them
    server.forget()
    assert done.returncode == 0, done.stdout[-5000:]
    assert "generated" in done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """The package of a client, made from what is checked in."""
    folder = tmp_path_factory.mktemp("client")
    subprocess.run(
        [
            str(TOOLS / "openapi-python-client"),
            *(
                "generate",
                "--path",
                str(DESCRIPTION),
                "--output-path",
                str(folder / "made"),
                "--meta",
                "none",
            ),
        ],
        check=True,
        capture_output=True,
        timeout=300,
        cwd=folder,
    )
    sys.path.insert(0, str(folder))
    yield lambda name: import_module(f"made.{name}")
    sys.path.remove(str(folder))


class Tooling:
    """Cloud tooling: what a generated client gives, and hosts on which it runs the lines that it is told."""

    def __init__(self, made: Callable[[str], Any], client: Any, cluster: Cluster, bao: Bao) -> None:
        self._made = made
        self._client = client
        self._cluster = cluster
        self._credentials = ("--credentials", bao.credentials)

    def call(
        self, tag: str, operation: str, *path: str, body: Mapping[str, Any] | None = None, **query: Any
    ) -> Any:
        """What an operation answers."""
        module = self._made(f"api.{tag}.{operation}")
        kinds = {name: value for name, value in vars(module).items() if name.endswith("Body")}
        said = {"body": next(iter(kinds.values())).from_dict(body)} if body is not None else {}
        return module.sync(*path, client=self._client, **said, **query).to_dict()

    def value(self, tag: str, operation: str, *path: str, **said: Any) -> Any:
        """The same, of one that is not refused."""
        answer = self.call(tag, operation, *path, **said)
        assert "value" in answer, answer
        return answer["value"]

    def on_a_host(self, operation: str, *more: str, tag: str = "key", **query: Any) -> None:
        """Ask for a line, and run it where the credentials of the key manager are."""
        program, *words = shlex.split(self.value(tag, operation, fs="cephfs", **query)["line"])
        assert program == "cephfs-fscrypt"
        answer = run(*words, *more, *self._credentials)
        assert answer.returncode == 0, answer.stderr.decode()

    def migrated(self, operation: str, path: str, **said: Any) -> Any:
        """The result of a job about a migration, once it has come."""
        job = self.call("migrate", operation, "cephfs", path=path, **said)["task"]["id"]

        def over() -> bool:
            shown = self.value("job", "job_show", job)
            assert shown["state"] in ("queued", "running", "waiting", "done"), shown
            return bool(shown["state"] == "done")

        self._cluster.wait(f"{operation} of {path}", over, timeout=180)
        return self.value("job", "job_show", job)["result"]


@pytest.fixture
def tooling(server: ApiServer, cluster: Cluster, bao: Bao, made: Callable[[str], Any]) -> Iterator[Tooling]:
    client = made("client").AuthenticatedClient(
        base_url=server.address,
        token=server.token("security-officer"),
        headers={"Accept": ACCEPT},
        verify_ssl=server.context,
    )
    with client:
        yield Tooling(made, client, cluster, bao)


@pytest.fixture
def directory(cluster: Cluster) -> Iterator[str]:
    """One with a tree in the clear in it."""
    path = f"/test-web-{uuid.uuid4().hex[:8]}"
    with connect(Access()) as mount:
        tree = PlainTree(mount)
        for each in (path, f"{path}/old"):
            tree.mkdir(each.encode(), 0o755)
        with tree.open(f"{path}/old/f".encode(), os.O_RDWR | os.O_CREAT, 0o644) as file:
            file.pwrite(b"old contents", 0)
    yield path
    forget(cluster, "--below", path)
    with connect(Access()) as mount:
        remove(mount, path.encode())


@pytest.fixture
def node(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[str | Path, ...]]:
    """An entity with caps for the data, and none for wrapped keys."""
    name = f"client.node-{uuid.uuid4().hex[:8]}"
    caps = ("mon", "allow r", "mds", "allow rw", "osd", "allow rw pool=cephfs_data")
    keyring = tmp_path / "keyring"
    keyring.write_text(cluster.ceph("auth", "get-or-create", name, *caps))
    yield ("--name", name, "--keyring", keyring)
    cluster.ceph("auth", "rm", name)


def test_a_generated_client_does_the_work_of_cloud_tooling(
    cluster: Cluster,
    tooling: Tooling,
    bao: Bao,
    kms: str,
    directory: str,
    node: tuple[str | Path, ...],
    tmp_path: Path,
):
    """From the key of a tenant to its end. A node opens what was made and what was migrated by its own identity at the
    key manager: wrapped keys come by the API, once."""
    tenant, key = (f"{word}-{uuid.uuid4().hex[:8]}" for word in ("acme", "key"))
    by = ("--credentials", bao.credentials, "--open", "kms")
    made, old = f"{directory}/made", f"{directory}/old"
    (tmp_path / "f").write_bytes(b"contents")
    with serving(cluster, tmp_path, "mgr_fscrypt.service", "--credentials", str(bao.credentials)):
        tooling.on_a_host("tenant_create", tag="tenant", tenant=tenant, kms=kms)
        tooling.on_a_host("key_create", key=key, kind="kms", tenant=tenant)
        assert tooling.value("key", "key_show", "cephfs", key)["tenant"] == tenant
        wish = {"path": made, "master_key": key, "unprotected": True}
        assert tooling.call("subtree", "subtree_create", "cephfs", body=wish)["task"]

        def listed() -> list[str]:
            found = tooling.value("subtree", "subtree_ls", below=directory, limit=1)["subtrees"]
            return [line["path"] for line in found]

        cluster.wait("the subtree", lambda: listed() == [made])
        done("put", tmp_path / "f", made, *by)

        # a node, and what it is not given
        tooling.on_a_host("key_disable", key=key)
        refusal = tooling.call("subtree", "subtree_bundle", "cephfs", path=made)
        assert (refusal["code"], "disabled" in refusal["detail"]) == ("EPERM", True)
        tooling.on_a_host("key_enable", key=key)
        told = tooling.value("subtree", "subtree_bundle", "cephfs", path=made)
        assert told["mount"].endswith("--bundle FILE --open kms")
        bundle = tmp_path / "bundle"
        bundle.write_text(told["bundle"])
        assert run("cat", f"{made}/f", *by, *node).returncode != 0, "no caps for the wrapped keys"
        assert "needs --open" in refused(2, "cat", f"{made}/f", "--bundle", bundle, *node)
        assert done("cat", f"{made}/f", *by, "--bundle", bundle, *node) == "contents"

        plan = tooling.migrated("migrate_plan", old, body={"master_key": key})
        assert (plan["clear"], plan["files"]) == (True, 1)
        body = {"master_key": key, "plan": plan["plan"], "evict": True}
        tooling.migrated("migrate_start", old, body=body)
        assert tooling.migrated("migrate_verify", old, body={})["differ"] == 0
        assert done("cat", f"{old}/f", *by, "--bundle", bundle, *node) == "old contents"
        tooling.migrated("migrate_purge", old)

        tooling.on_a_host("key_destroy", "--confirm", key, key=key, wait="0s")
        tooling.on_a_host("key_finish", key=key)
        assert tooling.value("key", "key_show", "cephfs", key)["state"] == "destroyed"
        assert tooling.call("subtree", "subtree_bundle", "cephfs", path=made)["code"] == "EPERM"
        assert run("cat", f"{made}/f", *by).returncode != 0
    assert tooling.call("subtree", "subtree_show", "cephfs", path="/nosuch")["code"] == "ENOENT"


def test_clients_that_are_slow_hold_up_nobody(server: ApiServer):
    place = urlsplit(server.address)
    server.token("read-only")
    silent = [socket.create_connection((place.hostname or "", place.port or 0)) for _ in range(20)]
    dribbling = server.context.wrap_socket(
        socket.create_connection((place.hostname or "", place.port or 0)), server_hostname=place.hostname
    )
    dribbling.sendall(b"GET /login HTTP/1.1\r\nHost: x\r\n")
    try:
        begun = time.monotonic()
        assert server.send("GET", f"{ROOT}/doors", "read-only").status == 200
        prompt(time.monotonic() - begun, 3.0, "an answer beside slow clients")
    finally:
        for each in (*silent, dribbling):
            each.close()


def test_bodies_that_are_too_large(server: ApiServer):
    place = f"{ROOT}/subtrees/cephfs/subtree/record?path=/x"
    assert server.send("PUT", place, body=b"x" * (1 << 20)).status == 400
    assert server.send("PUT", place, headers={"Content-Length": "99999999"}).status == 413


def test_a_client_certificate(server: ApiServer, authority: Authority):
    def asked(name: str, *, expired: bool = False) -> int:
        context = trusting(server.address)
        pair = authority.issue(name, client=True, expired=expired)
        context.load_cert_chain(pair.certificate, pair.key)
        return server.send("GET", f"{ROOT}/status", None, context=context).status

    assert asked("node1") == 401, "it is believed, and nobody let it in"
    body = {"name": "node1", "subject": "CN=node1", "role": "read-only", "expires": "1h"}
    assert server.send("POST", f"{ROOT}/access/certificates", body=body).status == 200
    try:
        assert asked("node1") == 200
        assert asked("node2") == 401
        with pytest.raises(OSError, match=r"certificate|reset|closed|EOF|[Bb]roken pipe"):
            asked("node1", expired=True)
    finally:
        assert server.send("DELETE", f"{ROOT}/access/node1").status == 200
    assert asked("node1") == 401
