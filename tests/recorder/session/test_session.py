"""Stories of one recording: what comes in, what is to be done, what the call's document says."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.mline_matching import MAX_STREAMS
from recorder.session.session import Recording
from recorder.session.states import State
from sip.sdp.answer import Policy
from sip.sdp.description import SessionDescription
from sip.ua.events import Token
from tests.in_process.offers import metadata, now, offered, random, request, sdp

ID = "11111111-2222-4333-8444-555555555555"


def recording() -> Recording:
    return Recording(ID, Policy(srtp="preferred"), random)


def begun(*directions: str) -> Recording:
    """A recording that was accepted with two lines."""
    one = recording()
    one.handle(offered(1, sdp(*(directions or ("sendonly", "sendonly"))), metadata("Alice", "Bob")), now())
    one.handle(e.Opened({0: 20000, 1: 20002}), now())
    return one


def kinds(commands: list[c.Command]) -> list[type]:
    return [type(x) for x in commands]


def only(commands: list[c.Command], kind: type[c.Command]) -> c.Command:
    (found,) = [x for x in commands if isinstance(x, kind)]
    return found


class TestTheBeginning:
    def test_sockets_come_before_the_answer(self) -> None:
        one = recording()
        first = one.handle(offered(1, sdp("sendonly", "sendonly"), metadata("Alice", "Bob")), now())
        assert kinds(first)[-1] is c.OpenSockets
        assert c.Accept not in kinds(first)
        second = one.handle(e.Opened({0: 20000, 1: 20002}), now())
        assert kinds(second) == [c.Keep, c.Accept]
        accept = second[-1]
        assert isinstance(accept, c.Accept) and accept.first
        assert [plan.number for plan in accept.streams] == [0, 1]  # to be kept before the answer says so
        assert one.state is State.RECORDING

    def test_the_answer_takes_both_lines_with_our_ports_and_keys(self) -> None:
        answer = begun().agreement.answer_sdp.decode()
        assert re.findall(r"m=audio (\d+)", answer) == ["20000", "20002"]
        assert answer.count("a=recvonly") == 2
        assert "a=label:1" in answer
        assert "QUFB" not in answer  # the offer's key, which begins with "AAA"
        assert [stream.plan().here for stream in begun().streams] == ["198.51.100.7"] * 2

    def test_an_answered_offer_is_not_kept_in_memory(self) -> None:
        """Half a KB of each of thousands of calls."""
        one = begun()
        assert (one.agreement.offer_sdp, one._before, one._answer_token) == (b"", recording()._before, None)
        assert one._before is recording()._before

    def test_the_signalling_is_kept_sealed_with_the_call(self) -> None:
        """Duties R34, S30."""
        one = recording()
        done = one.handle(offered(1, sdp("sendonly"), metadata("Alice")), now())
        assert [x.kind for x in done if isinstance(x, c.Keep)] == [c.Kept.OFFER, c.Kept.EVENT, c.Kept.METADATA]

    def test_an_unreadable_offer_is_refused_and_leaves_nothing(self) -> None:
        """Duty O5."""
        one = recording()
        done = one.handle(offered(1, b"nonsense"), now())
        refusal = only(done, c.Refuse)
        assert isinstance(refusal, c.Refuse)
        assert refusal.status == 488
        assert kinds(done)[-1] is c.Discard
        assert one.state is State.OVER

    def test_without_a_port_it_is_503_with_retry_after(self) -> None:
        """Duty 8.10."""
        one = recording()
        one.handle(offered(1, sdp("sendonly")), now())
        refusal = only(one.handle(e.OpenFailed("no-port"), now()), c.Refuse)
        assert isinstance(refusal, c.Refuse)
        assert (refusal.status, refusal.retry_after) == (503, 30)


class TestParties:
    def test_owners_and_parties_are_those_of_the_metadata(self) -> None:
        document = begun().call_document(now(1))
        assert [p["name"] for p in document["parties"]] == ["Alice", "Bob"]
        assert [s["party"] for s in document["streams"]] == [0, 1]
        assert document["session_id"] == "c2Vzc2lvbi0xLS0tLS0tLQ=="

    def test_without_metadata_the_call_id_is_the_session(self) -> None:
        """Duty R18."""
        one = recording()
        one.handle(offered(1, sdp("sendonly")), now())
        one.handle(e.Opened({0: 20000}), now())
        assert one.call_document(now())["session_id"] == "call-1"

    def test_an_update_may_bring_names_later(self) -> None:
        one = begun()
        done = one.handle(e.Informed(request("UPDATE", 2), metadata("Alice", "Bob", "Carol")), now(2))
        assert kinds(done)[-1] is c.Index
        assert [p["name"] for p in one.call_document(now(3))["parties"]] == ["Alice", "Bob", "Carol"]

    def test_further_metadata_of_a_message_are_added_r17(self) -> None:
        """Duty R17: each may call itself a snapshot."""
        one, first = begun(), metadata("Alice", "Bob")
        third = metadata("Carol").replace(b"p1", b"p3").replace(b"s1", b"s3").replace(b"+49301", b"+49303")
        part = b"--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n%s\r\n"
        update = request("UPDATE", 2)
        update.headers.set("Content-Type", "multipart/mixed;boundary=b")
        update = replace(update, body=part % first + part % third + b"--b--\r\n")
        done = one.handle(e.Informed(update, first), now(2))
        people = one.call_document(now(3))["parties"]
        assert [(p["name"], p["left_at"]) for p in people] == [("Alice", None), ("Bob", None), ("Carol", None)]
        assert [k.body for k in done if isinstance(k, c.Keep) and k.kind is c.Kept.METADATA] == [first, third]


class TestHoldAndPause:
    def test_a_hold_is_shown_with_begin_and_end(self) -> None:
        one = begun()
        one.handle(offered(2, sdp("inactive", "sendonly", version=2), cseq=2), now(5))
        one.handle(offered(3, sdp("sendonly", "sendonly", version=3), cseq=3), now(9))
        held, other = one.call_document(now(10))["streams"]
        assert held["pauses"] == [["2026-03-01T12:00:05.000Z", "2026-03-01T12:00:09.000Z"]]
        assert other["pauses"] == []

    def test_a_hold_that_lasts_has_no_end_until_the_call_ends(self) -> None:
        one = begun()
        one.handle(offered(2, sdp("inactive", "inactive", version=2), cseq=2), now(5))
        assert one.call_document(now(6))["streams"][0]["pauses"] == [["2026-03-01T12:00:05.000Z", None]]
        one.handle(e.HungUp(Token(4), request("BYE", 3), None), now(8))
        assert one.call_document(now(9))["streams"][0]["pauses"] == [
            ["2026-03-01T12:00:05.000Z", "2026-03-01T12:00:08.000Z"]
        ]

    def test_an_administrators_pause_stops_the_media(self) -> None:
        one = begun()
        assert c.PauseMedia in kinds(one.handle(e.PauseAsked(), now(2)))
        assert one.handle(e.PauseAsked(), now(3)) == []
        assert c.ResumeMedia in kinds(one.handle(e.ResumeAsked(), now(4)))
        assert one.call_document(now(5))["streams"][1]["pauses"] == [
            ["2026-03-01T12:00:02.000Z", "2026-03-01T12:00:04.000Z"]
        ]

    def test_resuming_by_sdp_does_not_end_an_administrators_pause(self) -> None:
        one = begun()
        one.handle(e.PauseAsked(), now(2))
        one.handle(offered(2, sdp("inactive", "inactive", version=2), cseq=2), now(3))
        one.handle(offered(3, sdp("sendonly", "sendonly", version=3), cseq=3), now(4))
        assert one.call_document(now(5))["streams"][0]["pauses"] == [["2026-03-01T12:00:02.000Z", None]]

    @pytest.mark.parametrize("reoffers", [True, False])
    def test_a_client_informed_of_a_pause_is_not_asked_to_send_f6(self, reoffers: bool) -> None:
        one = Recording(ID, Policy(srtp="preferred", reoffers=reoffers), random)
        one.handle(offered(1, sdp("sendonly")), now())
        one.handle(e.Opened({0: 20000}), now())
        one.handle(e.PauseAsked(), now(1))
        one.handle(offered(2, sdp("sendonly", version=2), cseq=2), now(2))
        assert (b"a=inactive" in one.agreement.answer_sdp) == reoffers
        one.handle(e.ResumeAsked(), now(3))
        assert b"a=recvonly" in one.agreement.answer_sdp


class TestReoffers:
    def test_ports_and_session_stay_and_the_version_rises(self) -> None:
        """Duty O3."""
        one = begun()
        first = one.agreement.answer_sdp.decode()
        one.handle(offered(2, sdp("inactive", "sendonly", version=2), cseq=2), now(1))
        second = one.agreement.answer_sdp.decode()
        origin = re.compile(r"o=- (\d+) (\d+)")
        assert origin.search(first)[1] == origin.search(second)[1]  # type: ignore[index]  # every answer has an o= line
        assert int(origin.search(second)[2]) == int(origin.search(first)[2]) + 1  # type: ignore[index]  # the same
        assert re.findall(r"m=audio (\d+)", second) == ["20000", "20002"]

    def test_a_refresh_gives_the_very_same_answer(self) -> None:
        """Duty O3."""
        one = begun()
        first = one.agreement.answer_sdp
        one.handle(offered(2, sdp("sendonly", "sendonly"), cseq=2), now(1))
        assert one.agreement.answer_sdp == first

    def test_an_offer_from_our_last_answer_counts_as_a_version_o3(self) -> None:
        one = begun()
        one.handle(offered(2, sdp("inactive", "inactive", version=2), cseq=2), now(1))
        held = one.agreement.answer_sdp
        one.handle(e.Informed(request("INVITE", 3), None), now(2))
        one.handle(e.Agreed(sdp("sendonly", "sendonly", version=3)), now(2))
        one.handle(offered(4, sdp("inactive", "sendonly", version=4), cseq=4), now(3))
        assert [SessionDescription.parse(text).version for text in (held, one.agreement.answer_sdp)] == [
            "2",
            "4",
        ]
        one.handle(e.Informed(request("INVITE", 5), None), now(4))
        one.handle(e.Informed(request("INVITE", 6), None), now(4))
        assert one.agreement.version == 5

    def test_an_invite_without_sdp_does_not_end_a_pause_f6(self) -> None:
        one = Recording(ID, Policy(srtp="preferred", reoffers=True), random)
        one.handle(offered(1, sdp("sendonly")), now())
        one.handle(e.Opened({0: 20000}), now())
        assert only(one.handle(e.PauseAsked(), now(1)), c.Reoffer).paused
        told, version = one.agreement.answer_sdp, one.agreement.version
        one.handle(e.Informed(request("INVITE", 2), None), now(2))
        assert (one.agreement.answer_sdp, one.agreement.version) == (told, version)
        assert not only(one.handle(e.ResumeAsked(), now(3)), c.Reoffer).paused

    def test_metadata_in_an_answer_to_our_offer_change_no_offer_o3(self) -> None:
        one = Recording(ID, Policy(srtp="preferred", reoffers=True), random)
        one.handle(offered(1, sdp("sendonly"), metadata("Alice")), now())
        one.handle(e.Opened({0: 20000}), now())
        one.handle(e.PauseAsked(), now(1))
        told, version = one.agreement.answer_sdp, one.agreement.version
        answered = replace(request("INVITE", 2), body=sdp("inactive", version=2))
        answered.headers.set("Content-Type", "application/sdp")
        one.handle(e.Informed(answered, metadata("Alice", "Bob")), now(2))
        assert b"a=inactive" in told
        assert (one.agreement.answer_sdp, one.agreement.version) == (told, version)

    def test_a_new_line_gets_sockets_of_its_own(self) -> None:
        one = begun()
        done = one.handle(offered(2, sdp("sendonly", "sendonly", "sendonly", version=2), cseq=2), now(1))
        opening = only(done, c.OpenSockets)
        assert isinstance(opening, c.OpenSockets)
        assert [s.number for s in opening.streams] == [2]
        assert c.ChangeMedia in kinds(one.handle(e.Opened({2: 20004}), now(1)))

    def test_a_replaced_line_releases_its_sockets(self) -> None:
        one = begun()
        done = one.handle(offered(2, sdp("sendonly", "image", version=2), cseq=2), now(1))
        change = only(done, c.ChangeMedia)
        assert isinstance(change, c.ChangeMedia)
        assert change.removed == (1,)
        assert one.streams[1].port
        assert one.handle(e.Lingered((1,)), now(2)) == [c.EndStreams((1,))]
        assert one.handle(e.Lingered((1,)), now(2)) == []
        assert not one.streams[1].port
        assert [s["removed"] for s in one.call_document(now(2))["streams"]] == [False, True]

    def test_a_line_with_port_0_is_held_and_answered_by_port_0(self) -> None:
        """Its sockets stay, and the port that it had is its own again when it comes back."""
        one = begun()
        done = one.handle(offered(2, sdp("sendonly", "gone", version=2), cseq=2), now(1))
        change = only(done, c.ChangeMedia)
        assert isinstance(change, c.ChangeMedia)
        assert (change.removed, [s.held for s in change.streams]) == ((), [False, True])
        assert b"m=audio 0 RTP/SAVP" in one.agreement.answer_sdp
        assert [s["removed"] for s in one.call_document(now(2))["streams"]] == [False, True]
        back = one.handle(offered(3, sdp("sendonly", "sendonly", version=3), cseq=3), now(2))
        assert c.OpenSockets not in kinds(back)
        assert f"m=audio {one.streams[1].port} RTP/SAVP".encode() in one.agreement.answer_sdp
        held = one.call_document(now(3))["streams"][1]
        assert (held["removed"], len(held["pauses"]), held["pauses"][0][1] is None) == (False, 1, False)

    def test_an_offer_we_cannot_take_leaves_everything_as_it_was(self) -> None:
        """Duty 8.12."""
        one = begun()
        before = one.call_document(now(1))
        refusal = only(one.handle(offered(2, b"v=0\r\n", cseq=2), now(1)), c.Refuse)
        assert isinstance(refusal, c.Refuse)
        assert refusal.status == 488
        assert one.state is State.RECORDING
        assert one.call_document(now(1))["streams"] == before["streams"]

    @pytest.mark.parametrize("first", [True, False])
    def test_a_refused_line_is_noted_once(self, first: bool) -> None:
        one = recording() if first else begun()
        bad = sdp("sendonly", "sendonly", version=3, suite="F8_128_HMAC_SHA1_80").replace(b"F8_128", b"AES_CM_128", 1)
        done = one.handle(offered(2, bad, cseq=2), now(1))
        done += one.handle(e.Opened({0: 20000}), now(1)) if first else []
        assert kinds(done)[kinds(done).index(c.Accept) + 1] is c.Report  # of what is withdrawn nothing is told
        assert only(done, c.Report) == c.Report("line-refused", "crypto")
        again = one.handle(offered(3, bad, cseq=3), now(2))
        assert c.Report not in kinds(again)
        (note,) = one.call_document(now(3))["notes"]
        assert note == {"kind": "line-refused", "at": "2026-03-01T12:00:01.000Z", "reason": "crypto"}


class TestTheEnd:
    def test_the_bye_is_answered_only_by_the_finish(self) -> None:
        one = begun()
        done = one.handle(e.HungUp(Token(4), request("BYE", 2), None), now(7))
        assert kinds(done)[-1] is c.CloseMedia
        last = one.handle(e.MediaClosed({0: {"packets": 350}, 1: {"packets": 349}}, True), now(7.1))
        finish = only(last, c.Finish)
        assert isinstance(finish, c.Finish)
        assert finish.document["state"] == "complete"
        assert finish.document["duration_ms"] == 7000
        assert [s["packets"] for s in finish.document["streams"]] == [350, 349]
        assert one.take_bye() == 4
        assert one.take_bye() is None

    def test_everybody_has_left_at_the_end(self) -> None:
        one = begun()
        one.handle(e.HungUp(Token(4), request("BYE", 2), None), now(7))
        assert {p["left_at"] for p in one.call_document(now(8))["parties"]} == {"2026-03-01T12:00:07.000Z"}

    def test_audio_lost_to_a_restart_makes_it_interrupted(self) -> None:
        one = begun()
        one.handle(e.HungUp(Token(4), request("BYE", 2), None), now(7))
        gap = (1_772_366_401_000_000_000, 1_772_366_402_000_000_000, "restart")
        (finish,) = one.handle(e.MediaClosed({0: {"gaps": [gap], "gap_ms": 1000}}, True), now(7.1))
        assert isinstance(finish, c.Finish)
        assert finish.document["state"] == "interrupted"

    def test_audio_lost_on_the_network_does_not(self) -> None:
        one = begun()
        one.handle(e.HungUp(Token(4), request("BYE", 2), None), now(7))
        gap = (1_772_366_401_000_000_000, 1_772_366_402_000_000_000, "loss")
        (finish,) = one.handle(e.MediaClosed({0: {"gaps": [gap], "gap_ms": 1000}}, True), now(7.1))
        assert isinstance(finish, c.Finish)
        assert finish.document["state"] == "complete"

    def test_our_own_stop_says_bye_first(self) -> None:
        done = begun().handle(e.StopAsked("shutdown", interrupted=True), now(3))
        assert kinds(done)[0] is c.HangUp
        assert kinds(done)[-1] is c.CloseMedia

    def test_a_second_end_changes_nothing(self) -> None:
        one = begun()
        one.handle(e.HungUp(Token(4), request("BYE", 2), None), now(7))
        assert one.handle(e.Lost("timer"), now(8)) == []
        assert one.handle(e.StopAsked("shutdown", interrupted=True), now(8)) == []
        assert one.reason == "bye"

    def test_an_offer_while_it_ends_is_refused(self) -> None:
        one = begun()
        one.handle(e.Lost("timer"), now(7))
        refusal = only(one.handle(offered(9, sdp("sendonly", "sendonly"), cseq=5), now(7)), c.Refuse)
        assert isinstance(refusal, c.Refuse)
        assert refusal.status == 488


class TestOffersThatComeToNothing:
    def test_a_first_offer_that_is_withdrawn_never_was_a_call(self) -> None:
        one = begun()
        assert one.handle(e.Unwanted(), now(0)) == [c.Discard()]
        assert one.state is State.OVER

    def test_a_withdrawn_reoffer_releases_its_sockets(self) -> None:
        one = begun()
        before, answer = one.call_document(now(1)), one.agreement.answer_sdp
        one.handle(offered(2, sdp("gone", "inactive", "sendonly", version=2), cseq=2), now(1))
        one.handle(e.Opened({2: 20004}), now(1))
        assert one.handle(e.Unwanted(), now(1)) == [c.CloseSockets((2,))]
        assert one.call_document(now(1)) == before
        assert one.agreement.answer_sdp == answer

    def test_a_reoffer_without_ports_keeps_removed_streams(self) -> None:
        one = begun()
        one.handle(offered(2, sdp("sendonly", "gone", version=2), cseq=2), now(1))
        before = one.call_document(now(2))["streams"]
        one.handle(offered(3, sdp("inactive", "gone", "sendonly", version=3), cseq=3), now(2))
        (refusal,) = one.handle(e.OpenFailed("no-port"), now(2))
        assert isinstance(refusal, c.Refuse)
        assert refusal.status == 503
        assert one.call_document(now(2))["streams"] == before

    def test_a_reoffer_is_accepted_before_the_media_change(self) -> None:
        done = begun().handle(offered(2, sdp("inactive", "sendonly", version=2), cseq=2), now(1))
        assert kinds(done)[-3:] == [c.Accept, c.ChangeMedia, c.Index]

    @pytest.mark.parametrize("event", [e.StopAsked("shutdown", True), e.Lost("closed")])
    def test_an_end_while_the_sockets_are_opened_is_a_refusal(self, event: e.Event) -> None:
        one = recording()
        one.handle(offered(1, sdp("sendonly")), now())
        assert kinds(one.handle(event, now())) == [c.Refuse, c.Discard]
        assert one.handle(e.Opened({0: 20000}), now()) == []
        assert one.state is State.OVER

    def test_stream_numbers_stay_within_the_record_format(self) -> None:
        one = begun()
        number = 1
        for media in ("text", "audio") * 200:
            number += 1
            done = one.handle(offered(number, sdp("sendonly", media=media, version=number), cseq=number), now(number))
            opening = [x for x in done if isinstance(x, c.OpenSockets)]
            if not opening:
                break
            one.handle(e.Opened({s.number: 30000 for s in opening[0].streams}), now(number))
        assert len(one.streams) == MAX_STREAMS
        assert isinstance(done[0], c.Refuse)

    def test_a_part_resumed_after_the_end_is_not_noted(self) -> None:
        one = begun()
        one.handle(e.HungUp(Token(4), request("BYE", 2), None), now(7))
        assert one.handle(e.Resumed("m2"), now(7)) != []
        one.handle(e.MediaClosed({}, True), now(8))
        assert one.handle(e.Resumed("m3"), now(8)) == []


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

    def offer(version: int, *profiles: str) -> bytes:
        body = sdp(*["sendonly"] * len(profiles), version=version).decode().split("m=audio ")
        for place, profile in enumerate(profiles, 1):
            if profile == "RTP/AVP":
                body[place] = re.sub(r"a=crypto.*\r\n", "", body[place]).replace("SAVP", "AVP")
            elif profile == "weak":
                body[place] = body[place].replace("SHA1_80", "SHA1_32")
        return "m=audio ".join(body).encode()

    one = Recording(ID, Policy(srtp=srtp, secure=True), random)  # type: ignore[arg-type]  # from the list
    one.handle(offered(1, offer(1, *first.split())), now())
    one.handle(e.Opened({0: 20000, 1: 20002}), now())
    assert only(one.handle(offered(2, offer(2, first.split()[0])), now(1)), c.Accept)
    if stored:
        one = Recording.from_state(json.loads(json.dumps(one.to_state())), random)
    done = one.handle(offered(3, offer(3, *last.split())), now(2))
    if taken:
        assert only(done, c.Accept) and len(one.streams) == 2
    else:
        assert only(done, c.Refuse) == c.Refuse(Token(3), 488, "srtp-downgrade", only(done, c.Refuse).warning)  # type: ignore[attr-defined]  # it is one
