"""Every command is an operation, and every operation is a command: walked by the table."""

import errno
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from mgr_fscrypt.api.exchange import MEDIA_TYPE, ROOT, Reply, Visitor
from mgr_fscrypt.api.needs import needs
from mgr_fscrypt.api.operations import BY_COMMAND, INCLUDED, OPERATIONS, Operation
from mgr_fscrypt.control import Result
from mgr_fscrypt.control.access import ROLES
from mgr_fscrypt.control.outages import DATABASE, KEY_MANAGER, SERVERS, SERVICE
from mgr_fscrypt.messages import KeyFacts, Policy, SubtreeFacts
from mgr_fscrypt.messages.service import BackendState, ServiceStatus
from mgr_fscrypt.store import Identity
from qa.fakes.api_door import DESCRIPTION, Door, told
from qa.load.promptness import prompt
from qa.unit.door.test_acts import WORDS
from qa.web.description import text

KEY = "00" * 16
SUBTREE = SubtreeFacts(7, "engine", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, KEY)).encode()
REPORTED = KeyFacts(KEY, "payroll", "acme", "active", 1, 1, 0, 0, 0, ()).encode()
AT = f"{ROOT}/subtrees/cephfs/subtree"


def adopt(door: Door, path: str = "/a", inode: int = 7) -> None:
    facts = json.loads(SUBTREE) | {"inode": inode}
    reply = door.send("PUT", f"{AT}/record?path={path}", body={"report": facts})
    assert reply.status == 200, reply.body


def test_what_the_command_line_can_do_the_api_can(door: Door):
    commands = {name.removeprefix("fscrypt ") for name in door.manager.commands}
    assert commands == BY_COMMAND.keys()
    assert len(OPERATIONS) == len(BY_COMMAND), "one operation for each command"
    assert len({(each.method, each.path) for each in OPERATIONS}) == len(OPERATIONS)


def test_what_may_change_something_is_no_get(door: Door):
    for name, command in door.manager.commands.items():
        assert (command.perm != "r") == BY_COMMAND[name.removeprefix("fscrypt ")].changes, name


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.command)
def test_no_operation_is_for_nobody(door: Door, operation: Operation):
    path = operation.path.replace("{", "").replace("}", "")
    reply = door.send(operation.method, f"{ROOT}{path}", None)
    assert (reply.status, told(reply)["code"]) == (401, "EACCES")
    assert "WWW-Authenticate" in reply.headers


@pytest.mark.parametrize(
    "path", ["/", "/subtrees", "/metrics", "/openapi.json", f"{ROOT}/openapi.json", "/x"]
)
def test_nothing_else_is_for_nobody_either(door: Door, path: str):
    reply = door.send("GET", path, None)
    assert reply.status in (303, 401)
    assert reply.status == 401 or reply.headers["Location"].startswith("/login?back=%2F")


def test_roles(door: Door):
    assert INCLUDED.keys() == set(ROLES)
    for role in ROLES:
        assert door.ask("/status", role)["version"]
        refused = door.send(
            "PUT",
            f"{AT}/record?path=/a",
            role,
            {
                "report": SUBTREE,
            },
        )
        assert (refused.status == 403) == ("operator" not in INCLUDED[role])
    act = door.ask("/audit?limit=10")["acts"][0]
    assert (act["command"], act["who"]) == ("subtree adopt", "token:security-officer.all@192.0.2.7")
    refusals = [act for act in door.ask("/audit")["acts"] if act["who"].startswith("token:read-only")]
    assert [each["code"] for each in refusals] == [1]


def test_an_answer_is_what_the_command_answers(door: Door):
    adopt(door)
    reply = door.send("GET", f"{ROOT}/subtrees?mode=engine")
    assert reply.headers["Content-Type"] == MEDIA_TYPE
    assert told(reply) == {
        "status": "",
        "value": json.loads(door.manager.run("subtree ls", mode="engine", format="json").stdout),
    }


def test_what_only_a_client_can_do_is_its_line(door: Door):
    reply = door.send("GET", f"{ROOT}/lines/key/create?fs=cephfs&key=payroll&kind=kms", "read-only")
    assert told(reply)["value"] == {"line": "cephfs-fscrypt key create payroll --with kms --fs cephfs"}


