"""Corrections as a client sees them: beside the original, which stays as it was."""

import pytest

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def test_a_correction_stands_beside_the_unchanged_call(service):
    call = service.ids["acme"][0]
    before = service.ask(f"/calls/{call}").json()
    made = service.ask(f"/calls/{call}/annotations", "privacy", method="POST", json={"text": "Ada is spelt Adah"})
    assert made.status_code == 201
    after = service.ask(f"/calls/{call}").json()
    assert after["annotations"] == [*before["annotations"], made.json()]
    assert {**after, "annotations": []} == {**before, "annotations": []}
    assert service.acts()[-2]["action"] == "call.annotate" and "Adah" not in str(service.acts())


def test_of_no_such_call(service):
    for id in (UNKNOWN, service.ids["beta"][0]):
        assert service.ask(f"/calls/{id}/annotations", method="POST", json={"text": "x"}).status_code == 404


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": "x" * 4001}, {"text": "x", "by": "me"}, []])
def test_an_invalid_annotation_is_refused(service, body):
    call = service.ids["acme"][0]
    assert service.ask(f"/calls/{call}/annotations", method="POST", json=body).status_code == 422


def test_a_live_call_that_goes_meanwhile_is_not_found(service):
    async def never(customer, call):
        """The call was erased before it came into the index."""

    service.daemon.begin("acme", UNKNOWN)
    service.daemon.settles = never
    assert service.ask(f"/calls/{UNKNOWN}/annotations", method="POST", json={"text": "x"}).status_code == 404
