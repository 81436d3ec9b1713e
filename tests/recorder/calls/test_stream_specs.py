"""From what was negotiated to what a worker has to know."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from recorder.calls.stream_specs import former_keys, keys_from_state, keys_to_state, new_call, stream_specs
from recorder.config.model import Customer
from recorder.session.commands import DtlsKeys, PortKeys, StreamPlan
from recorder.session.session import Recording
from recorder.session.stream import Stream
from recorder.session.streams import plans_of
from recorder.workers.messages import Part
from sip.sdp.answer import Policy
from sip.sdp.sdes import CryptoOffer, MasterKey
from tests.in_process.offers import random
from tests.in_process.recorder_node import configured
from tests.recorder.session.test_stream import at, line


def test_keys_payloads_and_where_media_may_come_from(tmp_path: Path) -> None:
    customer = configured(tmp_path).customers[0]
    (spec,) = stream_specs([StreamPlan(3, line(), b"o" * 30, True, here="198.51.100.7")], customer)
    assert (spec.stream, spec.suite, spec.held) == (3, "AES_CM_128_HMAC_SHA1_80", True)
    assert (spec.key, spec.own_key, spec.mki, spec.others) == (b"A" * 30, b"o" * 30, 0, ())
    assert (spec.payloads, spec.networks) == (((8, "PCMA", 8000),), ("127.0.0.0/8",))
    assert spec.here == "198.51.100.7" and spec.continuous
    for media in ("video", "text", "application"):  # these send when there is something to show
        assert not stream_specs([StreamPlan(3, replace(line(), media=media), b"", False)], customer)[0].continuous


def test_all_keys_of_a_line_go_to_the_worker_with_their_mki(tmp_path: Path) -> None:
    customer, (a, b) = configured(tmp_path).customers[0], [base64.b64encode(bytes([n]) * 30).decode() for n in (1, 2)]
    crypto = CryptoOffer.parse(f"1 AES_CM_128_HMAC_SHA1_80 inline:{a}|1:4;inline:{b}|2:4")
    (spec,) = stream_specs([StreamPlan(3, replace(line(), crypto=crypto), b"o" * 30, True)], customer)
    assert (spec.key, spec.mki, spec.others) == (b"\1" * 30, 4, (b"\2" * 30,))


def dtls_plan(keys: DtlsKeys, *, mux: bool = True, answer: str = "active") -> StreamPlan:
    found = replace(
        line(), suite=None, crypto=None, fingerprints=("sha-256 AA",), tls_id="x", answer_setup=answer, rtcp_mux=mux
    )
    return StreamPlan(0, found, b"", False, keys)


RTP_KEYS, RTCP_KEYS = (
    PortKeys("AEAD_AES_128_GCM", b"t" * 28, b"o" * 28),
    PortKeys("AEAD_AES_256_GCM", b"T" * 44, b"O" * 44),
)


def test_a_dtls_line_asks_for_the_missing_handshakes_d5(tmp_path: Path) -> None:
    customer = configured(tmp_path).customers[0]
    for mux, keys, wanted in (
        (True, DtlsKeys(), (True, False)),
        (False, DtlsKeys(), (True, True)),
        (False, DtlsKeys(RTP_KEYS), (False, True)),
        (True, DtlsKeys(RTP_KEYS), (False, False)),
        (True, DtlsKeys(RTP_KEYS, stale=True), (True, False)),
    ):
        (spec,) = stream_specs([dtls_plan(keys, mux=mux)], customer, b"identity")
        assert spec.dtls is not None
        assert (spec.dtls.rtp, spec.dtls.rtcp, spec.dtls.active) == (*wanted, True)
        assert not spec.dtls.renews
        assert (spec.dtls.identity, spec.dtls.fingerprints, spec.dtls.tls_id) == (b"identity", ("sha-256 AA",), "x")
    (spec,) = stream_specs([dtls_plan(DtlsKeys())], replace(customer, pause_by_reinvite=True))
    assert spec.dtls is not None and spec.dtls.renews
    (spec,) = stream_specs([dtls_plan(DtlsKeys(), answer="holdconn")], customer)
    assert spec.dtls is not None and not (spec.dtls.rtp or spec.dtls.rtcp)


def test_keys_of_the_handshakes_go_to_their_ports(tmp_path: Path) -> None:
    customer = configured(tmp_path).customers[0]
    (spec,) = stream_specs([dtls_plan(DtlsKeys(RTP_KEYS))], customer)
    assert (spec.suite, spec.key, spec.own_key, spec.rtcp_suite) == ("AEAD_AES_128_GCM", b"t" * 28, b"o" * 28, None)
    (spec,) = stream_specs([dtls_plan(DtlsKeys(RTP_KEYS, RTCP_KEYS), mux=False)], customer)
    assert (spec.suite, spec.rtcp_suite, spec.own_suite) == ("AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AEAD_AES_256_GCM")
    assert (spec.key, spec.rtcp_key, spec.own_key) == (b"t" * 28, b"T" * 44, b"O" * 44)


def test_a_worker_learns_of_expected_media_and_a_pause(tmp_path: Path) -> None:
    customer, noon = configured(tmp_path).customers[0], 1_772_366_400_000_000_000
    for expected, since in ((at(2), noon + 2_000_000_000), (None, 0)):
        (spec,) = stream_specs([StreamPlan(0, line(), b"", False, expected=expected)], customer)
        assert spec.since == since
    recording, part = Recording("x", Policy(), random), Part("m1", b"")
    recording.streams = [Stream(n, line(), b"") for n in (0, 1)]
    recording.streams[0].hold(True, at(1))
    assert new_call(recording, part, (), bytes(32)).pauses == ()
    recording.paused = True
    for stream in recording.streams:
        stream.pause(True, at(3))
    assert new_call(recording, part, (), bytes(32)).pauses == ((noon + 3_000_000_000, None),)


def test_keys_missing_from_the_newest_offer_are_kept(tmp_path: Path) -> None:
    recording = Recording("x", Policy(), random)
    recording.streams = [Stream(0, line(), b""), Stream(1, dtls_plan(DtlsKeys()).line, b"")]
    newest = (0, "AES_CM_128_HMAC_SHA1_80", b"A" * 30, 0)
    before = ((0, "AEAD_AES_128_GCM", b"A" * 28, 4), (1, *newest[1:]))
    known = former_keys(recording, (before[0], newest, before[1]))
    assert known == before
    assert keys_from_state(json.loads(json.dumps(keys_to_state(known)))) == before
    two = CryptoOffer(1, newest[1], newest[2], b"1", 1, others=(MasterKey(b"B" * 30, b"2"),))
    recording.streams[0].line = replace(recording.streams[0].line, crypto=two)
    told = (0, newest[1], newest[2], 1), (0, newest[1], b"B" * 30, 1)
    # packets of before bring no identifier
    assert former_keys(recording, (before[0], newest, *told, before[1])) == (before[0], newest, before[1])
    recording.streams[0].line = replace(recording.streams[0].line, other_keys=(before[0][1:],))
    assert former_keys(recording, (before[0], newest, *told, before[1])) == (newest, before[1])
    (spec, _) = stream_specs(plans_of(recording.streams), configured(tmp_path).customers[0], b"", None, reached=False)
    assert spec.alternates == (before[0][1:],)


@pytest.mark.parametrize(
    ("where", "source", "known"),
    [
        (("192.0.2.200", 4001), None, True),  # one of the customer's
        (("203.0.113.1", 4001), "203.0.113.1", True),  # the INVITE came from there
        (("203.0.113.1", 4001), "203.0.113.2", False),
        (("203.0.113.1", 4001), None, False),
        (("2001:db8::1", 4001), "203.0.113.1", False),
        (None, None, True),
    ],
)
def test_reports_go_to_known_addresses_only(where: tuple[str, int] | None, source: str | None, known: bool) -> None:
    customer = Customer(name="acme", sources=(IPv4Network("192.0.2.0/24"),))
    plans = [StreamPlan(3, replace(line(), rtcp_source=where), b"", False)]
    (spec,) = stream_specs(plans, customer, b"", source, reached=False)
    assert (spec.known, spec.reached) == (known, False)
