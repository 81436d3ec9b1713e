"""Other people's parsers on the same words: what they read of us, and what we and they read of others.

sipmessage, aiosipua and sdp-transform judge where they are right; where one of them is known to be stricter or laxer
than the RFC it is not asked.
"""

from typing import Any

import aiosipua
import pytest
import sdp_transform  # type: ignore[import-untyped]  # it says no types
import sipmessage
from hypothesis import given
from hypothesis import strategies as st

from sip.message.header_values import Via
from sip.message.message import Request, parse
from sip.sdp.answer import plan
from sip.sdp.description import SessionDescription
from tests.sip.memory_client import Story
from tests.sip.offered import PREFERRED, answered


def heard_in_a_call() -> list[bytes]:
    """Give every kind of message that we send in a call."""
    story = Story()
    said: list[bytes] = []

    def take(*heard: Any) -> None:
        said.extend(item.data for item in story.sent)

    event = story.invited("Record-Route: <sip:p1.example;lr>, <sip:p2.example;lr>", "Supported: timer",
                          "Session-Expires: 1800")  # fmt: skip
    take(story.wait(0.3))
    take(story.answer(event))
    story.say(story.request("ACK"))
    for method in ("OPTIONS", "PRACK", "NOTIFY"):
        take(story.say(story.request(method)))
    take(story.reoffer())
    take(story.hang_up("over"))
    return said


MESSAGES = heard_in_a_call()


@pytest.mark.parametrize("data", MESSAGES, ids=[data.split(b"\r\n")[0].decode() for data in MESSAGES])
def test_sipmessage_and_aiosipua_read_what_we_write(data):
    ours = parse(data)
    theirs = sipmessage.Message.parse(data)
    assert isinstance(theirs, sipmessage.Request if isinstance(ours, Request) else sipmessage.Response)
    assert (theirs.call_id, theirs.cseq.sequence, theirs.cseq.method) == (
        ours.call_id if isinstance(ours, Request) else ours.headers.get("Call-ID"),
        ours.cseq.number,
        ours.cseq.method,
    )
    assert [str(via) for via in theirs.via] == [str(Via.parse(text)) for text in ours.headers.values("Via")]
    assert theirs.body == ours.body
    other = aiosipua.SipMessage.parse(data)
    assert other.call_id == theirs.call_id
    assert (other.cseq.seq, other.cseq.method) == (ours.cseq.number, ours.cseq.method)


WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=10)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("audio", "video", "image", "message")),
            st.sampled_from(("RTP/AVP", "RTP/SAVP", "udptl")),
            st.sampled_from(("sendonly", "sendrecv", "recvonly", "inactive")),
            WORD,
        ),
        min_size=1,
        max_size=6,
    )
)
def test_sdp_transform_reads_our_answers_as_we_meant_them(lines):
    key = "A" * 40
    text = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4 RTP/AVP 0\n"
    for kind, profile, direction, label in lines:
        text += f"m={kind} 4000 {profile} 8\na={direction}\na=label:x{label}\n"
        text += f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\n" if profile == "RTP/SAVP" else ""
    offer = SessionDescription.parse(text.encode())
    plans = plan(offer, PREFERRED)
    ours = "\r\n".join([*answered(offer, plans), ""])
    read = sdp_transform.parse(ours)
    assert [media["port"] for media in read["media"]] == [
        20_000 + 2 * n if line.accepted else 0 for n, line in enumerate(plans)
    ]
    assert [media["type"] for media in read["media"]] == [line.media for line in plans]
    for media, line in zip(read["media"], plans, strict=True):
        assert str(media.get("label", "")) == (line.label or "")
        assert media.get("direction") == (line.answer_direction if line.accepted else None)
        assert [crypto["id"] for crypto in media.get("crypto", ())] == ([1] if line.suite else [])
    others = aiosipua.parse_sdp(ours)
    assert [media.port for media in others.media] == [media["port"] for media in read["media"]]
