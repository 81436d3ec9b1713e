"""Corrections as a client sees them: beside the original, which stays as it was."""

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


def test_an_invalid_annotation_or_call_is_refused(service):
    call, other = service.ids["acme"][0], service.ids["beta"][0]
    for id, body, status in (
        (UNKNOWN, {"text": "x"}, 404), (other, {"text": "x"}, 404), (call, {}, 422), (call, {"text": ""}, 422),
        (call, {"text": "x" * 4001}, 422), (call, {"text": "x", "by": "me"}, 422), (call, [], 422),
    ):  # fmt: skip
        assert service.ask(f"/calls/{id}/annotations", method="POST", json=body).status_code == status
