"""The end of a key by two people."""

import errno
import json

from mgr_fscrypt.api.exchange import MEDIA_TYPE, ROOT, Reply, Request, User
from mgr_fscrypt.control.destructions import GOOD
from mgr_fscrypt.control.persons import LONGEST
from mgr_fscrypt.messages import KeyFacts
from qa.fakes.api_door import Door, told

KEY = "00" * 16
REPORTED = KeyFacts(KEY, "payroll", "acme", "active", 1, 1, 0, 0, 0, ()).encode()
WISH = f"{ROOT}/destructions/cephfs/payroll"
LINE = f"{ROOT}/lines/key/destroy?fs=cephfs&key=payroll"
FINISH = f"{ROOT}/lines/key/finish?fs=cephfs&key=payroll"


def prepare(door: Door) -> None:
    door.manager.module.options["two_people"] = True
    assert door.send("PUT", f"{ROOT}/keys/cephfs", body={"report": REPORTED}).status == 200


def test_one_asks_another_approves_then_the_line_is_told(door: Door):
    prepare(door)
    assert door.send("GET", LINE, "key-admin").status == 403
    assert door.send("POST", WISH, "operator").status == 403
    assert door.send("POST", WISH, "key-admin").status == 200
    assert door.send("GET", LINE, "key-admin").status == 403
    assert door.send("POST", f"{WISH}/approval", "key-admin").status == 403
    assert door.send("POST", f"{WISH}/approval").status == 200
    assert "key destroy payroll" in told(door.send("GET", LINE, "key-admin"))["value"]["line"]
    assert "key finish payroll" in told(door.send("GET", FINISH, "key-admin"))["value"]["line"]
    (wish,) = door.ask("/destructions")["destructions"]
    assert (wish["requested_by"], wish["approved_by"]) == ("key-admin.all", "security-officer.all")
    assert door.send("DELETE", WISH, "key-admin").status == 200
    assert door.send("GET", LINE, "key-admin").status == 403


def test_nobody_approves_of_their_own_wish(door: Door):
    prepare(door)
    assert door.send("POST", WISH).status == 200
    refused = door.send("POST", f"{WISH}/approval")
    assert (refused.status, "somebody else" in told(refused)["next"]) == (403, True)
    assert door.send("POST", WISH, "key-admin").status == 200, "it is asked for already"
    assert door.ask("/destructions")["destructions"][0]["requested_by"] == "security-officer.all"


def test_the_command_line_can_do_neither_and_is_told_no_line(door: Door):
    prepare(door)
    for command in ("key destruction request", "key destruction approve", "key destroy", "key finish"):
        reply = door.manager.run(command, "cephfs", "payroll")
        assert (reply.retval, "use the API" in reply.stderr, reply.stdout) == (-errno.EPERM, True, "")
    door.manager.module.options["two_people"] = False
    assert "cephfs-fscrypt key destroy payroll" in door.manager.run("key destroy", "cephfs", "payroll").stdout


def test_an_approval_is_not_good_for_ever(door: Door):
    prepare(door)
    door.send("POST", WISH, "key-admin")
    door.send("POST", f"{WISH}/approval")
    now = door.manager.module.destructions._clock()
    door.manager.module.destructions._clock = lambda: now + GOOD + 1
    assert door.send("GET", LINE, "key-admin").status == 403
    assert door.send("POST", f"{WISH}/approval").status == 404
    assert door.send("POST", WISH, "key-admin").status == 200


def let_in(door: Door, by: str | None, name: str, role: str = "security-officer") -> str:
    """A token that a token made, by its secret; None: the command line."""
    if by is None:
        return str(door.manager.run("api token create", name, role).stdout)
    reply = sent(door, by, "POST", f"{ROOT}/access/tokens", {"name": name, "role": role})
    assert reply.status == 200, reply.body
    return str(told(reply)["value"]["token"])


def sent(door: Door, token: str, method: str, path: str, body: object = None) -> Reply:
    said = {"authorization": f"Bearer {token}"}
    return door.send(method, path, None, body, headers=said)


def approved(door: Door, asks: str, approves: str) -> tuple[int, str]:
    """What becomes of a wish of one token that another one approves of, and why."""
    door.send("DELETE", WISH)
    assert sent(door, asks, "POST", WISH).status == 200
    reply = sent(door, approves, "POST", f"{WISH}/approval")
    return reply.status, told(reply).get("detail", "")


def test_who_let_in_the_other_one_is_no_second_person(door: Door):
    prepare(door)
    ann, bob = let_in(door, None, "ann"), let_in(door, None, "bob")
    hers = let_in(door, ann, "hers")
    of_hers = let_in(door, hers, "of-hers")
    also_hers = let_in(door, ann, "also-hers", "key-admin")
    assert approved(door, ann, bob) == (200, "")
    for asks, approves, words in (
        (ann, hers, "hers could be one person with ann, who asked for the end of payroll: ann let hers in"),
        (hers, ann, "ann let hers in"),
        (ann, of_hers, "ann let of-hers in"),
        (of_hers, ann, "ann let of-hers in"),
        (also_hers, hers, "ann let both of them in"),
        (also_hers, of_hers, "ann let both of them in"),
    ):
        status, why = approved(door, asks, approves)
        assert (status, words in why, "nothing was changed" in why) == (403, True, True), why
    assert approved(door, of_hers, bob) == (200, "")
    listed = {each["name"]: each["created_by"] for each in door.ask("/access")["access"]}
    assert (listed["ann"], listed["of-hers"]) == ([], ["hers", "ann"])
    shown = door.manager.run("api access ls").stdout
    assert "CREATED BY" in shown
    assert "the command line" in shown