def test_a_refusal_says_what_happened_and_what_to_do(door: Door):
    reply = door.send("GET", f"{AT}?path=/nosuch")
    assert reply.status == 404
    assert told(reply)["code"] == "ENOENT"
    assert told(reply)["next"]


def test_a_long_list_comes_in_pages_that_are_not_too_large(door: Door):
    for number in range(6):
        adopt(door, f"/{'x' * 200}/{number}", 10 + number)
    seen, after = [], ""
    while True:
        page = door.ask(f"/subtrees?limit=2{after}")
        seen += [line["path"][-1] for line in page["subtrees"]]
        if page["following"] is None:
            break
        after = f"&after={page['following']}"
    assert seen == list("012345")


def test_a_page_of_long_paths_has_fewer_lines(door: Door):
    long = "/" + "/".join("y" * 250 for _ in range(15))
    for number in range(60):
        adopt(door, f"{long}/{number:02}", 10 + number)
    reply = door.send("GET", f"{ROOT}/subtrees")
    assert len(reply.body) <= 200_000
    page = told(reply)["value"]
    assert 10 < len(page["subtrees"]) < 60
    rest = door.ask(f"/subtrees?after={page['following']}")
    assert len(rest["subtrees"]) > 5


def test_an_etag_says_that_nothing_changed(door: Door):
    adopt(door)
    first = door.send("GET", f"{AT}?path=/a")
    again = door.send("GET", f"{AT}?path=/a", headers={"if-none-match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


def test_a_change_by_somebody_else_is_not_written_over(door: Door):
    adopt(door)
    tag = {"if-match": door.send("GET", f"{AT}?path=/a").headers["ETag"]}
    facts = json.loads(SUBTREE) | {"mode": "kernel"}
    assert door.send("PUT", f"{AT}/record?path=/a", body={"report": facts}).status == 200
    late = door.send("DELETE", f"{AT}/record?path=/a", headers=tag)
    assert (late.status, told(late)["code"]) == (412, "CHANGED")
    assert door.ask("/subtrees")["subtrees"]
    tag = {"if-match": door.send("GET", f"{AT}?path=/a").headers["ETag"]}
    assert door.send("DELETE", f"{AT}/record?path=/a", headers=tag).status == 200
    assert door.ask("/subtrees")["subtrees"] == []


def test_a_form_that_somebody_else_overtook_is_refused_with_who_it_was(door: Door):
    # it can be loaded where ceph-mgr's own modules are
    from mgr_fscrypt.api.caller import ApiCaller

    adopt(door)
    visitor = Visitor(Identity("ann", "token", "x", "security-officer", "", 1, 0), "192.0.2.9")
    caller = ApiCaller(door.manager.module.serving.api, visitor)
    named = {"fs": "cephfs", "path": "/a"}
    tag = caller.tag("subtree forget", named)
    assert tag
    assert caller.tag("subtree forget", {"fs": "cephfs"}) == "", "of nothing in particular"
    assert caller.tag("subtree forget", named | {"path": "/nosuch"}) == ""
    assert caller.tag("job pause", {"job": KEY}) == "", "no service tells how it is"
    assert caller.tag("gate set", {"fs": "cephfs", "rung": "isolate"}) == "", "of no gate in particular"
    assert caller.call_if("subtree forget", {"fs": 7}, tag).code == errno.EINVAL
    assert door.send("PUT", f"{AT}/record?path=/a", body={"report": json.loads(SUBTREE) | {"mode": "kernel"}})
    late = caller.call_if("subtree forget", named, tag)
    assert (late.code, "nothing was changed" in late.status) == (errno.ESTALE, True)
    assert door.ask("/subtrees")["subtrees"]
    assert caller.call_if("subtree forget", named, caller.tag("subtree forget", named)).code == 0
    assert door.ask("/subtrees")["subtrees"] == []


def given(door: Door, operation: Operation) -> Reply:
    """Ask for an operation with some value for all that it needs."""
    route = door.manager.module.serving.api.routes[operation.command]
    values = {each.name: WORDS[each.name] for each in route.parameters if each.needed}
    places: dict[str, dict[str, object]] = {"path": {}, "query": {}, "body": {}}
    for each in route.parameters:
        if each.needed:
            places[each.place][each.name] = values[each.name]
    path = operation.path.format(**places["path"])
    return door.send(
        operation.method, f"{ROOT}{path}?{urlencode(places['query'])}", body=places["body"] or None
    )


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.command)
def test_what_is_said_to_work_while_something_is_down_does(door: Door, operation: Operation):
    """There is no service here; and then no database either."""
    adopt(door)
    known = door.ask("/service")
    assert known["state"] != "serving"
    check_said(given(door, operation), operation, {SERVICE})
    # who asks is known by then, and that it is down
    door.ask("/status")
    door.manager.module.ready = False
    assert door.send("GET", f"{ROOT}/status").status == 503
    check_said(given(door, operation), operation, {SERVICE, DATABASE})
    door.manager.module.ready = True
    assert door.send("GET", f"{ROOT}/status").status == 200


def check_said(reply: Reply, operation: Operation, down: set[str]) -> None:
    if not needs(operation) & (down | {SERVERS}):
        assert reply.status != 503, told(reply)
    if reply.status == 503:
        said = told(reply)
        assert down <= {each["what"] for each in said["down"]}
        assert all(each["why"] and each["waits"] and each["works"] for each in said["down"])
        assert f"{operation.method} {operation.path}" not in said["works"]
        assert operation.path == "/service" or "GET /service" in said["works"]
        assert operation.path == "/subtrees" or ("GET /subtrees" in said["works"]) == (DATABASE not in down)


def test_who_is_bound_to_a_tenant_is_not_told_of_others_key_managers(door: Door):
    backends = tuple(
        BackendState(name, reachable=False, since=1.0, error="KmsUnreachableError", last=1.0, took=None)
        for name in ("vault-of-others", "hsm-of-others")
    )
    service = ServiceStatus(
        *("1", 7, "host", 1.0, "serving", 1.0, 3, "", "", 0.0),
        keys=(),
        tenant_keys=(),
        backends=backends,
        rotations=(),
        jobs=None,
    )
    door.manager.module.service._tell("serving", service=service)
    visitors = [
        Visitor(Identity("a", "token", "x", "operator", tenant, 1, 0), "here") for tenant in ("", "acme")
    ]
    api = door.manager.module.serving.api
    every, own = (list(api.outages(each)) for each in visitors)
    assert [each.name for each in every if each.what == KEY_MANAGER] == [
        "The key manager vault-of-others",
        "The key manager hsm-of-others",
    ]
    assert [each.name for each in own if each.what == KEY_MANAGER] == ["A key manager"]
    assert "others" not in str([(each.name, each.why) for each in own if each.what == KEY_MANAGER])
    assert {each.what for each in own} == {each.what for each in every}


def test_without_a_database_nobody_new_gets_in_and_is_told_that_nothing_answers(door: Door):
    token = {"authorization": f"Bearer {door.token('operator')}"}
    door.manager.module.access._known = None
    door.manager.module.ready = False
    reply = door.send("GET", f"{ROOT}/status", None, headers=token)
    assert (reply.status, told(reply)["works"], told(reply)["down"]) == (503, [], [])
    door.manager.module.ready = True
    assert door.send("GET", f"{ROOT}/status", None, headers=token).status == 200


def test_apply_twice_and_dry(door: Door):
    document = json.dumps(
        [json.loads(REPORTED)["key"] | {"kind": "fscrypt.key", "version": 1, "fs": "cephfs"}]
    )
    place = f"{ROOT}/resources"
    assert told(door.send("PUT", f"{place}?dry_run=true", raw=document.encode()))["value"]["outcomes"]
    assert door.ask("/keys")["keys"] == []
    for expected in ("changed", "unchanged"):
        reply = told(door.send("PUT", place, raw=document.encode()))
        assert [each["outcome"] for each in reply["value"]["outcomes"]] == [expected]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nosuch", 404),
        ("GET", "/../status", 404),
        ("GET", "/%2e%2e/status", 404),
        ("GET", "/subtrees/%2Fetc%2Fpasswd/subtree?path=/a", 404),
        ("PATCH", "/status", 405),
        ("GET", "/subtrees?limit=many", 400),
        ("GET", "/subtrees?limit=1&limit=2", 400),
        ("GET", "/subtrees?nosuch=1", 400),
        ("GET", "/subtrees/cephfs/subtree", 400),
        ("GET", "/subtrees?text=%ff", 400),
        ("GET", "/subtrees?text=%0", 400),
        ("GET", "/subtrees?text=a%00b", 400),
        ("GET", f"/subtrees?limit={'9' * 19}", 400),
        ("GET", "/audit?after=-5", 400),
        ("GET", "/keys/%E2%80%AE/%1b%5b2J", 404),
    ],
)
def test_bad_addresses(door: Door, method: str, path: str, status: int):
    reply = door.send(method, f"{ROOT}{path}")
    assert reply.status == status, reply.body
    assert told(reply)["detail"]


