"""Keys in offers and answers: SDES and DTLS-SRTP."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import LocalError
from sip.sdp.answer import Policy, plan
from sip.sdp.plan import LinePlan
from sip.sdp.sdes import MAX_OTHER_KEYS, SUITES
from tests.sip.offered import PREFERRED, SDES, answered, key_line, offered, refusal


def again(plans: tuple[LinePlan, ...]) -> tuple[LinePlan, ...]:
    """What a successor of the process reads of what was kept of a plan."""
    return tuple(LinePlan.from_state(json.loads(json.dumps(each.to_state()))) for each in plans)


@given(st.permutations([(suite, " WSH=64" if n % 3 == 0 else "") for n, suite in enumerate(SUITES)]), st.data())
def test_the_first_usable_crypto_line_is_answered(offered_lines: list[tuple[str, str]], data: st.DataObject) -> None:
    """Duty C4: the client's order is its preference (RFC 4568 section 5.1.1)."""
    supported = frozenset(data.draw(st.sets(st.sampled_from(sorted(Policy().supported)))))
    lines = [key_line(suite, tag, tail) for tag, (suite, tail) in enumerate(offered_lines, 1)]
    offer = offered("m=audio 4 RTP/SAVP 0", key_line("NULL_HMAC_SHA1_80", 20), *lines)
    usable = [(tag, suite) for tag, (suite, _) in enumerate(offered_lines, 1) if suite in supported]
    if not usable:
        assert refusal(offer, Policy(supported=supported)).warning == 399
        return
    (line,) = plan(offer, Policy(supported=supported))
    assert line.crypto is not None and (line.crypto.tag, line.suite) == usable[0]
    assert line.other_keys == tuple(
        (suite, bytes([tag]) * SUITES[suite], 0)
        for tag, (suite, _) in enumerate(offered_lines, 1)
        if tag != line.crypto.tag
    )
    assert again((line,)) == (line,)
    assert "x01" not in repr(line)


def test_keys_of_unanswered_lines_are_limited() -> None:
    lines = [key_line(tag=tag) for tag in range(1, 30)]
    (line,) = plan(offered("m=audio 4 RTP/SAVP 0", *lines), Policy())
    assert len(line.other_keys) == MAX_OTHER_KEYS
    before = {name: value for name, value in line.to_state().items() if name != "other_keys"}
    assert LinePlan.from_state(before).other_keys == ()


def test_several_keys_are_left_to_those_who_can_tell_them_apart() -> None:
    """Duty C5."""
    key = base64.b64encode(bytes(30)).decode()
    offer = offered(
        "m=audio 4 RTP/SAVP 0",
        f"a=crypto:1 {SDES} inline:{key}|1:4;inline:{key}|2:4",
        key_line("AES_CM_128_HMAC_SHA1_32", 2),
    )
    assert plan(offer, Policy())[0].suite == "AES_CM_128_HMAC_SHA1_32"
    (line,) = plan(offer, Policy(several_keys=True))
    assert line.crypto is not None and len(line.crypto.others) == 1


@pytest.mark.parametrize("srtp", ["required", "preferred", "off"])
def test_an_offer_with_unusable_keys_is_never_taken_as_rtp(srtp: Any) -> None:
    """Duties C6, C8, R32."""
    keys = [[key_line("NULL_HMAC_SHA1_80")], [key_line(tail=" UNENCRYPTED_SRTP")], [key_line(tail=" WSH=4096")]]
    found = [refusal(offered("m=audio 4 RTP/SAVP 0", *lines), Policy(srtp)) for lines in ([], *keys)]
    assert [error.code for error in found] == ["crypto"] * 2 + ["crypto-parameter"] * 2
    assert {error.warning for error in found} == {399}


