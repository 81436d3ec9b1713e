"""Legal hold as a client sees it."""

import pytest

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def test_a_call_is_held_shown_as_held_and_released(service):
    call = service.ids["acme"][0]
    held = service.ask(f"/calls/{call}/hold", "privacy", method="PUT", json={"reason": "case 7"})
    assert held.status_code == 200
    assert (held.json()["hold"], held.json()["hold_reason"]) == (True, "case 7")
    shown = service.ask(f"/calls/{call}").json()
    assert (shown["hold"], shown["hold_reason"], shown["held_by"]) == (True, "case 7", held.json()["held_by"])
    assert service.ask(f"/calls/{call}/hold", method="DELETE").status_code == 204
    shown = service.ask(f"/calls/{call}").json()
    assert shown["hold"] is False and "hold_reason" not in shown
    assert [a["action"] for a in service.acts()[-4:]] == ["call.hold", "call.view", "call.release", "call.view"]


def test_a_listener_does_not_see_why(service):
    call = service.ids["acme"][0]
    service.ask(f"/calls/{call}/hold", method="PUT", json={"reason": "case 7"})
    shown = service.ask(f"/calls/{call}", "listener").json()
    assert shown["hold"] is True and "hold_reason" not in shown
    service.ask(f"/calls/{call}/hold", method="DELETE")


def test_releasing_a_call_without_hold_changes_nothing(service):
    assert service.ask(f"/calls/{service.ids['acme'][1]}/hold", method="DELETE").status_code == 204


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_unknown_and_foreign_calls_get_the_same_404(service, method):
    body = {"json": {"reason": "x"}} if method == "PUT" else {}
    answers = [service.ask(f"/calls/{id}/hold", method=method, **body) for id in (UNKNOWN, service.ids["beta"][0], "x")]
    assert {a.status_code for a in answers} == {404}
    assert len({a.content for a in answers}) == 1
    assert service.acts()[-1]["outcome"] == "refused"


@pytest.mark.parametrize("body", [{}, {"reason": " "}, {"reason": 1}, {"reason": "x", "Qz7": 1}])
def test_a_hold_needs_a_reason_and_nothing_else(service, body):
    answer = service.ask(f"/calls/{service.ids['acme'][0]}/hold", method="PUT", json=body)
    assert answer.status_code == 422
    assert "Qz7" not in answer.text
    assert service.acts()[-1]["reason"] == "not as described"


def test_the_reason_does_not_stand_in_the_audit_log(service):
    call = service.ids["acme"][0]
    service.ask(f"/calls/{call}/hold", method="PUT", json={"reason": "Qz7planted"})
    assert "Qz7planted" not in str(service.acts())
    service.ask(f"/calls/{call}/hold", method="DELETE")


def test_a_live_call_is_put_into_the_index_first(service):
    service.daemon.begin("acme", UNKNOWN)
    answer = service.ask(f"/calls/{UNKNOWN}/hold", method="PUT", json={"reason": "x"})
    assert answer.status_code == 503 and answer.headers["retry-after"]
    assert service.daemon.asked == [("settle", "acme", UNKNOWN)]
    assert service.ask(f"/calls/{UNKNOWN}/hold", method="DELETE").status_code == 204


def test_a_call_that_goes_meanwhile_is_not_found(service):
    async def never(customer, call):
        """The call was erased before it came into the index."""

    service.daemon.begin("acme", UNKNOWN)
    service.daemon.settles = never
    assert service.ask(f"/calls/{UNKNOWN}/hold", method="PUT", json={"reason": "x"}).status_code == 404
