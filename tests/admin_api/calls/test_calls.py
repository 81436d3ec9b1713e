"""Search, view, pause and resume as a client sees them."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admin_api.http.permissions import Role
from tests.in_process.api_service import row

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def live(service, call, **more):
    service.daemon.live[("acme", call)] = {"id": call, "state": "recording", "streams": [{"packets": 7}], **more}


def found(service, query=""):
    return [call["id"] for call in service.ask(f"/calls?{query}").json()["items"]]


def test_all_calls_newest_first_page_by_page(service):
    first = service.ask("/calls?limit=2").json()
    second = service.ask(f"/calls?limit=2&cursor={first['next_cursor']}").json()
    assert [c["id"] for c in first["items"] + second["items"]] == service.ids["acme"][::-1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "calls"),
    [
        ("party=+49301234001", [1]),
        ("party=0301234001", [1]),
        ("party=sip:+49301234001@acme.example", [1]),
        ("party=%2B49301234001", [1]),
        ("party=Ada Acme", [2, 1, 0]),
        ("party=Ada Beta", []),
        ("since=2026-02-16T09:01:00Z", [2, 1]),
        ("until=2026-02-16T10:01:00%2B01:00", [0]),
        ("state=recording", []),
    ],
)
def test_calls_are_found_by_party_time_and_state(service, query, calls):
    assert found(service, query) == [service.ids["acme"][number] for number in calls]


def test_by_hold_direction_and_source(service):
    made, forms = row(70, "acme")
    made = replace(made, details={**made.details, "direction": "outbound", "source": "192.0.2.7"})
    service.run(service.customers["acme"].calls.put([made], [forms]))
    held, *rest = service.ids["acme"]
    assert service.ask(f"/calls/{held}/hold", method="PUT", json={"reason": "a dispute"}).status_code == 200
    for query, calls in (
        ("direction=outbound", [made.id]),
        ("source=192.0.2.7&hold=false", [made.id]),
        ("direction=inbound", []),
        ("source=192.0.2.8", []),
        ("hold=true&source=192.0.2.7", []),
        ("hold=true", [held]),
        ("hold=false", [made.id, *rest[::-1]]),
    ):
        assert found(service, query) == calls, query
    service.ask(f"/calls/{held}/hold", method="DELETE")
    service.run(service.customers["acme"].calls.remove([made.id]))


@pytest.mark.parametrize(
    "query", ["hold=yes", "hold=", "hold=True", "direction=in", "source=", "source=%20", "source=" + "x" * 254]
)
def test_a_wrong_condition_is_422_and_not_repeated(service, query):
    answer = service.ask(f"/calls?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["name"] == query.partition("=")[0]


def test_a_call_has_what_the_contract_names(service):
    call = service.ids["acme"][0]
    shown = service.ask(f"/calls/{call}").json()
    assert shown["parties"][0]["number"] == "+49301234000"
    assert shown.pop("annotations") == shown.pop("attachments") == shown.pop("recordings") == []
    assert shown in service.ask("/calls").json()["items"]
    described = {
        "id": call, "state": "complete", "started_at": "2026-02-16T09:00:00.000Z", "duration_ms": 30_000,
        "ended_at": "2026-02-16T09:00:30.000Z", "size_bytes": 480_000, "hold": False, "erase_after": None,
    }  # fmt: skip
    assert {**shown, **described} == shown
    live(service, call)
    listed = {each["id"]: each for each in service.ask("/calls").json()["items"]}
    current = [{"packets": 7, "decodable": None}]
    assert service.ask(f"/calls/{call}").json()["streams"] == listed[call]["streams"] == current


def test_a_live_call_is_known_before_it_is_in_the_index(service):
    service.daemon.begin("acme", UNKNOWN)
    shown = service.ask(f"/calls/{UNKNOWN}").json()
    assert shown["hold"] is False and shown["state"] == "recording"
    found = service.ask("/calls?party=%2B49301234003&state=recording").json()["items"]
    assert [call["id"] for call in found] == [UNKNOWN]
    assert [call["id"] for call in service.ask("/calls").json()["items"]] == [UNKNOWN, *service.ids["acme"][::-1]]
    assert service.ask("/calls?state=complete&limit=1").json()["items"][0]["id"] == service.ids["acme"][-1]
    for path in ("", "/media", "/waveform"):
        assert service.ask(f"/calls/{UNKNOWN}{path}").status_code == 200
        assert service.ask(f"/calls/{UNKNOWN}{path}", customer="beta").status_code == 404
    assert service.ask(f"/calls/{UNKNOWN}/pause", method="POST").status_code == 200
    assert service.ask("/calls", customer="beta").json()["items"][0]["id"] == service.ids["beta"][-1]
    assert service.ask("/calls", role=Role.AUDITOR).status_code == 403


@pytest.mark.parametrize("path", ["", "/media", "/pause", "/resume"])
def test_unknown_foreign_and_malformed_ids_look_the_same(service, path):
    method = "POST" if path in ("/pause", "/resume") else "GET"
    answers = [
        service.ask(f"/calls/{id}{path}", method=method)
        for id in (UNKNOWN, service.ids["beta"][0], "x", "..%2f..", "é")
    ]
    headers = [{k: v for k, v in a.headers.items() if k != "date"} for a in answers]
    assert {a.status_code for a in answers} == {404}
    assert len({a.content for a in answers}) == 1
    assert headers.count(headers[0]) == len(answers)
    assert not service.daemon.asked


def test_pause_and_resume_of_a_live_call(service):
    call = service.ids["acme"][0]
    assert service.ask(f"/calls/{call}/pause", method="POST").status_code == 409, "it is over"
    assert service.acts()[-1]["outcome"] == "failed"
    live(service, call)
    service.daemon.asked.clear()
    answer = service.ask(f"/calls/{call}/pause", method="POST", json={"secret": "Qz7"})
    assert answer.status_code == 422 and "Qz7" not in answer.text and "secret" not in answer.text
    assert service.ask(f"/calls/{call}/pause", method="POST").json() == {"id": call, "paused": True}
    assert service.ask(f"/calls/{call}/resume", method="POST", json={}).json() == {"id": call, "paused": False}
    assert service.daemon.asked == [("pause", "acme", call), ("resume", "acme", call)]
    assert [a["action"] for a in service.acts()[-2:]] == ["call.pause", "call.resume"]


def test_nothing_of_the_question_stands_in_the_audit_log(service):
    service.ask("/calls?party=%2B49301234001")
    service.ask("/calls?party=Qz7planted&limit=nonsense")
    service.ask("/calls/+49301234001")
    log = str(service.acts())
    assert "49301234001" not in log and "Qz7planted" not in log


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["party", "since", "until", "state", "limit", "cursor", "other"]),
        st.text(max_size=40) | st.sampled_from(["2026-01-01T00:00:00Z", "complete", "10", "+4930", "Ada", "sip:a@b"]),
        max_size=3,
    )
)
def test_any_query_is_answered_or_refused(service, query):
    answer = service.ask("/calls", params=query)
    assert answer.status_code in (200, 422, 429)


def test_only_a_list_from_an_incomplete_index_is_marked(service, monkeypatch):
    assert set(service.ask("/calls?party=Nobody At All").json()) == {"items", "next_cursor"}
    monkeypatch.setattr(service.daemon, "index_is_there", False)
    for query in ("", "?limit=1", "?party=Ada Acme", "?party=Nobody At All", "?state=complete"):
        assert service.ask(f"/calls{query}").json()["incomplete"] is True