@pytest.mark.parametrize(
    ("text", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"report": NaN}', "application/json", 400),
        (b'{"report": 5}', "application/json", 400),
        (b'{"report": "a", "report": "b"}', "application/json", 400),
        (b'{"nosuch": "a"}', "application/json", 400),
        (b'{"path": "/b"}', "application/json", 400),
        (b'{"report": "\\ud800"}', "application/json", 400),
        (b'{"report": ' + b"[" * 40 + b"]" * 40 + b"}", "application/json", 400),
        (b'{"report": ' + b"[" * 100_000, "application/json", 400),
        (b'{"report": {"a": ' + b"[" * 31 + b"]" * 31 + b"}}", "application/json", 400),
        (b'{"report": ' + b"9" * 1_000_000 + b"}", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
    ],
)
def test_bad_bodies(door: Door, text: bytes, kind: str, status: int):
    path = f"{AT}/record?path=/a"
    reply = door.send("PUT", path, raw=text, headers={"content-type": kind})
    assert reply.status == status, reply.body
    assert door.ask("/subtrees")["subtrees"] == []


def test_a_body_costs_no_more_than_its_length(door: Door):
    """Who looks for its strings from each quote on takes minutes for this one, and hours for a MiB; ceph-mgr waits."""
    door.token("read-only")
    begun = time.monotonic()
    text = b'{"report": "' + b'\\"' * 40_000
    assert door.send("PUT", f"{AT}/record?path=/a", "read-only", raw=text).status == 400
    prompt(time.monotonic() - begun, 5.0, "a body that is no JSON")


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (MEDIA_TYPE, 200),
        ("*/*", 200),
        (f"text/html, {MEDIA_TYPE};q=0.5", 200),
        ("application/json", 415),
        ("application/vnd.ceph.api.v2.0+json", 415),
        ("", 415),
    ],
)
def test_versions(door: Door, accept: str, status: int):
    assert door.send("GET", f"{ROOT}/status", headers={"accept": accept}).status == status


