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
    assert entry.pop("actor").startswith("acme-listener-") and entry.pop("time").endswith("Z")
    told = {"role": "listener", "action": "call.view", "object": call, "outcome": "done", "source": "127.0.0.1"}
    assert {**entry, **told, "reason": ""} == entry
    assert service.acts()[-1]["action"] == "audit.read"


def test_pages_fit_together_and_have_bounds(service):
    for _ in range(5):
        service.ask("/calls")
    seen = numbers(service, "", 3)
    assert seen == list(range(seen[0], 0, -1))
    last = service.acts()[-1]
    assert last["n"] - 1 == numbers(service, f"until={last['time']}")[0]
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert service.ask("/audit", "auditor", params={"since": later}).json()["items"] == []
    assert numbers(service, "since=2020-01-01T00:00:00Z", 1000)


@pytest.mark.parametrize(
    "query", ["actor=", "action=%20", "action=" + "x" * 41, "object=x", "object=", "until=now", "cursor=zzz"]
)
def test_an_invalid_audit_condition_is_named_in_a_422(service, query):
    answer = service.ask(f"/audit?{query}", "auditor")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["name"] == query.partition("=")[0]


def numbers(service, query, limit=2):
    """Give the numbers of all entries that a query finds, page by page."""
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = service.ask(f"/audit?limit={limit}&{query}{cursor and f'&cursor={cursor}'}", "auditor")
        assert page.status_code == 200, page.text
        seen += [item["n"] for item in page.json()["items"]]
        cursor = page.json()["next_cursor"]
    return seen


def test_who_heard_a_call(service):
    """By person, act and object, alone and together; whoever fetched an export of the call has got it."""
    answer_of, other = service.ids["acme"][:2]
    body = {"reason": "r", "calls": [answer_of], "media": "wav"}
    export = service.ask("/exports", "privacy", method="POST", json=body).json()["id"]
    make(service, export)
    before = service.acts()[-1]["n"]
    for role, path in (
        ("listener", f"/calls/{answer_of}/media"),
        ("admin", f"/calls/{answer_of}/media"),
        ("listener", f"/calls/{other}/media"),
        ("listener", f"/calls/{answer_of}"),
        ("privacy", f"/calls/{answer_of}/media"),
        ("privacy", f"/exports/{export}/file"),
    ):
        service.ask(path, role)
    first = service.acts()[before]
    actor = first["actor"]
    for query, expected in (
        (f"object={answer_of}", [6, 5, 4, 2, 1]),
        (f"object={answer_of}&action=call.media", [5, 2, 1]),
        (f"actor={actor.upper()}", [4, 3, 1]),
        (f"actor={first['actor_id']}", [4, 3, 1]),
        (f"actor={actor}&action=call.media&object={other}", [3]),
        (f"object={export}", [6]),
    ):
        for bound in ("", f"&since={first['time']}"):
            found = [n - before for n in numbers(service, query + bound) if n > before]
            assert [n for n in found if n <= 6] == expected, query


@pytest.mark.parametrize("form", ["csv", "json"])
def test_the_file_has_all_that_the_pages_have(service, form):
    call = service.ids["acme"][2]
    for _ in range(3):
        service.ask(f"/calls/{call}")
    answer = service.ask(f"/audit/file?object={call}&format={form}", "auditor")
    assert answer.headers["content-disposition"] == f'attachment; filename="audit.{form}"'
    assert service.acts()[-1]["action"] == "audit.file"
    text = answer.content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline=""))) if form == "csv" else answer.json()["items"]
    shown = service.ask(f"/audit?object={call}", "auditor").json()["items"]
    rows, shown = ([{name: str(value) for name, value in row.items()} for row in each] for each in (rows, shown))
    assert rows == shown and len(rows) >= 3 and all(row["hash"] for row in rows)  # who it was, too
    assert {row["action"] for row in rows} == {"call.view"}
    old = Act("old entry", "admin", "users.import")  # as versions wrote it that knew only names
    service.customers["acme"].audit.append(old).result()
    assert "null" not in service.ask(f"/audit/file?actor=old+entry&format={form}", "auditor").text
    nothing = service.ask(f"/audit/file?object={call}&actor=nobody&format={form}", "auditor")
    assert nothing.status_code == 200 and "call.view" not in nothing.text
    head = service.ask(f"/audit/file?format={form}", "auditor", method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
