"""One call, as somebody without scripts sees it."""

from datetime import timedelta
from typing import Any

import pytest

from admin_api.http.permissions import Role
from tests.admin_api.page.conftest import words
from tests.in_process.api_service import T0, row

WHEN = "2026-02-16T09:00:00.000Z"
END = "2026-02-16T09:01:40.000Z"
PARTY = {"also": [], "user_id": None, "joined_at": WHEN, "left_at": END}
DETAILS: dict[str, Any] = {
    "session_id": "s",
    "parties": [
        {**PARTY, "role": "caller", "name": "<script>alert(1)</script>", "number": "+49301", "uri": "sip:+49301@a"},
        {**PARTY, "role": "callee", "name": None, "number": None, "uri": "javascript:alert(1)"},
    ],
    "streams": [
        {
            "label": "1",
            "party": [0, 1],
            "media": "audio",
            "codec": "PCMA",
            "srtp": None,
            "packets": 900,
            "lost": 100,
            "rejected": 3,
            "gap_ms": 2000,
            "jitter_ms": 1.5,
            "mos": 3.2,
            "first_packet_at": WHEN,
            "last_packet_at": END,
            "gaps": [["2026-02-16T09:00:30.000Z", "2026-02-16T09:00:32.000Z", "loss"]],
            "pauses": [["2026-02-16T09:00:40.000Z", "2026-02-16T09:00:50.000Z"]],
        },
        {"label": "2", "party": None, "media": "video"},
    ],
    "source": "192.0.2.10",
    "direction": "inbound",
}
NOBODY = "00000000-0000-4000-8000-00000000ffff"


SPAN = {"started_at": T0, "ended_at": T0 + timedelta(seconds=100), "duration_ms": 100_000}


@pytest.fixture(scope="module")
def put(shared):
    """Put a finished call with these details into the index; returns its id."""

    def put(number, details):
        made, forms = row(number, "acme", details=details, **SPAN)
        shared.run(shared.customers["acme"].calls.put([made], [forms]))
        return made.id

    return put


@pytest.fixture(scope="module")
def call(put):
    return put(500, DETAILS)


def test_everything_known_is_on_the_page_and_escaped(browse, call):
    page = browse(Role.ADMIN).get(f"/calls/{call}").text
    for text in ("caller", "+49301", "inbound", "192.0.2.10", "PCMA", "100 (10.0 %)", "sound poor", "2.0 s", call,
                 "lost on the way", "paused or on hold", "The time line as a table"):  # fmt: skip
        assert text in words(page), text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "<script>alert" not in page
    assert 'href="javascript' not in page and "javascript:alert(1)" in page
    assert '<rect x="30.0%"' in page and 'width="2.0%" height="12" class="bar-gap"' in page
    assert 'x="40.0%"' in page and 'width="10.0%" height="12" class="bar-pause"' in page
    assert 'role="img" aria-labelledby="line-title"' in page and "style=" not in page
    assert "audio 1 · <script>alert(1)</script>, javascript:alert(1)" in words(page)  # beside the line, not under a gap


def test_several_speakers_of_a_stream_are_named_on_their_bars(put, browse):
    half = "2026-02-16T09:00:50.000Z"
    speakers = [{"from": None, "to": half, "party": 0}, {"from": half, "to": None, "party": 1}]
    parties = [{**PARTY, "role": "caller", "name": name} for name in ("Ada", "Ben")]
    streams = [{**DETAILS["streams"][0], "speakers": speakers}]
    page = browse(Role.ADMIN).get(f"/calls/{put(505, {**DETAILS, 'parties': parties, 'streams': streams})}").text
    line = page[page.index("<figure") : page.index("</figure>")]
    assert line.index('class="who">Ada') < line.index('class="who">Ben') < line.index('class="bar-pause"')
    assert "audio 1 ·" not in words(line)


def test_an_undecodable_channel_says_why_it_is_silent(put, browse):
    streams = [{"label": "1", "party": 0, "media": "audio", "codec": "EVS"}, DETAILS["streams"][0]]
    shown = browse(Role.LISTENER).text(f"/calls/{put(504, {**DETAILS, 'streams': streams})}")
    assert shown.count("cannot be decoded") == 1
    assert "EVS cannot be decoded here: you hear silence" in shown


