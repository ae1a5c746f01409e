"""Forms: what is typed, checked, done, and told afterwards."""

import errno
import inspect
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboard_ui.acts import ACTS, BY_COMMAND, Act
from dashboard_ui.pages import Pages
from dashboard_ui.visit import Answer, Outage, Page
from qa.fakes.manager import loaded
from qa.fakes.visitors import FakeCaller, visit
from qa.unit.dashboard.markup import Markup

PAGES = Pages()
SCRIPT = '"><script>alert(1)</script>'
NAMES = [act.command for act in ACTS]
with loaded() as module:
    COMMANDS = module.commands


def posted(caller: FakeCaller, command: str, **form: str) -> Page:
    return PAGES.respond(visit(caller, BY_COMMAND[command].address, method="POST", form=form))


def markup(page: Page) -> Markup:
    assert isinstance(page.body, str)
    return Markup(page.body)


def filled(act: Act, **other: str) -> dict[str, str]:
    """A form that somebody has filled in as it is meant."""
    values = {
        each.name: "7" if each.kind == "number" else next(filter(None, each.choices), "word")
        for each in act.fields
        if each.required
    }
    return {**values, **({"typed": values[act.typed]} if act.typed else {}), **other}


def parameters(command: str) -> Mapping[str, inspect.Parameter]:
    """What a command of the manager takes."""
    return inspect.signature(COMMANDS[f"fscrypt {command}"].func).parameters


@pytest.mark.parametrize("act", ACTS, ids=NAMES)
def test_a_form_is_that_of_its_command(act: Act):
    known = parameters(act.command)
    assert {each.name for each in act.fields} <= known.keys()
    asked = {
        name
        for name, each in known.items()
        if each.default is inspect.Parameter.empty and name not in ("self", "_end_positional_")
    }
    assert asked <= {each.name for each in act.fields if each.required}
    assert act.confirm == (act.typed != "" and "confirm" in known)
    if act.rehearsal == act.command:
        assert "dry_run" in known
    elif act.rehearsal:
        assert {each.name for each in act.fields} <= parameters(act.rehearsal).keys()


@pytest.mark.parametrize("act", [act for act in ACTS if not act.once], ids=lambda act: act.command)
def test_what_is_done_is_told_by_the_page_that_follows(act: Act):
    caller = FakeCaller({act.command: Answer(0, "it is <done>")})
    page = posted(caller, act.command, **filled(act))
    assert page.status == 303
    assert [command for command, _ in caller.asked] == [act.command]
    place = urlsplit(page.headers["Location"])
    query = {name: values[0] for name, values in parse_qs(place.query).items()}
    shown = PAGES.respond(visit(FakeCaller({}), place.path, query=query))
    assert "Done: it is <done>" in markup(shown).text
    forged = PAGES.respond(visit(FakeCaller({}), place.path, query={**query, "said": "pay me"}))
    assert "pay me" not in markup(forged).text


@pytest.mark.parametrize("act", ACTS, ids=NAMES)
def test_what_is_missing_is_told_beside_its_field_and_nothing_is_done(act: Act):
    caller = FakeCaller({})
    page = posted(caller, act.command)
    assert page.status == (422 if any(each.required for each in act.fields) else 404)
    needed = {f"f-{each.name}" for each in act.fields if each.required}
    wrong = {given.get("id") for _, given in markup(page).elements if given.get("aria-invalid") == "true"}
    assert needed <= wrong
    assert all(command != act.command for command, _ in caller.asked)


@pytest.mark.parametrize("act", ACTS, ids=NAMES)
def test_what_was_typed_is_kept_as_text_where_it_is_refused(act: Act):
    values = {each.name: SCRIPT for each in act.fields}
    page = posted(
        FakeCaller({act.command: Answer(errno.EINVAL, f"no: {SCRIPT}")}), act.command, **values, typed=SCRIPT
    )
    assert page.status == 422
    found = markup(page)
    assert [each for each in found.named("script") if "src" not in each] == []
    kept = {each.get("name"): each.get("value") for each in found.named("input")}
    texts = [each for each in act.fields if each.kind in ("text", "number")]
    assert all(kept[each.name] == SCRIPT for each in texts)


