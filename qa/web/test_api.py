"""The API as cloud tooling meets it: a client made from its description, generated requests, and bad behaviour."""

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from mgr_fscrypt.messages import KeyFacts, Policy, SubtreeFacts
from qa.fakes.api_client import ACCEPT, ROOT, ApiServer, trusting
from qa.kms.certificates import Authority
from qa.load.promptness import prompt

TOOLS = Path(sys.executable).parent
DESCRIPTION = Path(__file__).resolve().parents[2] / "doc" / "openapi.json"
KEY = "5e" * 16
FACTS = SubtreeFacts(0x7FFF_0000_0077, "engine", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, KEY))
REPORTED = KeyFacts(KEY, "test-web", "acme-web", "active", 1, 1, 0, 0, 0, ())
PATH = "/test-web/a"


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
def tooling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
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


def test_a_generated_client_does_the_work_of_cloud_tooling(server: ApiServer, tooling: Any):
    made_client = tooling("client").AuthenticatedClient(
        base_url=server.address,
        token=server.token("security-officer"),
        headers={"Accept": ACCEPT},
        verify_ssl=server.context,
    )

    def call(tag: str, operation: str, *path: str, body: dict[str, Any] | None = None, **query: Any) -> Any:
        module = tooling(f"api.{tag}.{operation}")
        kinds = {name: value for name, value in vars(module).items() if name.endswith("Body")}
        said = {"body": next(iter(kinds.values())).from_dict(body)} if body is not None else {}
        answer = module.sync(*path, client=client, **said, **query)
        return answer.to_dict()

    with made_client as client:
        made = call("tenant", "tenant_create", fs="cephfs", tenant="acme-web", kms="vault")
        assert made["value"]["line"].startswith("cephfs-fscrypt tenant create acme-web")
        report = json.loads(REPORTED.encode())
        call("key", "key_adopt", "cephfs", body={"report": json.dumps(report)})
        assert call("key", "key_show", "cephfs", "test-web")["value"]["tenant"] == "acme-web"
        facts = FACTS.encode()
        call("subtree", "subtree_adopt", "cephfs", path=PATH, body={"report": facts})
        try:
            listed = call("subtree", "subtree_ls", below="/test-web", limit=1)["value"]["subtrees"]
            assert [line["path"] for line in listed] == [PATH]
            refused = call("subtree", "subtree_show", "cephfs", path="/nosuch")
            assert refused["code"] == "ENOENT"
            task = call("scan", "scan", "cephfs", body={})["task"]
            deadline = time.monotonic() + 120
            while (job := call("job", "job_show", task["id"])["value"])["state"] != "done":
                assert job["state"] in ("queued", "running", "waiting"), job
                assert time.monotonic() < deadline, job
                time.sleep(0.2)
            assert call("key", "key_destroy", fs="cephfs", key="test-web")["value"]["line"].startswith(
                "cephfs-fscrypt key destroy"
            )
        finally:
            call("subtree", "subtree_forget", "cephfs", path=PATH)


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
