"""The end of a key by two people."""

import errno

from mgr_fscrypt.api.exchange import ROOT
from mgr_fscrypt.control.destructions import GOOD
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