@pytest.mark.parametrize(
    ("srtp", "lines", "suite", "reason"),
    [
        ("required", [], None, "srtp-required"),
        ("required", [key_line()], SDES, None),
        ("required", [key_line("NULL_HMAC_SHA1_80")], None, "crypto"),
        ("preferred", [], None, None),
        ("preferred", [key_line()], SDES, None),
        ("preferred", [key_line("NULL_HMAC_SHA1_80")], None, None),
        ("off", [key_line()], None, None),
    ],
)
def test_optional_srtp_follows_the_policy(srtp: Any, lines: list[str], suite: str | None, reason: str | None) -> None:
    """Duties C8, R32."""
    offer = offered("m=audio 4 RTP/AVP 0", *lines, "m=audio 6 RTP/SAVP 0", key_line())
    line = plan(offer, Policy(srtp))[0]
    assert (line.suite, line.reason) == (suite, reason)
    assert ("a=crypto" in "".join(answered(offer, (line, plan(offer, PREFERRED)[1]))[:9])) == (suite is not None)


def test_keys_that_came_unprotected_may_be_refused() -> None:
    """Duties C9, R33."""
    policy = Policy("preferred", secure=False, sdes_without_tls=False)
    assert refusal(offered("m=audio 4 RTP/SAVP 0", key_line()), policy).code == "sdes-without-tls"
    assert plan(offered("m=audio 4 RTP/SAVP 0", key_line()), Policy(secure=False))[0].suite == SDES


@pytest.mark.parametrize("profile", ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "RTP/SAVP"])
def test_dtls_alone_is_not_acceptable_but_read(profile: str) -> None:
    offer = offered(f"m=audio 4 {profile} 0", "a=setup:actpass", "a=fingerprint:sha-256 AA:BB", "m=audio 6 RTP/AVP 0")
    (line, _) = plan(offer, PREFERRED)
    assert (line.accepted, line.reason, line.setup, line.fingerprints) == (False, "dtls", "actpass", ("sha-256 AA:BB",))


OURS = "sha-256 11:22"
DTLS = Policy("required", dtls=True)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("actpass", "active"), ("active", "passive"), ("passive", "active"), ("holdconn", "holdconn"), (None, "active")],
)
def test_a_dtls_offer_gets_our_role_and_fingerprint_d1_d2_d7(theirs: str | None, ours: str) -> None:
    """Duty R23."""
    setup = [f"a=setup:{theirs}"] if theirs else []
    wanted = [f"a=setup:{ours}", f"a=fingerprint:{OURS}"]
    for profile in ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "RTP/SAVP", "RTP/SAVPF"):
        offer = offered(f"m=audio 4 {profile} 0", *setup, "a=fingerprint:SHA-256 AA:BB")
        plans = plan(offer, DTLS)
        lines = answered(offer, plans, fingerprint=OURS)
        assert f"m=audio 20000 {profile} 0" in lines
        assert [x for x in lines if x.startswith(("a=setup", "a=finger"))] == wanted
        with pytest.raises(LocalError):  # no certificate of ours
            answered(offer, plans)


def test_a_dtls_offer_without_usable_fingerprint_is_refused_d2() -> None:
    """Nor one with a strange role."""
    unusable = [("a=setup:actpass", *each) for each in ((), ("a=fingerprint:md5 AA:BB",), ("a=fingerprint:",))]
    for lines in (*unusable, ("a=setup:whatever", "a=fingerprint:sha-256 AA:BB")):
        error = refusal(offered("m=audio 4 UDP/TLS/RTP/SAVP 0", *lines), DTLS)
        assert (lines, error.code) == (lines, "dtls-fingerprint" if lines in unusable else "dtls")


def test_our_tls_id_changes_exactly_with_theirs_d6() -> None:
    def ours(*theirs: str) -> list[str]:
        offer = offered("m=audio 4 UDP/TLS/RTP/SAVPF 0", "a=setup:actpass", "a=fingerprint:sha-256 AA:BB", *theirs)
        lines = answered(offer, plan(offer, DTLS), fingerprint=OURS)
        return [line.removeprefix("a=tls-id:") for line in lines if "tls-id" in line]

    (one,) = ours("a=tls-id:abcdefghijklmnopqrst")
    assert len(one) >= 20
    assert ours("a=tls-id:abcdefghijklmnopqrst") == [one] != ours("a=tls-id:bbcdefghijklmnopqrst")
    assert ours() == []


