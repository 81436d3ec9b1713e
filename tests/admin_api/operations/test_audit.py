"""The audit log through the API."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from storage.audit.hash_chain import Act
from tests.admin_api.exports.test_exports import make


def test_the_auditor_sees_who_did_what(service):
    call = service.ids["acme"][0]
    service.ask(f"/calls/{call}", "listener")
    entry = service.ask("/audit", "auditor").json()["items"][0]
    assert entry["actor"].startswith("acme-listener-")
    assert (entry["role"], entry["action"], entry["object"]) == ("listener", "call.view", call)
    assert (entry["outcome"], entry["reason"], entry["source"]) == ("done", "", "127.0.0.1")
    assert entry["time"].endswith("Z")


def test_reading_it_is_an_entry(service):
    service.ask("/audit", "auditor")
    assert service.acts()[-1]["action"] == "audit.read"


def test_pages_fit_together(service):
    for _ in range(5):
        service.ask("/calls")
    seen, cursor = [], ""
    while True:
        page = service.ask(f"/audit?limit=3{cursor}", "auditor").json()
        seen += [item["n"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == list(range(seen[0], 0, -1))


def test_since(service):
    service.ask("/calls")
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert service.ask("/audit", "auditor", params={"since": later}).json()["items"] == []
    assert service.ask("/audit?since=2020-01-01T00:00:00Z", "auditor").json()["items"]


def test_a_cursor_that_was_not_made_here(service):
    answer = service.ask("/audit?cursor=zzz", "auditor")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["name"] == "cursor"


def numbers(service, query):
    """Give the numbers of all entries that a query finds, page by page."""
    seen, cursor = [], ""
    while True:
        page = service.ask(f"/audit?limit=2&{query}{cursor}", "auditor")
        assert page.status_code == 200, page.text
        seen += [item["n"] for item in page.json()["items"]]
        if page.json()["next_cursor"] is None:
            return seen
        cursor = f"&cursor={page.json()['next_cursor']}"


def test_who_heard_a_call(service):
    """By person, act and object, alone and together; whoever fetched an export of the call has got it."""
    answer_of, other = service.ids["acme"][:2]
    asked = service.ask(
        "/exports", "privacy", method="POST", json={"reason": "r", "calls": [answer_of], "media": "wav"}
    )
    export = asked.json()["id"]
    make(service, export)
    first = service.acts()[-1]["n"]
    for role, path in (
        ("listener", f"/calls/{answer_of}/media"),
        ("admin", f"/calls/{answer_of}/media"),
        ("listener", f"/calls/{other}/media"),
        ("listener", f"/calls/{answer_of}"),
        ("privacy", f"/calls/{answer_of}/media"),
        ("privacy", f"/exports/{export}/file"),
    ):
        service.ask(path, role)
    acts = {act["n"]: act for act in service.acts() if act["n"] > first}
    actor = acts[first + 1]["actor"]

    def wanted(**fields):
        return [n for n in sorted(acts, reverse=True) if all(acts[n][name] in each for name, each in fields.items())]

    ours = {"since": acts[first + 1]["time"]}
    for query, fields in (
        (f"object={answer_of}", {"object": (answer_of, export)}),
        (f"object={answer_of}&action=call.media", {"object": (answer_of,), "action": ("call.media",)}),
        (f"actor={actor.upper()}", {"actor": (actor,)}),
        (f"actor={acts[first + 1]['actor_id']}", {"actor": (actor,)}),
        (f"actor={actor}&action=call.media&object={other}", {"actor": (actor,), "object": (other,)}),
        (f"object={export}", {"object": (export,)}),
    ):
        found = [n for n in numbers(service, f"{query}&since={ours['since']}") if n <= first + 6]
        assert found == wanted(**fields), query
        assert found, query
        assert [n for n in numbers(service, query) if first < n <= first + 6] == found, query


def test_until(service):
    service.ask("/calls")
    last = service.acts()[-1]
    assert last["n"] - 1 == numbers(service, f"until={last['time']}")[0]


@pytest.mark.parametrize("query", ["actor=", "action=%20", "action=" + "x" * 41, "object=x", "object=", "until=now"])
def test_an_invalid_audit_condition_is_named_in_a_422(service, query):
    answer = service.ask(f"/audit?{query}", "auditor")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["name"] == query.partition("=")[0]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_the_file_has_all_that_the_pages_have(service, form):
    call = service.ids["acme"][2]
    for _ in range(3):
        service.ask(f"/calls/{call}")
    answer = service.ask(f"/audit/file?object={call}&format={form}", "auditor")
    assert answer.headers["content-disposition"] == f'attachment; filename="audit.{form}"'
    assert service.acts()[-1]["action"] == "audit.file"
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    else:
        rows = answer.json()["items"]
    assert [int(row["n"]) for row in rows] == numbers(service, f"object={call}")
    assert {row["action"] for row in rows} == {"call.view"} and all(row["hash"] for row in rows)
    told = service.ask(f"/audit?object={call}", "auditor").json()["items"]
    shown = [{name: str(value) for name, value in item.items()} for item in told]
    assert [{name: str(value) for name, value in row.items()} for row in rows] == shown  # who it was, too
    old = Act("old entry", "admin", "users.import")  # as versions wrote it that knew only names
    service.customers["acme"].audit.append(old).result()
    assert "null" not in service.ask(f"/audit/file?actor=old+entry&format={form}", "auditor").text
    nothing = service.ask(f"/audit/file?object={call}&actor=nobody&format={form}", "auditor")
    assert nothing.status_code == 200 and "call.view" not in nothing.text
    assert service.ask(f"/audit/file?format={form}", "admin").status_code == 403
    head = service.ask(f"/audit/file?format={form}", "auditor", method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
