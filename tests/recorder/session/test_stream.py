"""One stream over all re-offers: its key, holds, formats, and a way back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

from personal import revealed
from recorder.session.commands import DtlsKeys, PortKeys
from recorder.session.offer_answer import Agreement
from recorder.session.stream import Stream, own_key
from recorder.session.streams import plans_of
from sip.sdp.answer import LinePlan, Policy, plan
from sip.sdp.description import Format, SessionDescription
from sip.sdp.plan import Addresses
from sip.siprec.stream_owners import Owner
from tests.in_process.offers import NOON, random, sdp


def line(direction: str = "sendonly") -> LinePlan:
    return plan(SessionDescription.parse(sdp(direction)), Policy(srtp="preferred"))[0]


def stream() -> Stream:
    return Stream(0, line(), own_key(line(), random))


def stored(one: Stream) -> Stream:
    """Restore a stream from its checkpoint."""
    return Stream.from_state(json.loads(json.dumps(one.to_state(), default=revealed)))


def at(seconds: int) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_our_key_is_ours_and_changes_with_the_suite_only() -> None:
    one = stream()
    before = one.own_key
    assert len(before) == 30 and before != one.line.crypto.key
    one.renew(line("inactive"), lambda size: bytes(size))
    assert one.own_key == before
    one.renew(replace(line(), suite=None), random)
    assert one.own_key == b""


def test_overlapping_holds_and_pauses_are_one_interval() -> None:
    one = stream()
    one.hold(True, at(1))
    one.pause(True, at(2))
    one.hold(False, at(3))
    assert [end for _, end in one.pauses] == [None]
    one.pause(False, at(4))
    one.hold(True, at(5))
    one.close(at(6))
    assert one.pauses == ((at(1), at(4)), (at(5), at(6)))


def test_a_source_has_moved_where_a_re_offer_names_another() -> None:
    one, elsewhere = stream(), replace(line(), source=("192.0.2.1", 30002))
    seen = []
    for offered in (line(), elsewhere, elsewhere, replace(elsewhere, suite=None), replace(line(), suite=None)):
        one.renew(offered, random)
        seen.append(one.plan().moved)
    assert seen == [False, True, False, False, True]
    one.renew(elsewhere, random)
    one.renew(line(), random)
    one.leave(at(1))
    assert not one.plan().moved


def test_media_move_when_an_answer_names_another_address() -> None:
    one = stream()
    seen = []
    for here in ("198.51.100.7", "198.51.100.7", "198.51.100.8", "198.51.100.8"):
        one.renew(line(), random)
        one.told(here)
        seen.append((one.plan().here, one.plan().moved))
    assert seen == [("198.51.100.7", False)] * 2 + [("198.51.100.8", True), ("198.51.100.8", False)]
    assert stored(one).here == "198.51.100.8"
    before = one.copy()
    one.told("198.51.100.7")
    assert before.here == "198.51.100.8"


def test_a_checkpoint_of_an_earlier_version_can_be_read() -> None:
    lacking = {"here", "keys", "began", "away", "owner", "before", "elsewhere", "speakers"}
    again = Stream.from_state({name: value for name, value in stream().to_state().items() if name not in lacking})
    again.renew(line(), random)
    again.told("198.51.100.7")
    assert (again.here, again.moved, again.keys, again.expected) == ("198.51.100.7", False, None, None)


def test_a_payload_type_keeps_its_meaning_without_rtpmap() -> None:
    opus, more = Format(97, "opus", 48_000, 2, "stereo=1"), Format(98, "", 8000)
    one = Stream(0, replace(line(), formats=(opus,)), b"")
    one.renew(replace(line(), formats=(Format(97, "", 8000), more)), random)
    assert one.formats == one.line.formats == (opus, more)
    assert one.document(Owner())["codec"] == "opus"
    assert one.redefines(replace(line(), formats=(Format(97, "AMR", 8000),)))


def test_parameters_left_out_later_stay_known() -> None:
    """A picture cannot be made without the parameter sets that stood in the first offer."""
    sets, packed = Format(97, "H264", 90_000, 1, "sprop-parameter-sets=Z0IA,aM4=="), Format(98, "AMR", 8000, 1, "crc=1")
    one = Stream(0, replace(line(), formats=(sets, packed)), b"")
    bare = replace(line(), formats=(sets._replace(fmtp=None), packed._replace(fmtp=None)))
    assert one.redefines(bare)
    assert not one.redefines(replace(bare, held=True))
    one.renew(replace(bare, held=True), random)
    assert one.formats == (sets, packed)
    one.renew(replace(line(), formats=(sets._replace(fmtp=None), packed)), random)
    assert one.formats == (sets, packed)
    named = replace(line(), formats=(Format(97, "", 8000), Format(98, "", 8000, 1, "octet-align=1")))
    assert one.redefines(named)
    one.renew(replace(line(), formats=(sets._replace(fmtp="sprop-parameter-sets=Z0IB,aM4=="), packed)), random)
    assert one.formats[0].fmtp == "sprop-parameter-sets=Z0IB,aM4=="


def test_a_stream_held_only_by_metadata_may_have_had_speech() -> None:
    packed = Format(98, "AMR", 8000)
    for direction, differs in (("sendonly", True), ("inactive", False)):
        one = Stream(0, replace(line(direction), formats=(packed,)), b"", at(0))
        one.hold(True, at(0))
        assert one.redefines(replace(line(), formats=(packed._replace(fmtp="octet-align=1"),))) == differs


def test_the_label_comes_from_the_sdp_before_the_metadata() -> None:
    told = Owner((0,), label="7")
    assert stream().document(told)["label"] == stream().label != "7"
    assert Stream(0, replace(line(), label=None), b"").document(told)["label"] == "7"


def test_a_copy_does_not_change_with_the_original() -> None:
    one = stream()
    one.port, one.elsewhere, one.figures = 20000, (1,), {"packets": 7}
    before = one.copy()
    one.leave(at(1))
    assert before.to_state() == {
        **stream().to_state(), "port": 20000, "elsewhere": [1], "figures": {"packets": 7}
    }  # fmt: skip
    assert stored(one).to_state() == one.to_state()
    assert stored(one).document(Owner()) == one.document(Owner())
    one.remove(at(2))
    assert before.pauses == ()
    assert one.document(Owner((2,), False, 1, (0, 1)))["earlier"] == [0, 1]


def test_only_what_goes_on_is_planned_and_answered() -> None:
    gone, live = stream(), stream()
    gone.remove(at(1))
    live.opened(20002)
    assert [p.number for p in plans_of([gone, live])] == [0]
    agreement, offer = Agreement(5), sdp("sendonly")
    agreement.offered(SessionDescription.parse(offer), offer)
    agreement.agree((line(),))
    body = agreement.answer([live], Addresses("198.51.100.7"), paused=False).decode()
    assert "o=- 5 1 IN IP4 198.51.100.7" in body
    assert "m=audio 20002" in body


def dtls_line(fingerprint: str = "sha-256 AA", answer: str = "active") -> LinePlan:
    return replace(line(), suite=None, crypto=None, setup="actpass", fingerprints=(fingerprint,), answer_setup=answer)


RTP_KEYS, RTCP_KEYS = (
    PortKeys("AEAD_AES_128_GCM", b"t" * 28, b"o" * 28),
    PortKeys("AEAD_AES_128_GCM", b"T" * 28, b"O" * 28),
)


def test_dtls_keys_survive_a_reoffer_and_a_checkpoint_d6() -> None:
    one = Stream(0, dtls_line(), b"")
    one.keyed(False, RTP_KEYS, ("sha-256 AA",))
    one.keyed(True, RTCP_KEYS, ("sha-256 AA",))
    one.renew(dtls_line(), random)
    assert one.keys == DtlsKeys(RTP_KEYS, RTCP_KEYS)
    assert stored(one).plan() == one.plan()
    assert one.copy().keys == one.keys
    assert "t" * 28 not in repr(one.plan()) and RTP_KEYS.theirs.hex() not in repr(one.keys)


def test_another_certificate_makes_the_keys_stale_d6() -> None:
    one = Stream(0, dtls_line(), b"")
    one.keyed(False, RTP_KEYS, ("sha-256 AA",))
    one.renew(dtls_line("sha-256 BB"), random)
    assert one.keys == DtlsKeys(RTP_KEYS, stale=True)
    one.keyed(False, RTCP_KEYS, ("sha-256 AA",))  # of the handshake that was under way
    assert one.keys == DtlsKeys(RTP_KEYS, stale=True)
    one.keyed(False, RTCP_KEYS, ("sha-256 BB",))
    assert one.keys == DtlsKeys(RTCP_KEYS)


def test_a_change_between_sdes_and_dtls_drops_the_old_keys() -> None:
    one = Stream(0, dtls_line(), b"")
    one.keyed(False, RTP_KEYS, ("sha-256 AA",))
    one.renew(line(), random)
    one.keyed(False, RTP_KEYS, ("sha-256 AA",))
    assert (one.plan().keys, len(one.own_key)) == (None, 30)
    one.renew(dtls_line(), random)
    assert (one.plan().keys, one.own_key) == (DtlsKeys(), b"")


def test_media_are_expected_from_the_end_of_the_last_hold() -> None:
    one = Stream(0, line(), b"", at(1))
    one.hold(True, at(2))
    one.hold(False, at(5))
    assert [each.plan().expected for each in (one, one.copy(), stored(one))] == [at(5)] * 3
    assert stored(Stream(0, line(), b"", at(1))).expected == at(1)
