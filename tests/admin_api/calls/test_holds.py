"""Legal hold as a client sees it."""

import pytest

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def test_a_call_is_held_shown_as_held_and_released(service):
    path = f"/calls/{service.ids['acme'][0]}"
    held = service.ask(f"{path}/hold", "privacy", method="PUT", json={"reason": "Qz7planted"}).json()
    assert (held["hold"], held["hold_reason"]) == (True, "Qz7planted")
    shown = service.ask(path).json()
    assert [shown[name] for name in ("hold", "hold_reason", "held_by")] == [True, "Qz7planted", held["held_by"]]
    shown = service.ask(path, "listener").json()
    assert shown["hold"] is True and "hold_reason" not in shown
    for _ in range(2):  # the second time there is none, which is no fault
        assert service.ask(f"{path}/hold", method="DELETE").status_code == 204
    shown = service.ask(path).json()
    assert shown["hold"] is False and "hold_reason" not in shown
    assert [a["action"] for a in service.acts()[-6:]] == [
        "call.hold", "call.view", "call.view", "call.release", "call.release", "call.view",
    ]  # fmt: skip
    assert "Qz7planted" not in str(service.acts())


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


def test_a_live_call_is_put_into_the_index_first(service):
    async def never(customer, call):
        """The call was erased before it came into the index."""

    service.daemon.begin("acme", UNKNOWN)
    asked = (("hold", "PUT", {"reason": "x"}), ("annotations", "POST", {"text": "x"}))
    for path, method, body in asked:
        answer = service.ask(f"/calls/{UNKNOWN}/{path}", method=method, json=body)
        assert answer.status_code == 503 and answer.headers["retry-after"]
    assert service.daemon.asked == [("settle", "acme", UNKNOWN)] * 2
    assert service.ask(f"/calls/{UNKNOWN}/hold", method="DELETE").status_code == 204
    service.daemon.settles = never
    for path, method, body in asked:
        assert service.ask(f"/calls/{UNKNOWN}/{path}", method=method, json=body).status_code == 404
