"""The picture of a call's sound: for those who may hear it, written down, and believed only as far as it fits."""

import json

import pytest

from admin_api.calls.waveform import read
from tests.admin_api.calls.test_playback import open_renders

CHANNEL = {"label": "1", "peaks": [0, 900, 30], "gaps": []}


def test_peaks_of_each_channel_are_shown_and_written_down(service):
    call = service.ids["acme"][0]
    shown = service.ask(f"/calls/{call}/waveform", "listener")
    assert shown.status_code == 200 and shown.headers["cache-control"] == "no-store"
    assert shown.json() == {
        "id": call,
        "started_at": "2026-02-16T09:00:00.120Z",
        "duration_s": 12.0,
        "channels": [CHANNEL],
    }
    act = service.acts()[-1]
    assert (act["action"], act["object"], act["outcome"]) == ("call.waveform", call, "done")
    assert ("peaks", "acme", call) in service.daemon.asked
    assert not open_renders(service)


@pytest.mark.parametrize("role", ["privacy", "approver", "auditor", "operator"])
def test_who_may_not_hear_sees_no_picture_of_it_either(service, role):
    assert service.ask(f"/calls/{service.ids['acme'][0]}/waveform", role).status_code == 403
    assert service.daemon.asked == []


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"[]",
        b'{"seconds":1}',
        b'{"channels":[{"peaks":1}]}',
        b"[" * 5000,
        b'{"seconds":NaN,"started_ns":0,"channels":[]}',
        b'{"seconds":1e999,"started_ns":0,"channels":[]}',
        b'{"seconds":1,"started_ns":1e40,"channels":[]}',
        b'{"seconds":1,"started_ns":0,"channels":[{"label":"1","peaks":[1e999],"gaps":[]}]}',
        b'{"seconds":1,"started_ns":0,"channels":[{"label":"1","peaks":[],"gaps":[[0,Infinity,"hold"]]}]}',
    ],
)
def test_an_invalid_waveform_of_a_worker_gives_503(service, told):
    service.daemon.peaks = told
    answer = service.ask(f"/calls/{service.ids['acme'][0]}/waveform")
    assert answer.status_code == 503
    assert not open_renders(service)


def test_figures_are_kept_within_their_bounds():
    gaps = [[1, 2, "hold"], [3, 4, "<script>"]]
    channel = {"label": "x" * 1000, "peaks": [-5, 2000, "7"], "gaps": gaps}
    shown = read("id", json.dumps({"seconds": 4, "started_ns": 0, "channels": [channel]}).encode())
    assert shown["started_at"] is None
    assert shown["channels"][0]["peaks"] == [0, 1000, 7]
    assert shown["channels"][0]["gaps"] == [[1.0, 2.0, "hold"], [3.0, 4.0, ""]]
    assert len(shown["channels"][0]["label"]) == 100