def test_who_is_gone_still_stands_behind(door: Door):
    """An access that is ended, or made anew by the same name, does not make two people of one."""
    prepare(door)
    ann = let_in(door, None, "ann")
    hers = let_in(door, ann, "hers")
    assert sent(door, hers, "POST", WISH).status == 200
    assert sent(door, ann, "DELETE", f"{ROOT}/access/hers").status == 200
    let_in(door, None, "hers")
    assert sent(door, ann, "POST", f"{WISH}/approval").status == 403
    middle = let_in(door, ann, "middle")
    last = let_in(door, middle, "last")
    assert sent(door, last, "DELETE", f"{ROOT}/access/middle").status == 200
    assert approved(door, last, ann)[0] == 403


def test_whom_links_let_in_is_known_by_the_link(door: Door):
    prepare(door)
    ann, bob = let_in(door, None, "ann"), let_in(door, None, "bob")
    serving = door.manager.module.serving
    serving._doors = type(serving.doors())(address="https://here:1")

    def followed(link: str) -> str:
        identity = door.manager.module.access.followed(link.partition("=")[2])
        secret = serving._sessions.begin(identity, "192.0.2.7")
        cookie = {"cookie": f"__Host-fscrypt={secret}", "x-csrf-token": serving._sessions.of(secret).csrf}
        made = [
            door.send(
                "POST",
                f"{ROOT}/access/tokens",
                None,
                {"name": name, "role": "security-officer"},
                headers=cookie,
            )
            for name in (f"{identity.name[6:]}-a", f"{identity.name[6:]}-b")
        ]
        first, second = (str(told(each)["value"]["token"]) for each in made)
        assert approved(door, first, second)[0] == 403, "one link is one person"
        return first

    of_the_command_line = followed(door.manager.run("api login", "security-officer").stdout)
    of_ann = followed(
        told(sent(door, ann, "POST", f"{ROOT}/links", {"role": "security-officer"}))["value"]["link"]
    )
    assert approved(door, ann, of_ann)[0] == 403
    assert approved(door, bob, of_ann) == (200, "")
    assert approved(door, ann, of_the_command_line) == (200, "")
    assert door.manager.run("api token create", "login.first", "operator").retval == -errno.EINVAL


def test_a_user_of_the_dashboard_and_a_token_of_the_same_name_are_one(door: Door):
    prepare(door)
    inside = door.manager.module.serving.inside()
    assert door.manager.run("api user add", "Ann", "security-officer").retval == 0
    ann, bob = let_in(door, None, "ann"), let_in(door, None, "bob")
    for token, status in ((ann, 403), (bob, 200)):
        door.send("DELETE", WISH)
        assert sent(door, token, "POST", WISH).status == 200
        said = {"accept": MEDIA_TYPE}
        request = Request("POST", f"{WISH}/approval", headers=said, address="192.0.2.7")
        assert inside.respond(request, User("Ann", True, "a.b.c", False), "").status == status


def test_of_those_before_nobody_knows_who_let_them_in(door: Door):
    prepare(door)
    ann, bob, new = let_in(door, None, "ann"), let_in(door, None, "bob"), let_in(door, None, "new")
    # as the step of the schema leaves them
    door.manager.module._connection.execute(
        "UPDATE Identity SET created_by = '?' WHERE name IN ('ann', 'bob')"
    )
    door.manager.module.access._known = None
    status, why = approved(door, ann, bob)
    assert (status, "it was not kept who let them in" in why) == (403, True)
    assert approved(door, ann, new) == (200, "")
    assert "not known" in door.manager.run("api access ls").stdout


def test_a_line_has_an_end(door: Door):
    last = let_in(door, None, "a0")
    for number in range(LONGEST):
        last = let_in(door, last, f"a{number + 1}")
    body = {"name": "more", "role": "operator"}
    refused = sent(door, last, "POST", f"{ROOT}/access/tokens", body)
    assert (refused.status, "nearer to the command line" in told(refused)["next"]) == (403, True)
    assert sent(door, last, "POST", f"{ROOT}/links", {"role": "operator"}).status == 403


def test_what_is_declared_removed_takes_two_people_too(door: Door):
    """`apply` tells no line that `key destroy` does not."""
    prepare(door)
    gone = [{"kind": "fscrypt.key", "version": 1, "fs": "cephfs", "identifier": KEY, "intent": "removed"}]
    path, text = f"{ROOT}/resources", json.dumps(gone)
    refused = told(door.send("PUT", path, body=gone))["value"]["outcomes"][0]
    assert (refused["outcome"], "takes two people" in refused["status"]) == ("refused", True)
    said = door.manager.run("apply", inbuf=text)
    assert "cephfs-fscrypt" not in said.stdout + said.stderr
    door.send("POST", WISH, "key-admin")
    door.send("POST", f"{WISH}/approval")
    told_of = told(door.send("PUT", path, body=gone))["value"]["outcomes"][0]
    assert (told_of["outcome"], f"key destroy {KEY}" in told_of["status"]) == ("client", True)
