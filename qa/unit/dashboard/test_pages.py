"""Every page, on what real commands answered once (qa/vectors/pages.json)."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboard_ui.acts import ACTS
from dashboard_ui.pages import Pages
from dashboard_ui.views import VIEWS
from dashboard_ui.visit import Answer, Outage, Page
from qa.fakes.visitors import FakeCaller, visit
from qa.unit.dashboard.markup import Markup

TOLD: Mapping[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "vectors" / "pages.json").read_text()
)
SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"
PAGES = Pages()


def shown(
    page_path: str, answers: Mapping[str, Any] = TOLD, base: str = "", **query: str
) -> tuple[Page, Markup]:
    page = PAGES.respond(visit(FakeCaller(answers), page_path, query=query, base=base))
    assert isinstance(page.body, str)
    return page, Markup(page.body) if page.body.startswith("<!doctype") else Markup("")


def hostile(value: Any) -> Any:
    """The same, with script in every text."""
    match value:
        case dict():
            return {name: hostile(each) for name, each in value.items()}
        case list():
            return [hostile(each) for each in value]
        case str():
            return SCRIPT
        case _:
            return value


@pytest.mark.parametrize("path", VIEWS)
def test_a_page_shows_what_was_told(path: str):
    page, markup = shown(path)
    assert page.status == 200
    assert "Not told" not in markup.text


@pytest.mark.parametrize("path", VIEWS)
def test_a_page_tells_why_it_cannot_tell(path: str):
    page, markup = shown(path, {})
    assert page.status == 200
    assert "nothing is known of" in markup.text


@pytest.mark.parametrize("path", [*VIEWS, *(act.address for act in ACTS)])
def test_markup_in_any_value_is_text(path: str):
    answers = {name: hostile(each) for name, each in TOLD.items()}
    for told in (answers, {name: Answer(5, SCRIPT) for name in TOLD}):
        words = dict.fromkeys(("fs", "path", "key", "kms", "job", "text", "said", "after", "sort"), SCRIPT)
        page, markup = shown(path, told, **words)
        assert [each for each in markup.named("script") if "src" not in each] == []
        assert markup.named("img") == []
        assert "onerror" not in {name for _, given in markup.elements for name in given}
        assert "javascript:" not in page.body


@pytest.mark.parametrize("path", [*VIEWS, *(act.address for act in ACTS)])
def test_a_page_can_be_heard_and_fetches_nothing_from_elsewhere(path: str):
    _, markup = shown(path, base="/below")
    if not markup.elements:
        return
    assert markup.named("html") == [{"lang": "en"}]
    assert len(markup.named("h1")) == 1
    identifiers = [given["id"] for _, given in markup.elements if "id" in given]
    assert len(set(identifiers)) == len(identifiers)
    for name in ("aria-labelledby", "aria-describedby", "for"):
        asked = {word for _, given in markup.elements for word in (given.get(name) or "").split()}
        assert asked <= set(identifiers)
    assert len(markup.named("caption")) == len(markup.named("table"))
    assert all(each.get("scope") in ("col", "row") for each in markup.named("th"))
    assert not any("style" in given for _, given in markup.elements)
    assert markup.named("style") == []
    places = [
        given[name]
        for _, given in markup.elements
        for name in ("href", "src", "action")
        if given.get(name) is not None
    ]
    assert all(place.startswith(("/below/", "#")) for place in places if place is not None)


@pytest.mark.parametrize("path", VIEWS)
def test_every_form_that_posts_has_the_token(path: str):
    _, markup = shown(path)
    posted = [form for form in markup.forms if form.method == "post"]
    assert all(form.fields["csrf"] == "the-token" for form in posted)
    assert all("csrf" not in form.fields for form in markup.forms if form.method == "get")


@pytest.mark.parametrize("path", VIEWS)
def test_what_does_not_work_is_told_above_and_on_the_buttons_of_what_waits(path: str):
    outage = Outage("The engine service", "it died", "jobs", "lists")
    caller = FakeCaller(TOLD, down={None: [outage], "subtree verify": [outage]})
    body = PAGES.respond(visit(caller, path)).body
    assert isinstance(body, str)
    if not body.startswith("<!doctype"):
        return
    text = Markup(body).text
    assert "The engine service does not work: it died" in text
    assert "What waits: jobs. What works: lists." in text
    assert text.count("(waits)") == body.count("/do/subtree/verify")


@pytest.mark.parametrize("path", VIEWS)
def test_what_a_role_does_not_allow_is_not_offered(path: str):
    caller = FakeCaller(TOLD, role="read-only", refused=frozenset(act.command for act in ACTS))
    body = PAGES.respond(visit(caller, path)).body
    assert isinstance(body, str)
    assert "/do/" not in body


def test_the_filters_of_subtrees_go_to_the_command():
    caller = FakeCaller(TOLD)
    asked = {"fs": "cephfs", "mode": "engine", "text": "pay", "below": "/x", "strange": "y"}
    PAGES.respond(visit(caller, "/subtrees", query=asked))
    del asked["strange"]
    assert caller.asked[0] == ("subtree ls", {**asked, "limit": 100})


@pytest.mark.parametrize(
    ("sort", "first"), [("path", "/demo/ledger"), ("-path", "/research"), ("x", "/demo/ledger")]
)
def test_a_page_of_subtrees_is_sorted(sort: str, first: str):
    _, markup = shown("/subtrees", sort=sort)
    paths = [text for text in ("/demo/ledger", "/research") if text in markup.text]
    assert min(paths, key=markup.text.index) == first


def test_the_next_page_keeps_the_filters():
    answers = {**TOLD, "subtree ls": {**TOLD["subtree ls"], "following": "1:/z"}}
    _, markup = shown("/subtrees", answers, mode="engine", said="x", seal="y")
    (following,) = [each["href"] for each in markup.named("a") if "after=" in (each["href"] or "")]
    assert following == "/subtrees?mode=engine&after=1%3A%2Fz"


def test_a_subtree_that_is_being_made_tells_how_far_it_is():
    story = {"fs_name": "cephfs", "path": "/new", "stage": "gating", "why": "", "job": "ab" * 16}
    _, markup = shown(
        "/subtrees/show", {**TOLD, "subtree show": {"creation": story}}, fs="cephfs", path="/new"
    )
    (step,) = [given for tag, given in markup.elements if tag == "li" and given.get("aria-current") == "step"]
    assert "It is being made" in markup.text
    assert step


def test_a_protector_is_rotated_by_what_it_is():
    _, markup = shown("/keys/show")
    links = [given.get("href", "") for given in markup.named("a")]
    kinds = [parse_qs(urlsplit(link).query)["kind"] for link in links if "/do/key/rewrap" in link]
    assert kinds == [["kms"], ["recovery-code"]], "the key of a tenant is a key manager's"


def test_the_end_of_a_key_is_counted_down():
    key = {**TOLD["key show"], "state": "destroying", "due": 4_000_000_000}
    _, markup = shown("/keys/show", {**TOLD, "key show": key})
    assert {"data-until": "4000000000"} in markup.named("time")
    assert " left." in markup.text
    assert "Call off the destruction" in markup.text
    assert "Disable a key" not in markup.text


@pytest.mark.parametrize(
    ("approved", "says"), [("", "nobody has approved yet"), ("carol", "approved by carol")]
)
def test_who_asked_for_the_end_of_a_key_is_told(approved: str, says: str):
    wish = {
        "fs_name": "cephfs",
        "key_identifier": TOLD["key show"]["identifier"],
        "requested_by": "bob",
        "requested": 1795999000,
        "approved_by": approved,
        "approved": 1795999900 if approved else 0,
    }
    other = {**wish, "key_identifier": "00" * 16, "requested_by": "mallory"}
    answers = {**TOLD, "key destruction ls": {"destructions": [other, wish], "following": None}}
    _, markup = shown("/keys/show", answers)
    assert says in markup.text
    assert "bob" in markup.text
    assert "mallory" not in markup.text
    assert ("Approve of the end of a key" in markup.text) == (not approved)


def test_progress_is_a_bar_and_words():
    job = {
        **TOLD["job show"],
        "state": "running",
        "done": 250,
        "total": 1000,
        "unit": "entries",
        "ended": None,
    }
    _, markup = shown("/jobs/show", {**TOLD, "job show": job})
    assert "250 of 1,000 entries (25.0 %)" in markup.text
    assert any(each.get("width") == "25.0" for each in markup.named("rect"))
    assert any(given.get("id") == "job" and given.get("data-live") for _, given in markup.elements)


@pytest.mark.parametrize(
    ("clear", "offered"), [(True, "Start as planned"), (False, "Go on, or with other limits")]
)
def test_a_plan_that_nothing_blocks_can_be_started(clear: bool, offered: str):
    planned = TOLD["migrate status"]
    answers = {**TOLD, "migrate status": {**planned, "result": {**planned["result"], "clear": clear}}}
    _, markup = shown("/migrations/show", answers, fs="cephfs")
    assert offered in markup.text
    assert ("It cannot begin" in markup.text) == (not clear)
    assert "Roll back" not in markup.text
    started = [
        each["href"] or "" for each in markup.named("a") if "/do/migrate/start" in (each["href"] or "")
    ]
    assert all(("plan=718873087a81af97" in place) == clear for place in started)


@pytest.mark.parametrize(
    ("ended", "standing", "offered"),
    [
        (None, None, {"start"}),
        (1.0, "copying", {"start", "verify", "cancel"}),
        (1.0, "done", {"verify", "rollback", "purge"}),
        (1.0, "", set()),
        (1.0, None, {"start", "verify", "rollback", "purge", "cancel"}),
    ],
)
def test_what_can_be_done_about_a_migration_fits_the_tree_that_is_in_place(
    ended: float | None, standing: str | None, offered: set[str]
):
    result = None if standing is None else {"standing": {"state": standing}}
    options = {"evict": True, "keep_trash": -1, "copy_only": False, "files_per_second": 10.0}
    job = {**TOLD["migrate status"], "kind": "migrate", "ended": ended, "result": result, "options": options}
    _, markup = shown("/migrations/show", {**TOLD, "migrate status": job}, fs="cephfs")
    links = [urlsplit(each["href"] or "").path for each in markup.named("a")]
    assert {link.removeprefix("/do/migrate/") for link in links if "/do/migrate/" in link} == offered
    assert "End the sessions of clients that can reach ityes" in markup.text
    assert "Files a second10" in markup.text
    assert "Keep the old tree for" not in markup.text, "what is as by default says nothing"


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/show"])
def test_a_job_is_called_the_same_everywhere(path: str):
    job = {**TOLD["job show"], "kind": "migrate-verify", "path": "/letters", "state": "failed"}
    answers = {**TOLD, "job show": job, "job ls": {"jobs": [job], "following": None}}
    _, markup = shown(path, answers)
    assert "Verification of the migration of /letters" in markup.text
    assert "migrate-verify" not in markup.text


def test_what_came_of_a_job_is_told_in_words():
    met = [f"client.{number}" for number in range(12)]
    result = {
        "evicted": met,
        "problems": 3,
        "standing": {"bytes": 2048, "left_out": 0},
        "of_the_future": [{}],
    }
    _, markup = shown("/jobs/show", {**TOLD, "job show": {**TOLD["job show"], "result": result}})
    for each in (
        "Could not be done3",
        "client.4and 7 more",
        "How it stands",
        "Contents2 KiB",
        "Of the future",
    ):
        assert each in markup.text
    assert "client.5" not in markup.text
    assert markup.named("pre") == []


@pytest.mark.parametrize("path", VIEWS)
def test_a_narrow_screen_needs_no_columns(path: str):
    """Each cell of a table that may be wide names its column, but for those that are empty or head their rows."""
    page, _ = shown(path)
    tables = re.findall(r'<table class="rows">(.*?)<tbody>(.*?)</table>', str(page.body), re.DOTALL)
    for head, body in tables:
        columns = re.findall(r'<th scope="col".*?>([^<>]+)<', head)
        for row in body.split("<tr>")[1:]:
            cells = re.findall(r'<t([dh])(?: data-column="(.*?)")?[^>]*>(.*?)</t[dh]>', row, re.DOTALL)
            said = [named for _, named, _ in cells]
            assert said == [
                column if kind == "d" and content.strip() else ""
                for column, (kind, _, content) in zip(columns, cells, strict=True)
            ]
    assert str(page.body).count('class="scroll"') == len(tables)


def test_a_column_that_rows_are_sorted_by_is_called_the_same():
    _, markup = shown("/subtrees", sort="mode")
    assert {each.get("data-column") for each in markup.named("td")} >= {"Mode", "Cipher"}


def test_what_a_job_met_can_be_kept():
    met = [{"kind": "busy", "count": 3, "examples": ["/a"]}]
    page, _ = shown("/jobs/errors", {**TOLD, "job show": {**TOLD["job show"], "errors": met}})
    assert json.loads(page.body) == met
    assert "attachment" in page.headers["Content-Disposition"]


def test_records_are_searched():
    _, markup = shown("/audit", text="no record has this")
    assert "No record of this page has that" in markup.text


def test_a_broken_audit_is_told():
    broken = Answer(74, "the audit is broken before or in record 3", {"first": 1, "last": 2, "digest": "x"})
    _, markup = shown("/audit/verify", {**TOLD, "audit verify": broken})
    assert "No: the audit is broken" in markup.text


@pytest.mark.parametrize("query", [{"session": "x"}, {"session": "9" * 30}, {"session": "-1"}, {}])
def test_a_number_that_is_none_is_no_mistake_of_ours(query: dict[str, str]):
    caller = FakeCaller(TOLD)
    assert PAGES.respond(visit(caller, "/clients/show", query=query)).status == 200
    assert "session" not in caller.asked[0][1]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(method: str):
    assert PAGES.respond(visit(FakeCaller(TOLD), "/", method=method)).status == 405
    assert (
        PAGES.respond(visit(FakeCaller(TOLD), "/do/scan", method=method)).headers["Allow"]
        == "GET, HEAD, POST"
    )
    assert PAGES.respond(visit(FakeCaller(TOLD), "/keys", method="POST")).status == 405
