"""The audit log through the API."""

from datetime import UTC, datetime, timedelta


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