def test_what_is_down_is_503_and_the_rest_answers(door: Door):
    door.ask("/status")
    assert door.send("GET", f"{ROOT}/jobs").status == 503, "there is no service here"
    door.manager.module.ready = False
    reply = door.send("GET", f"{ROOT}/subtrees")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    assert {"GET /service", "GET /doors"} <= set(told(reply)["works"])
    assert door.ask("/service")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.command)
def test_access_of_a_tenant_reaches_nothing_of_another(door: Door, operation: Operation):
    assert door.send("PUT", f"{ROOT}/keys/cephfs", body={"report": REPORTED}).status == 200
    adopt(door)
    needed = {
        each.name: each for each in door.manager.module.serving.api.routes[operation.command].parameters
    }
    values: dict[str, object] = {
        "fs": "cephfs",
        "path": "/a",
        "key": KEY,
        "job": KEY,
        "session": 7,
        "seconds": 5,
    }
    given = {name: values.get(name, "x") for name, each in needed.items() if each.needed or name == "path"}
    path = operation.path
    for name, value in given.items():
        path = path.replace(f"{{{name}}}", str(value))
    query = "&".join(f"{name}={value}" for name, value in given.items() if needed[name].place == "query")
    body = {name: value for name, value in given.items() if needed[name].place == "body"}
    place = f"{ROOT}{path}{'?' if query else ''}{query}"
    reply = door.send(operation.method, place, tenant="other", body=body or None)
    if operation.command == "api show" or "tenant" in needed:
        assert "payroll" not in reply.body.decode()
        assert '"/a"' not in reply.body.decode()
    elif operation.document:
        assert reply.status in (403, 415)
    else:
        assert reply.status == 403, reply.body