def test_who_may_hear_gets_a_player_and_who_may_not_none(browse, call):
    page = browse(Role.LISTENER).get(f"/calls/{call}").text
    assert f'<audio controls preload="none" src="/calls/{call}/media?format=wav"' in page
    assert "mkv with pictures" in page and "/static/call." in page and "the role listener does" not in page
    assert "What can be done" not in page and "Add a correction" not in page
    page = browse(Role.PRIVACY).get(f"/calls/{call}").text
    assert "<audio" not in page and "/media" not in page and "wavesurfer" not in page
    assert "the role listener does" in page
    assert "Put under legal hold" in page and "Export this call" in page and f"/calls/{call}/erase" in page


def test_a_partys_user_is_linked_and_doubt_is_shown(put, browse):
    known = {**DETAILS["parties"][0], "user_id": NOBODY}
    doubtful = {**DETAILS["parties"][1], "user_candidates": [NOBODY, NOBODY]}
    place = f"/calls/{put(501, {**DETAILS, 'parties': [known, doubtful]})}"
    page = browse(Role.PRIVACY).get(place).text
    assert f'<a href="/users/{NOBODY}">This person</a>' in page and "2 people possible" in page
    page = browse(Role.LISTENER).get(place).text
    assert "/users/" not in page and "2 people possible" in page


def test_a_live_call_renews_what_changes_and_can_be_paused(service, browse, call):
    service.daemon.live["acme", call] = {"id": call, "state": "recording", "paused": False, "ended_at": None}
    browser = browse(Role.ADMIN)
    page = browser.get(f"/calls/{call}").text
    assert f'hx-get="/calls/{call}"' in page and "Pause recording" in page and "Erase this call" not in page
    before = len(service.acts())
    part = browser.get(f"/calls/{call}", headers={"HX-Request": "true"}).text
    browser.get(f"/calls/{call}", headers={"HX-Request": "true"})
    assert part.lstrip().startswith('<div id="now"') and "<audio" not in part
    assert len(service.acts()) == before + 1
    service.daemon.live["acme", call]["paused"] = True
    assert "Go on recording" in browser.get(f"/calls/{call}").text
    assert "Go on recording" not in browse(Role.LISTENER).get(f"/calls/{call}").text


@pytest.mark.parametrize(
    "id",
    [NOBODY, "+49301234567890", "<script>", "00000002-0000-4000-8000-000000000000", "%2e%2e", "x%2F..%2F..%2Fusers"],
)
def test_unknown_foreign_and_impossible_ids_are_nowhere(service, browse, id):
    page = browse(Role.ADMIN).get(f"/calls/{id}")
    assert page.status_code == 404 and "<script>" not in page.text.replace("<script src", "")
    assert "49301234567890" not in str(service.acts()[-1])  # so long that no hash of an entry has it by chance


def test_the_page_reloads_when_its_call_is_gone(browse):
    answer = browse(Role.LISTENER).get(f"/calls/{NOBODY}", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.text, answer.headers["hx-refresh"]) == (404, "", "true")


TURN = "2026-02-16T09:00:40.000Z"
TRANSFERRED = {
    "parties": [
        {**PARTY, "role": "caller", "name": "Ann"},
        {**PARTY, "role": "callee", "name": "Bob", "left_at": TURN},
        {**PARTY, "role": "redirected_to", "name": "Carol", "joined_at": TURN},
    ],
    "streams": [
        {"label": "1", "party": 0, "media": "audio", "first_packet_at": WHEN, "last_packet_at": END},
        {
            "label": "2",
            "party": 2,
            "earlier": [1],
            "speakers": [
                {"from": None, "to": TURN, "party": 1, "inferred": False},
                {"from": TURN, "to": None, "party": 2, "inferred": False},
            ],
            "media": "audio",
            "first_packet_at": WHEN,
            "last_packet_at": END,
        },
    ],
}


def test_after_a_transfer_each_view_names_the_current_speaker(browse, put):
    """The time line, its table, the table of streams and the list of channels."""
    page = browse(Role.LISTENER).text(f"/calls/{put(505, TRANSFERRED)}")
    at = "2026-02-16 09:00:40 UTC"
    assert f"Channel 1: Ann Channel 2: Bob until {at} , Carol from {at}" in page
    assert f"audio 2 Bob until {at} , Carol from {at}" in page
    assert f"recorded: Bob 2026-02-16 09:00:00 UTC {at}" in page
    assert f"recorded: Carol {at} 2026-02-16 09:01:40 UTC" in page