def test_our_own_offer_keeps_its_tls_id_while_theirs_stays_d6() -> None:
    def planned(theirs: str, *before: LinePlan) -> LinePlan:
        offer = offered("m=audio 4 UDP/TLS/RTP/SAVP 0", "a=fingerprint:sha-256 AA:BB", f"a=tls-id:{theirs * 20}")
        return plan(offer, DTLS, before)[0]

    before = replace(planned("a"), own_tls_id="o" * 20)
    assert (planned("a", before).own_tls_id, planned("b", before).own_tls_id) == ("o" * 20, None)


def test_a_role_once_taken_stays_in_a_reoffer_d6() -> None:
    first = plan(offered("m=audio 4 UDP/TLS/RTP/SAVP 0", "a=setup:active", "a=fingerprint:sha-256 AA:BB"), DTLS)
    again = offered("m=audio 4 UDP/TLS/RTP/SAVP 0", "a=setup:actpass", "a=fingerprint:sha-256 AA:BB")
    (line,) = plan(again, DTLS, first)
    assert line.answer_setup == "passive"


def test_sdes_beside_a_fingerprint_is_answered_by_sdes() -> None:
    offer = offered("m=audio 4 RTP/SAVP 0", "a=setup:actpass", "a=fingerprint:sha-256 AA:BB", key_line())
    (line,) = plan(offer, DTLS)
    assert (line.suite, line.answer_setup) == (SDES, None)


GCM256, GCM128, SHORT = "AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_32"
PLAIN_LINE = ("m=audio 4 RTP/AVP 0",)
HANDSHAKE = ("m=audio 4 UDP/TLS/RTP/SAVP 0", "a=fingerprint:sha-256 " + ":".join(["AB"] * 32))
GONE = ("m=audio 0 RTP/SAVP 0",)


def line(*suites: str, profile: str = "RTP/SAVP") -> tuple[str, ...]:
    return (f"m=audio 4 {profile} 0", *(key_line(suite, tag) for tag, suite in enumerate(suites, 1)))


@pytest.mark.parametrize(
    ("srtp", "secure", "offers", "last"),
    [
        ("preferred", True, [line(SDES), PLAIN_LINE], None),
        ("preferred", True, [line(SDES, profile="RTP/AVP"), PLAIN_LINE], None),
        ("preferred", True, [HANDSHAKE, PLAIN_LINE], None),
        ("preferred", True, [line(SDES), GONE, PLAIN_LINE], None),  # in two steps
        ("preferred", True, [line(SDES), GONE + PLAIN_LINE], None),  # in another place
        ("preferred", True, [line(SDES), GONE + PLAIN_LINE + PLAIN_LINE], None),
        ("preferred", True, [line(SDES), line(SDES) + PLAIN_LINE, GONE + PLAIN_LINE], None),
        ("preferred", True, [line(SDES), PLAIN_LINE + line(SDES)], None),
        ("preferred", True, [line(SDES) + PLAIN_LINE, PLAIN_LINE + line(SDES)], None),  # places changed
        ("preferred", True, [line(SDES) + PLAIN_LINE, line(SDES) + PLAIN_LINE], SDES),
        ("preferred", True, [PLAIN_LINE, line(SDES)], SDES),
        ("preferred", True, [PLAIN_LINE, line(SDES), PLAIN_LINE], None),
        ("preferred", True, [line(GCM256), line(SHORT)], SHORT),  # nobody requires keys at all
        ("required", True, [line(GCM256), line(SHORT)], None),
        ("required", True, [line(GCM256), line(GCM128)], None),
        ("required", True, [line(SDES), line(SHORT)], None),
        ("required", True, [line(SDES), line(SHORT, SDES)], SDES),
        ("required", True, [line(SDES), line(GCM128)], GCM128),
        ("required", True, [line(SHORT), line(SDES), line(SHORT)], None),
        ("required", True, [line(GCM256), GONE, line(SDES)], None),
        ("required", True, [HANDSHAKE, line(SDES)], SDES),
        ("required", True, [HANDSHAKE, line(SHORT)], None),
        ("required", False, [HANDSHAKE, line(SDES)], None),  # anybody could read the keys
        ("required", False, [line(SDES), HANDSHAKE], "DTLS-SRTP"),
        ("required", False, [HANDSHAKE, GONE, line(SDES)], None),  # the same in two steps
        ("required", False, [HANDSHAKE, GONE + line(SDES)], None),  # in another place
        ("required", False, [HANDSHAKE + line(SDES), HANDSHAKE + line(SDES) + line(SDES)], "DTLS-SRTP"),
        ("required", False, [line(SDES), HANDSHAKE, line(SDES)], None),
        ("preferred", False, [HANDSHAKE, GONE, line(SDES)], SDES),
        ("required", True, [HANDSHAKE, GONE, line(SDES)], SDES),
        ("required", True, [line(SDES), GONE + line(SHORT)], None),
        ("required", True, [line(SDES), line(SDES) + line(SHORT, GCM128)], SDES),
        ("required", True, [line(SDES) + line(SHORT), line(SDES) + line(SHORT) + line(SHORT)], SDES),
        ("preferred", True, [line(SDES), line(SDES) + line(SHORT)], SDES),
        ("required", True, [line(SDES) + line(SDES), line(SHORT) + line(SDES)], None),  # though another line is fine
        ("required", True, [line(SDES) + line(SHORT), line(SHORT) + line(SHORT)], None),
        ("required", False, [HANDSHAKE + HANDSHAKE, line(SDES) + HANDSHAKE], None),
    ],
)
def test_no_reoffer_leads_to_less_protection(
    srtp: Any, secure: bool, offers: list[tuple[str, ...]], last: str | None
) -> None:
    """Duty C8."""
    policy = Policy(srtp, secure=secure, dtls=True)
    plans: tuple[LinePlan, ...] = ()
    stored: tuple[LinePlan, ...] = ()
    for offer in offers[:-1]:
        plans, stored = (plan(offered(*offer), policy, plans), again(plan(offered(*offer), policy, stored)))
    if len(offers) == 2:  # a version before this one did not write it
        stored = tuple(replace(each, secured=None) for each in stored)
    for before in (plans, stored):
        if last is None:
            assert refusal(offered(*offers[-1]), policy, before).code == "srtp-downgrade"
        else:
            assert plan(offered(*offers[-1]), policy, before)[0].protection == last


