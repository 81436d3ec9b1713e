"""Lines of descriptions of ours."""

from __future__ import annotations

from sip.sdp.description import Format, SessionDescription
from sip.sdp.writer import attribute, format_lines, media_line, renumbered, session_lines, write


def test_a_description_reads_back_as_it_was_written() -> None:
    lines = [
        *session_lines("2001:db8::1", 7, 3, user="us", times="1 2"),
        media_line("audio", 5000, "RTP/AVP", [9, 96]),
        *format_lines(Format(9, "G722", 8000)),
        *format_lines(Format(96, "opus", 48000, 2, "useinbandfec=1")),
        attribute("recvonly"),
    ]
    assert write(lines) == (
        b"v=0\r\no=us 7 3 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\nt=1 2\r\nm=audio 5000 RTP/AVP 9 96\r\n"
        b"a=rtpmap:9 G722/8000\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=recvonly\r\n"
    )
    found = SessionDescription.parse(write(lines))
    assert (found.version, found.media[0].direction, found.media[0].formats[1].channels) == ("3", "recvonly", 2)
    assert renumbered(found.lines, 4)[1] == ("o", "us 7 4 IN IP6 2001:db8::1")


def test_an_unknown_payload_type_gets_no_rtpmap() -> None:
    assert format_lines(Format(77, "", 8000)) == []