@pytest.mark.parametrize("act", [act for act in ACTS if act.typed], ids=lambda act: act.command)
def test_what_is_grave_has_to_be_named_once_more(act: Act):
    caller = FakeCaller({act.command: Answer(0, "gone")})
    for typed in ("", "wor", "WORD"):
        page = posted(caller, act.command, **{**filled(act), "typed": typed})
        assert page.status == 422
        assert "This is not what it is called" in markup(page).text
    assert caller.asked == []
    posted(caller, act.command, **filled(act))
    ((_, arguments),) = caller.asked
    assert "typed" not in arguments
    assert arguments.get("confirm") == ("word" if act.confirm else None)


@pytest.mark.parametrize("act", [act for act in ACTS if act.rehearsal], ids=lambda act: act.command)
def test_a_check_changes_nothing(act: Act):
    caller = FakeCaller({act.rehearsal: Answer(0, "would do it", {})})
    page = posted(caller, act.command, **filled(act), rehearse="yes")
    assert page.status == 200
    assert "would do it" in markup(page).text
    ((command, arguments),) = caller.asked
    assert command == act.rehearsal
    assert arguments.get("dry_run", False) == (act.rehearsal == act.command)


def test_a_check_that_is_refused_says_so():
    caller = FakeCaller({"gate preview": Answer(22, "no such rung")})
    page = posted(caller, "gate set", **filled(BY_COMMAND["gate set"]), rehearse="yes")
    assert "It would be refused" in markup(page).text


def test_what_is_shown_once_goes_into_no_address():
    made = {"name": "tooling", "role": "operator", "token": "fscrypt_secret"}
    page = posted(FakeCaller({"api token create": made}), "api token create", name="tooling", role="operator")
    assert page.status == 201
    assert "Location" not in page.headers
    assert page.headers["Cache-Control"] == "no-store"
    assert "fscrypt_secret" in markup(page).text


def test_the_line_for_a_client_is_shown():
    line = "cephfs-fscrypt key create payroll --with kms --fs cephfs"
    caller = FakeCaller({"key create": Answer(errno.EOPNOTSUPP, f"run on a client: {line}", {"line": line})})
    page = posted(caller, "key create", **filled(BY_COMMAND["key create"]))
    assert page.status == 200
    assert f"On a client{line}" in markup(page).text


def test_a_job_that_is_begun_is_what_follows():
    begun = {"id": "ab" * 16, "kind": "verify", "state": "queued"}
    page = posted(FakeCaller({"subtree verify": begun}), "subtree verify", fs="cephfs", path="/a")
    assert page.headers["Location"].startswith(f"/jobs/show?job={'ab' * 16}&said=")


def test_one_page_follows_a_migration_through_all_of_its_jobs():
    begun = {"id": "ab" * 16, "kind": "migrate", "state": "queued"}
    for command in ("migrate start", "migrate verify", "migrate rollback", "migrate purge"):
        page = posted(
            FakeCaller({command: begun}), command, **filled(BY_COMMAND[command], path="/a", typed="/a")
        )
        assert page.headers["Location"].startswith("/migrations/show?fs=word&path=%2Fa&said=")