def test_access_of_a_tenant(door: Door):
    assert door.send("PUT", f"{ROOT}/keys/cephfs", body={"report": REPORTED}).status == 200
    adopt(door)
    own, at = {"role": "operator", "tenant": "acme"}, "/subtrees/cephfs/subtree?path=/a"
    assert door.ask(at, **own)["key"]["name"] == "payroll"
    assert [line["path"] for line in door.ask("/subtrees", **own)["subtrees"]] == ["/a"]
    assert door.ask("/keys/cephfs/payroll", **own)["tenant"] == "acme"
    assert door.send("GET", f"{ROOT}/subtrees?tenant=other", **own).status == 403
    assert door.send("DELETE", f"{ROOT}/subtrees/cephfs/subtree/record?path=/a", **own).status == 200
    refused = door.send("GET", f"{ROOT}{at}", **own)
    assert refused.status == 403, "what is not there is told as what is another's"
    assert not [act for act in door.ask("/audit")["acts"] if act["code"]], "looking is no act"
    more = {"name": "more", "role": "operator"}
    made = door.send("POST", f"{ROOT}/access/tokens", body=more, tenant="acme")
    assert told(made)["value"]["tenant"] == "acme"
    foreign = {"name": "most", "role": "operator", "tenant": "other"}
    assert door.send("POST", f"{ROOT}/access/tokens", body=foreign, tenant="acme").status == 403
    assert door.manager.run("api token create", "none", "operator", tenant="").retval < 0


def test_the_description_is_checked_in(door: Door):
    assert DESCRIPTION.read_text() == text(door.manager), (
        "write it anew: python3 -m qa.web.description > doc/openapi.json"
    )


def test_the_description_is_served_and_has_every_operation(door: Door):
    served = told(door.send("GET", "/openapi.json", "read-only"))
    found = {
        (method.upper(), path.removeprefix(ROOT)) for path, item in served["paths"].items() for method in item
    }
    assert found == {(each.method, each.path) for each in OPERATIONS}


def test_who_waits_too_long_for_a_turn_is_told_so(door: Door):
    api = door.manager.module.serving.api
    api._turns = threading.BoundedSemaphore(1)
    api._patience = 0.01
    door.ask("/status")
    api._turns.acquire()
    reply = door.send("GET", f"{ROOT}/status")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    api._turns.release()
    door.ask("/status")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/gates/cephfs/preview?path=/a&rung=isolate", None),
        ("POST", "/access/users", {"user": "admin", "role": "read-only"}),
        ("POST", "/access/certificates", {"name": "n", "subject": "CN=n", "role": "read-only"}),
    ],
)
def test_a_tenant_is_told_of_no_clients_and_lets_in_nobody_of_others(
    door: Door, method: str, path: str, body: dict[str, str] | None
):
    assert door.send("PUT", f"{ROOT}/keys/cephfs", body={"report": REPORTED}).status == 200
    adopt(door)
    assert door.send(method, f"{ROOT}{path}", body=body, tenant="acme").status == 403


def test_a_change_that_waits_holds_up_no_other(door: Door, monkeypatch: pytest.MonkeyPatch):
    waits, goes_on = threading.Event(), threading.Event()

    def slow(_fs: str, _name: str) -> Result:
        waits.set()
        assert goes_on.wait(30)
        return Result()

    monkeypatch.setattr(door.manager.module.key_managers, "test", slow)
    door.token("security-officer")
    with ThreadPoolExecutor(2) as both:
        one = both.submit(door.send, "POST", f"{ROOT}/kms/cephfs/vault/test")
        assert waits.wait(30)
        other = both.submit(adopt, door)
        try:
            other.result(5)
        finally:
            goes_on.set()
        assert one.result(30).status == 200


def test_a_change_waits_for_others_of_the_same_things_not_for_ever(door: Door):
    adopt(door)
    api = door.manager.module.serving.api
    api._patience = 0.1
    forget = api.routes["subtree forget"].operation
    with ThreadPoolExecutor(1) as other, api._alone(forget, {"fs": "cephfs"}):
        for headers in ({}, {"if-match": "*"}):
            reply = other.submit(door.send, "DELETE", f"{AT}/record?path=/a", headers=headers).result(30)
            assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    assert door.send("DELETE", f"{AT}/record?path=/a").status == 200
