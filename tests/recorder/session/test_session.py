"""Stories of one recording: what comes in, what is to be done, what the call's document says."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from recorder.calls.stream_specs import new_call
from recorder.session import commands as c
from recorder.session import events as e
from recorder.session import streams
from recorder.session.session import Recording
from recorder.session.states import State
from recorder.workers.messages import Part
from sip.sdp.answer import Policy
from sip.sdp.description import SessionDescription
from sip.ua.events import Token
from tests.in_process.offers import metadata, now, offered, random, request, sdp
from tests.plain_values import plain
from tests.recorder.session.recordings import (
    ID,
    NAMES,
    PREFERRED,
    TWO,
    begun,
    bye,
    informed,
    kinds,
    only,
    reoffer,
    restarted,
)

NOON = "2026-03-01T12:00:"
REOFFERS = Policy(srtp="preferred", reoffers=True)


class TestTheBeginning:
    def test_sockets_come_before_the_answer(self) -> None:
        """Duties R34, S30: the signalling is kept with the call."""
        one = Recording(ID, PREFERRED, random)
        *kept, opening = one.handle(offered(1, TWO, NAMES), now())
        assert [x.kind for x in kept if isinstance(x, c.Keep)] == [c.Kept.OFFER, c.Kept.EVENT, c.Kept.METADATA]
        assert kinds([opening]) == [c.OpenSockets] and c.Accept not in kinds(kept)
        answered = one.handle(e.Opened({0: 20000, 1: 20002}), now())
        assert kinds(answered) == [c.Keep, c.Accept]
        accept = only(answered, c.Accept)
        assert accept.first and [plan.number for plan in accept.streams] == [
            0,
            1,
        ]  # to be kept before the answer says so
        assert one.state is State.RECORDING

    def test_the_answer_takes_both_lines_with_our_ports_and_keys(self) -> None:
        one = begun()
        answer = one.agreement.answer_sdp.decode()
        assert re.findall(r"m=audio (\d+)", answer) == ["20000", "20002"]
        assert answer.count("a=recvonly") == 2 and "a=label:1" in answer
        assert "QUFB" not in answer  # the offer's key, which begins with "AAA"
        assert [stream.plan().here for stream in one.streams] == ["198.51.100.7"] * 2

    def test_an_unreadable_offer_is_refused_and_leaves_nothing(self) -> None:
        """Duty O5."""
        one = Recording(ID, PREFERRED, random)
        done = one.handle(offered(1, b"nonsense"), now())
        assert only(done, c.Refuse).status == 488
        assert kinds(done)[-1] is c.Discard and one.state is State.OVER

    def test_without_a_port_it_is_503_with_retry_after(self) -> None:
        """Duty 8.10."""
        one = Recording(ID, PREFERRED, random)
        one.handle(offered(1, sdp("sendonly")), now())
        refusal = only(one.handle(e.OpenFailed("no-port"), now()), c.Refuse)
        assert (refusal.status, refusal.retry_after) == (503, 30)


class TestParties:
    def test_owners_and_parties_are_those_of_the_metadata(self) -> None:
        document = begun(TWO, NAMES).call_document(now(1))
        assert [plain(p["name"]) for p in document["parties"]] == ["Alice", "Bob"]
        assert [s["party"] for s in document["streams"]] == [0, 1]
        assert plain(document["session_id"]) == "c2Vzc2lvbi0xLS0tLS0tLQ=="
        assert plain(document["call_group"]) == {"key": "session:73657373696f6e2d312d2d2d2d2d2d2d", "sure": "stated"}
        assert document["related"] == [document["call_group"]]

    def test_without_metadata_the_call_id_is_the_session_r18(self) -> None:
        document = begun().call_document(now())
        assert (plain(document["session_id"]), document["call_group"], document["related"]) == ("call-1", None, [])

    def test_an_update_may_bring_names_later(self) -> None:
        one = begun(TWO, NAMES)
        done = informed(one, request("UPDATE", 2), metadata("Alice", "Bob", "Carol"), 2)
        assert kinds(done)[-1] is c.Index
        assert [plain(p["name"]) for p in one.call_document(now(3))["parties"]] == ["Alice", "Bob", "Carol"]

    def test_further_metadata_of_a_message_are_added_r17(self) -> None:
        """Each may call itself a snapshot."""
        one, first = begun(TWO, NAMES), NAMES
        third = metadata("Carol").replace(b"p1", b"p3").replace(b"s1", b"s3").replace(b"+49301", b"+49303")
        part = b"--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n%s\r\n"
        update = request("UPDATE", 2)
        update.headers.set("Content-Type", "multipart/mixed;boundary=b")
        done = informed(one, replace(update, body=part % first + part % third + b"--b--\r\n"), first, 2)
        people = one.call_document(now(3))["parties"]
        assert [(plain(p["name"]), p["left_at"]) for p in people] == [("Alice", None), ("Bob", None), ("Carol", None)]
        assert [k.body for k in done if isinstance(k, c.Keep) and k.kind is c.Kept.METADATA] == [first, third]


class TestHoldAndPause:
    def test_a_hold_has_a_begin_and_an_end(self) -> None:
        one = begun()
        reoffer(one, 2, "inactive", "sendonly", at=5)
        assert one.call_document(now(6))["streams"][0]["pauses"] == [[f"{NOON}05.000Z", None]]
        reoffer(one, 3, "sendonly", "inactive", at=8)
        bye(one, 9)
        held, ended = one.call_document(now(10))["streams"]
        assert held["pauses"] == [[f"{NOON}05.000Z", f"{NOON}08.000Z"]]
        assert ended["pauses"] == [[f"{NOON}08.000Z", f"{NOON}09.000Z"]]

    def test_an_administrators_pause_stops_the_media_once(self) -> None:
        one = begun()
        assert one.handle(e.ResumeAsked(), now(1)) == []
        media, event, index = one.handle(e.PauseAsked(), now(2))
        assert (media, index) == (c.PauseMedia(), c.Index())
        assert isinstance(event, c.Keep)
        assert json.loads(event.body) == {"at": f"{NOON}02.000Z", "kind": "pause"}
        assert one.handle(e.PauseAsked(), now(3)) == []
        reoffer(one, 2, "inactive", "inactive", at=3)
        reoffer(one, 3, "sendonly", "sendonly", at=4)
        assert one.call_document(now(5))["streams"][0]["pauses"] == [[f"{NOON}02.000Z", None]]  # SDP does not end it
        assert kinds(one.handle(e.ResumeAsked(), now(5))) == [c.ResumeMedia, c.Keep, c.Index]
        assert one.call_document(now(6))["streams"][1]["pauses"] == [[f"{NOON}02.000Z", f"{NOON}05.000Z"]]

    def test_a_stream_that_begins_in_a_pause_is_paused(self) -> None:
        """It may be the only one: a payload type that changes its codec ends the stream before."""
        one, again = (
            begun(sdp("sendonly")),
            sdp("sendonly", version=2).replace(b"SAVP 8", b"SAVP 8\r\na=rtpmap:8 opus/48000"),
        )
        one.handle(e.PauseAsked(), now(2))
        one.handle(offered(2, again, cseq=2), now(3))
        one.handle(e.Opened({1: 20002}), now(3))
        assert [s.removed for s in one.streams] == [True, False]
        worker_learns = new_call(one, Part("m1", b""), (), bytes(32)).pauses
        assert worker_learns == ((int(now(2).wall.timestamp()) * 1_000_000_000, None),)
        one.handle(e.ResumeAsked(), now(4))
        assert one.call_document(now(5))["streams"][1]["pauses"] == [[f"{NOON}02.000Z", f"{NOON}04.000Z"]]
        assert one.streams[1].expected == now(4).wall

    def test_there_is_nothing_to_pause_before_or_after_a_call(self) -> None:
        fresh, ended = Recording(ID, PREFERRED, random), begun()
        ended.handle(e.Lost("gone"), now(1))
        assert [one.handle(e.PauseAsked(), now(2)) for one in (fresh, ended)] == [[], []]
        assert not fresh.paused and not ended.paused

    @pytest.mark.parametrize("reoffers", [True, False])
    def test_a_client_informed_of_a_pause_is_not_asked_to_send_f6(self, reoffers: bool) -> None:
        one = begun(sdp("sendonly"), policy=REOFFERS if reoffers else PREFERRED)
        done = one.handle(e.PauseAsked(), now(1))
        offers = [each for each in done if isinstance(each, c.Reoffer)]
        assert [(each.paused, b"a=inactive" in each.sdp) for each in offers] == [(True, True)] * reoffers
        told, version = one.agreement.answer_sdp, one.agreement.version
        informed(one, request("INVITE", 2), None, 2)  # an INVITE without SDP does not end it
        assert not reoffers or (one.agreement.answer_sdp, one.agreement.version) == (told, version)
        reoffer(one, 3, "sendonly", at=3)
        assert (b"a=inactive" in one.agreement.answer_sdp) == reoffers
        one.handle(e.ResumeAsked(), now(4))
        assert b"a=recvonly" in one.agreement.answer_sdp

    def test_a_client_that_owes_an_answer_is_not_informed_f6(self) -> None:
        one = begun(policy=REOFFERS)
        one.offers_first = True
        assert kinds(one.handle(e.PauseAsked(), now(1))) == [c.PauseMedia, c.Keep, c.Index]


class TestReoffers:
    def test_ports_and_session_stay_and_the_version_rises_o3(self) -> None:
        one = begun()
        first = one.agreement.answer_sdp
        one.handle(offered(2, TWO, cseq=2), now(1))
        assert one.agreement.answer_sdp == first  # a refresh gets the same answer
        reoffer(one, 3, "inactive", "sendonly", at=2)
        before, after = (re.findall(rb"o=- (\d+) (\d+)", sdp)[0] for sdp in (first, one.agreement.answer_sdp))
        assert (after[0], int(after[1])) == (before[0], int(before[1]) + 1)
        assert re.findall(rb"m=audio (\d+)", one.agreement.answer_sdp) == [b"20000", b"20002"]

    def test_an_offer_from_our_last_answer_counts_as_a_version_o3(self) -> None:
        one = begun()
        reoffer(one, 2, "inactive", "inactive", at=1)
        held = one.agreement.answer_sdp
        informed(one, request("INVITE", 3), None, 2)
        one.handle(e.Agreed(sdp("sendonly", "sendonly", version=3)), now(2))
        reoffer(one, 4, "inactive", "sendonly", at=3)
        assert [SessionDescription.parse(text).version for text in (held, one.agreement.answer_sdp)] == ["2", "4"]
        informed(one, request("INVITE", 5), None, 4)
        informed(one, request("INVITE", 6), None, 4)
        assert one.agreement.version == 5

    def test_metadata_in_an_answer_to_our_offer_change_no_offer_o3(self) -> None:
        one = begun(sdp("sendonly"), metadata("Alice"), REOFFERS)
        one.handle(e.PauseAsked(), now(1))
        told, version = one.agreement.answer_sdp, one.agreement.version
        answered = replace(request("INVITE", 2), body=sdp("inactive", version=2))
        answered.headers.set("Content-Type", "application/sdp")
        informed(one, answered, NAMES, 2)
        assert b"a=inactive" in told
        assert (one.agreement.answer_sdp, one.agreement.version) == (told, version)

    def test_a_new_line_gets_sockets_of_its_own(self) -> None:
        one = begun()
        done = reoffer(one, 2, "sendonly", "sendonly", "sendonly", at=1)
        assert [s.number for s in only(done, c.OpenSockets).streams] == [2]
        assert kinds(one.handle(e.Opened({2: 20004}), now(1)))[-3:] == [c.Accept, c.ChangeMedia, c.Index]

    def test_a_replaced_line_releases_its_sockets(self) -> None:
        one = begun()
        done = reoffer(one, 2, "sendonly", "image", at=1)
        assert kinds(done)[-3:] == [c.Accept, c.ChangeMedia, c.Index]
        assert only(done, c.ChangeMedia).removed == (1,) and one.streams[1].port
        assert one.handle(e.Lingered((1,)), now(2)) == [c.EndStreams((1,))]
        assert one.handle(e.Lingered((1,)), now(2)) == [] and not one.streams[1].port
        assert [s["removed"] for s in one.call_document(now(2))["streams"]] == [False, True]

    def test_a_line_with_port_0_is_held_and_answered_by_port_0(self) -> None:
        """Its sockets stay, and the port that it had is its own again when it comes back."""
        one = begun()
        change = only(reoffer(one, 2, "sendonly", "gone", at=1), c.ChangeMedia)
        assert (change.removed, [s.held for s in change.streams]) == ((), [False, True])
        assert b"m=audio 0 RTP/SAVP" in one.agreement.answer_sdp
        assert [s["removed"] for s in one.call_document(now(2))["streams"]] == [False, True]
        assert c.OpenSockets not in kinds(reoffer(one, 3, "sendonly", "sendonly", at=2))
        assert f"m=audio {one.streams[1].port} RTP/SAVP".encode() in one.agreement.answer_sdp
        held = one.call_document(now(3))["streams"][1]
        assert (held["removed"], held["pauses"]) == (False, [[f"{NOON}01.000Z", f"{NOON}02.000Z"]])

    def test_an_unacceptable_offer_leaves_everything_as_it_was(self) -> None:
        """Duty 8.12."""
        one = begun()
        before = one.call_document(now(1))
        assert only(one.handle(offered(2, b"v=0\r\n", cseq=2), now(1)), c.Refuse).status == 488
        assert one.state is State.RECORDING
        assert one.call_document(now(1))["streams"] == before["streams"]

    def test_more_streams_than_records_can_number_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one = begun()
        monkeypatch.setattr(streams, "MAX_STREAMS", 2)
        assert kinds(reoffer(one, 2, "sendonly", "sendonly", "sendonly", at=1)) == [c.Refuse]
        assert len(one.streams) == 2

    @pytest.mark.parametrize("first", [True, False])
    def test_a_refused_line_is_noted_once(self, first: bool) -> None:
        one = Recording(ID, PREFERRED, random) if first else begun()
        bad = sdp("sendonly", "sendonly", version=3, suite="F8_128_HMAC_SHA1_80").replace(b"F8_128", b"AES_CM_128", 1)
        done = one.handle(offered(2, bad, cseq=2), now(1))
        done += one.handle(e.Opened({0: 20000}), now(1)) if first else []
        assert kinds(done)[kinds(done).index(c.Accept) + 1] is c.Report  # of what is withdrawn nothing is told
        assert only(done, c.Report) == c.Report("line-refused", "crypto")
        assert c.Report not in kinds(one.handle(offered(3, bad, cseq=3), now(2)))
        (note,) = one.call_document(now(3))["notes"]
        assert note == {"kind": "line-refused", "at": f"{NOON}01.000Z", "reason": "crypto"}


class TestTheEnd:
    def test_the_bye_is_answered_only_by_the_finish(self) -> None:
        one = begun(TWO, NAMES)
        assert kinds(bye(one, 7))[-1] is c.CloseMedia
        document = only(one.handle(e.MediaClosed({0: {"packets": 350}, 1: {}}, True), now(7.1)), c.Finish).document
        assert (document["state"], document["duration_ms"]) == ("complete", 7000)
        assert [s["packets"] for s in document["streams"]] == [350, 0]
        assert {p["left_at"] for p in document["parties"]} == {f"{NOON}07.000Z"}
        assert (one.take_bye(), one.take_bye()) == (4, None)

    @pytest.mark.parametrize(
        ("reason", "clean", "state"),
        [
            ("restart", True, "interrupted"),
            ("disk", True, "interrupted"),
            ("loss", True, "complete"),
            ("loss", False, "interrupted"),
        ],
    )
    def test_audio_that_we_lost_makes_it_interrupted(self, reason: str, clean: bool, state: str) -> None:
        one = begun()
        bye(one, 7)
        gap = (1_772_366_401_000_000_000, 1_772_366_402_000_000_000, reason)
        done = one.handle(e.MediaClosed({0: {"gaps": [gap], "gap_ms": 1000}}, clean), now(7.1))
        assert only(done, c.Finish).document["state"] == state

    def test_our_own_stop_sends_bye_first(self) -> None:
        done = begun().handle(e.StopAsked("shutdown", interrupted=True), now(3))
        assert kinds(done)[0] is c.HangUp and kinds(done)[-1] is c.CloseMedia

    def test_what_comes_after_the_end_changes_nothing(self) -> None:
        one = begun()
        bye(one, 7)
        assert one.handle(e.Lost("timer"), now(8)) == []
        assert one.handle(e.StopAsked("shutdown", interrupted=True), now(8)) == []
        assert one.reason == "bye"
        assert only(one.handle(offered(9, TWO, cseq=5), now(8)), c.Refuse).status == 488
        assert one.handle(e.Resumed("m2"), now(8)) != []
        one.handle(e.MediaClosed({}, True), now(9))
        assert one.handle(e.Resumed("m3"), now(9)) == []


class TestFailedOffers:
    def test_a_first_offer_that_is_withdrawn_never_was_a_call(self) -> None:
        one = begun()
        assert one.handle(e.Unwanted(), now(0)) == [c.Discard()]
        assert one.state is State.OVER

    def test_a_withdrawn_reoffer_releases_its_sockets(self) -> None:
        one = begun()
        before, answer = one.call_document(now(1)), one.agreement.answer_sdp
        reoffer(one, 2, "gone", "inactive", "sendonly", at=1)
        one.handle(e.Opened({2: 20004}), now(1))
        assert one.handle(e.Unwanted(), now(1)) == [c.CloseSockets((2,))]
        assert one.call_document(now(1)) == before
        assert one.agreement.answer_sdp == answer

    def test_a_reoffer_without_ports_keeps_removed_streams(self) -> None:
        one = begun()
        reoffer(one, 2, "sendonly", "gone", at=1)
        before = one.call_document(now(2))["streams"]
        reoffer(one, 3, "inactive", "gone", "sendonly", at=2)
        (refusal,) = one.handle(e.OpenFailed("no-port"), now(2))
        assert isinstance(refusal, c.Refuse) and refusal.status == 503
        assert one.call_document(now(2))["streams"] == before

    @pytest.mark.parametrize("event", [e.StopAsked("shutdown", True), e.Lost("closed")])
    def test_an_end_while_the_sockets_are_opened_is_a_refusal(self, event: e.Event) -> None:
        one = Recording(ID, PREFERRED, random)
        one.handle(offered(1, sdp("sendonly")), now())
        assert kinds(one.handle(event, now())) == [c.Refuse, c.Discard]
        assert one.handle(e.Opened({0: 20000}), now()) == []
        assert one.state is State.OVER


def protected(version: int, *profiles: str) -> bytes:
    """Offer a line of each profile; "weak" has keys with a short tag."""
    body = sdp(*["sendonly"] * len(profiles), version=version).decode().split("m=audio ")
    for place, profile in enumerate(profiles, 1):
        if profile == "RTP/AVP":
            body[place] = re.sub(r"a=crypto.*\r\n", "", body[place]).replace("SAVP", "AVP")
        elif profile == "weak":
            body[place] = body[place].replace("SHA1_80", "SHA1_32")
    return "m=audio ".join(body).encode()


@pytest.mark.parametrize(
    ("srtp", "first", "last", "taken"),
    [
        ("preferred", "RTP/AVP RTP/SAVP", "RTP/AVP RTP/AVP", False),  # to plain RTP
        ("preferred", "RTP/AVP RTP/SAVP", "RTP/AVP RTP/SAVP", True),
        ("preferred", "RTP/AVP RTP/AVP", "RTP/AVP RTP/AVP", True),
        ("required", "RTP/SAVP RTP/SAVP", "RTP/SAVP weak", False),  # to weaker keys
        ("required", "RTP/SAVP weak", "RTP/SAVP weak", True),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_a_line_left_out_returns_with_no_less_protection(
    srtp: str, first: str, last: str, taken: bool, stored: bool
) -> None:
    """No client may leave one out (RFC 3264 section 8), and some do."""
    one = begun(protected(1, *first.split()), policy=Policy(srtp=srtp, secure=True))  # type: ignore[arg-type]  # from the list
    assert c.Accept in kinds(one.handle(offered(2, protected(2, first.split()[0])), now(1)))
    one = restarted(one) if stored else one
    done = one.handle(offered(3, protected(3, *last.split())), now(2))
    if taken:
        assert c.Accept in kinds(done) and len(one.streams) == 2
    else:
        refusal = only(done, c.Refuse)
        assert (refusal.token, refusal.status, refusal.reason) == (Token(3), 488, "srtp-downgrade")


def test_a_call_goes_through_all_states_in_order() -> None:
    one = Recording(ID, PREFERRED, random)
    for early in (e.Lost("gone"), e.MediaClosed({}, clean=True), e.Opened({0: 20000})):
        assert one.handle(early, now()) == []
    assert one.state is State.NEW
    seen = []
    for event in (
        offered(1, sdp("sendonly")),
        e.Opened({0: 20000}),
        offered(2, sdp("sendonly", version=2), cseq=2),
        e.HungUp(Token(9), request("BYE", 3), None),
        e.MediaClosed({}, clean=True),
    ):
        one.handle(event, now())
        seen.append(one.state)
    assert seen == [State.OPENING, State.RECORDING, State.RECORDING, State.CLOSING, State.FINISHING]
    one.release()
    assert one.shown_state() == "complete"