@pytest.mark.parametrize(
    ("named", "follows"),
    [
        ({"path": "/a"}, "/subtrees/show?fs=cephfs&path=%2Fa&"),
        ({"subvolume": "a"}, f"/jobs/show?job={'ab' * 16}&"),
    ],
)
def test_a_subtree_that_is_being_made_is_what_follows_or_its_first_job(named: dict[str, str], follows: str):
    begun = {"job": {"id": "ab" * 16, "kind": "create", "state": "queued"}, "gate": None}
    caller = FakeCaller({"subtree create": begun})
    page = posted(caller, "subtree create", fs="cephfs", master_key="k", **named)
    assert page.headers["Location"].startswith(follows)


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "9" * 40, "\u0663", "1e3"])
def test_a_number_has_to_be_one(text: str):
    caller = FakeCaller({})
    page = posted(caller, "subtree verify", fs="cephfs", path="/a", rate=text)
    assert page.status == 422
    assert "This has to be a number" in markup(page).text
    assert caller.asked == []


def test_numbers_and_flags_go_to_the_command_as_such():
    caller = FakeCaller({"scan": Answer(0, "")})
    posted(caller, "scan", fs="cephfs", rate="20", register="yes")
    assert caller.asked == [("scan", {"fs": "cephfs", "rate": 20, "register": True})]


def test_two_quotes_are_a_word_that_is_empty():
    caller = FakeCaller({"gate set": Answer(0, "")})
    posted(caller, "gate set", fs="cephfs", path="/a", rung="isolate", keep='""', admit="")
    assert caller.asked == [("gate set", {"fs": "cephfs", "path": "/a", "rung": "isolate", "keep": ""})]


def test_what_somebody_else_changed_meanwhile_is_told_and_what_was_typed_is_kept():
    """Nothing is done; who changed it is told, and a link loads the form anew with what was typed."""
    acts = [
        {
            "at": at,
            "who": "token:ann@192.0.2.9",
            "command": "subtree adopt",
            "result": "<b>registered",
        }
        | {"code": code, "about": about}
        for at, code, about in (
            (4_000_000_000, 0, "cephfs /a"),
            (4_000_000_000, 0, "cephfs /other"),
            (4_000_000_000, 1, "cephfs /a"),
            (1_700_000_000, 0, "cephfs /a"),
        )
    ]
    caller = FakeCaller(
        {"subtree rm": Answer(0, "gone"), "audit ls": {"acts": acts}}, tags={"subtree rm": '"1"'}
    )
    act = BY_COMMAND["subtree rm"]
    page = PAGES.respond(visit(caller, act.address, query={"fs": "cephfs", "path": "/a"}))
    (form,) = [each for each in markup(page).forms if each.action == act.address]
    assert form.fields["tag"] == '"1"'
    caller.tags = {"subtree rm": '"2"'}
    late = posted(caller, "subtree rm", **{**form.fields, "typed": "/a", "with_contents": "yes"})
    found = markup(late)
    assert late.status == 412
    assert [command for command, _ in caller.asked] == ["audit ls"]
    assert "somebody else changed it meanwhile" in found.text
    assert found.text.count("token:ann@192.0.2.9: subtree adopt <b>registered") == 1
    (anew,) = [each["href"] for each in found.named("a") if "/do/" in (each["href"] or "")]
    assert anew == "/do/subtree/rm?fs=cephfs&path=%2Fa&with_contents=yes"
    (form,) = [each for each in found.forms if each.action == act.address]
    assert form.fields["tag"] == '"1"', "sent again it is refused again"
    by_itself = markup(
        posted(caller, "subtree rm", fs="cephfs", path="/a", typed="/a", tag='"1"', loaded="4000000001")
    )
    assert "Not done: it changed meanwhile" in by_itself.text
    assert "token:ann" not in by_itself.text
    for text in ("x", "-1", "9" * 30, "\u0663"):
        late = posted(caller, "subtree rm", fs="cephfs", path="/a", typed="/a", tag='"1"', loaded=text)
        assert late.status == 412
    page = PAGES.respond(visit(caller, act.address, query={"fs": "cephfs", "path": "/a"}))
    assert "/do/" not in "".join(each["href"] or "" for each in markup(page).named("a"))
    assert posted(caller, "subtree rm", fs="cephfs", path="/a", typed="/a", tag='"2"').status == 303