@pytest.mark.parametrize(
    ("srtp", "secure", "first", "new"),
    [
        ("preferred", True, line(SDES) + PLAIN_LINE, PLAIN_LINE),
        ("required", True, line(SDES) + line(SHORT), line(SHORT)),
        ("required", False, HANDSHAKE + line(SDES), line(SDES)),
    ],
)
def test_a_new_line_may_protect_as_little_as_another(
    srtp: Any, secure: bool, first: tuple[str, ...], new: tuple[str, ...]
) -> None:
    policy = Policy(srtp, secure=secure, dtls=True)
    plans = plan(offered(*first, *new), policy, plan(offered(*first), policy))
    assert [each.accepted for each in plans] == [True, True, True]
    assert plans[2].protection == plans[1].protection


@pytest.mark.parametrize(
    ("srtp", "secure", "first", "new"),
    [
        ("preferred", True, line(SDES), PLAIN_LINE),
        ("preferred", True, line(SDES), ("m=video 6 RTP/AVP 96", "a=rtpmap:96 H264/90000")),
        ("preferred", True, HANDSHAKE, PLAIN_LINE),
        ("preferred", True, line(SDES) + GONE, PLAIN_LINE),
        ("required", True, line(SDES), line(SHORT)),
        ("required", False, HANDSHAKE, line(SDES)),
        ("required", False, HANDSHAKE, line(SHORT)),
    ],
)
def test_a_new_line_that_protects_less_is_always_refused(
    srtp: Any, secure: bool, first: tuple[str, ...], new: tuple[str, ...]
) -> None:
    policy = Policy(srtp, secure=secure, dtls=True)
    plans = plan(offered(*first), policy)
    kept, place = plans[0].protection, first.count(GONE[0]) + 1
    for stored in (False, False, True, True):
        plans = plan(offered(*first, *new), policy, again(plans) if stored else plans)
        assert (plans[0].accepted, plans[0].protection) == (True, kept)
        extra = plans[place]
        assert (extra.accepted, extra.reason, extra.protection, extra.crypto, extra.other_keys) == (
            False, "srtp-downgrade", None, None, ()
        )  # fmt: skip
    assert refusal(offered(*GONE * place, *new), policy, plans).code == "srtp-downgrade"