@pytest.mark.parametrize(
    ("command", "named", "by", "about"),
    [
        ("job cancel", {"job": "ab" * 16}, "job pause", "ab" * 16),
        ("gate set", {"fs": "cephfs", "path": "/a", "rung": "isolate"}, "gate set", "cephfs /a exclude"),
    ],
)
def test_a_form_about_a_job_or_a_gate_tells_who_was_there_before(
    command: str, named: dict[str, str], by: str, about: str
):
    act = {"at": 4_000_000_000, "who": "bob", "command": by, "code": 0, "about": about, "result": "so"}
    caller = FakeCaller({command: Answer(0, "x"), "audit ls": {"acts": [act]}}, tags={command: '"1"'})
    place = BY_COMMAND[command].address
    (form,) = [
        each
        for each in markup(PAGES.respond(visit(caller, place, query=named))).forms
        if each.action == place
    ]
    caller.tags = {command: '"2"'}
    late = posted(caller, command, **form.fields | named)
    assert late.status == 412
    assert f"bob: {by} so" in markup(late).text
    assert [each for each, _ in caller.asked] == ["audit ls"], "nothing was done"


def test_what_waits_is_told_by_its_form_and_its_buttons():
    outage = Outage("The engine service", "it <died>", "jobs", "lists")
    down = {None: [outage], "subtree verify": [outage], "job pause": [outage]}
    caller = FakeCaller({}, down=down)
    page = markup(PAGES.respond(visit(caller, BY_COMMAND["subtree verify"].address)))
    assert "The engine service does not work: it <died>" in page.text
    assert "What waits: jobs. What works: lists." in page.text
    assert "It waits: the engine service does not work (it <died>)" in page.text
    assert "It waits" not in markup(PAGES.respond(visit(caller, BY_COMMAND["gate set"].address))).text
    refused = posted(
        FakeCaller({"subtree verify": Answer(errno.EAGAIN, "there is no engine service")}, down=down),
        "subtree verify",
        **filled(BY_COMMAND["subtree verify"]),
    )
    assert refused.status == 503
    assert "What works: lists" in markup(refused).text


def test_a_field_that_is_none_goes_nowhere():
    caller = FakeCaller({"key lock": Answer(0, "")})
    posted(caller, "key lock", key="ab", dry_run="yes", strange="x")
    assert caller.asked == [("key lock", {"key": "ab"})]


def test_a_form_is_filled_from_its_address():
    act = BY_COMMAND["subtree release"]
    page = PAGES.respond(visit(FakeCaller({}), act.address, query={"fs": "cephfs", "path": "/<b>"}))
    (form,) = [each for each in markup(page).forms if each.action == act.address]
    assert form.fields == {"csrf": "the-token", "fs": "cephfs", "path": "/<b>"}


def test_who_may_not_is_told_and_has_no_button():
    caller = FakeCaller({}, role="read-only", refused=frozenset({"subtree rm"}))
    page = PAGES.respond(visit(caller, BY_COMMAND["subtree rm"].address))
    assert "Not allowed" in markup(page).text
    assert "Remove for good" not in markup(page).text
    refused = posted(caller, "subtree rm", fs="cephfs", path="/a", typed="/a")
    assert refused.status == 403


def test_what_is_too_long_is_not_cut_and_done():
    """A list that ends early would keep out some who were to be admitted."""
    caller = FakeCaller({"gate set": Answer(0, "done"), "gate preview": Answer(0, "so")})
    named = ",".join(f"client.node{number}" for number in range(500))
    for more in ({}, {"rehearse": "yes"}):
        page = posted(caller, "gate set", **filled(BY_COMMAND["gate set"], admit=named), **more)
        assert page.status == 422
        assert "too long" in markup(page).text
        assert named in str(page.body), "what was typed is not lost"
    assert caller.asked == []
