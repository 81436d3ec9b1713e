"""Whole messages: what is cut, what is judged, what can still be answered."""

import pytest

from sip.errors import MalformedMessage, UnsafeOutput
from sip.message.headers import Headers
from sip.message.message import Head, Request, Response, check, parse, salvage

INVITE = "INVITE sip:rec@192.0.2.9 SIP/2.0"
FIELDS = {
    "Via": "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKone",
    "Max-Forwards": "70",
    "From": "<sip:src@192.0.2.1>;tag=a",
    "To": "<sip:rec@192.0.2.9>",
    "Call-ID": "one@192.0.2.1",
    "CSeq": "1 INVITE",
    "Contact": "<sip:src@192.0.2.1:5060>;+sip.src",
}


def written(start: str = INVITE, body: bytes = b"", **changes: str | None) -> bytes:
    """An INVITE with some fields changed, added, or (None) left out; `_` in a name stands for a hyphen."""
    fields = FIELDS | {name.replace("_", "-"): value for name, value in changes.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{start}\r\n{head}\r\n".encode() + body


def refusal(data: bytes) -> MalformedMessage:
    with pytest.raises(MalformedMessage) as caught:
        message = parse(data)
        assert isinstance(message, Request)
        check(message)
    return caught.value


def accepted(data: bytes) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    check(message)
    return message


def test_a_plain_request_is_read_and_written_back() -> None:
    data = written(body=b"v=0\n", Content_Length="4")
    request = accepted(data)
    assert (request.method, request.uri, request.version) == ("INVITE", "sip:rec@192.0.2.9", "SIP/2.0")
    assert (request.cseq.number, request.via.branch, request.call_id) == (1, "z9hG4bKone", "one@192.0.2.1")
    assert (request.sender.tag, request.recipient.tag) == ("a", None)
    assert bytes(request) == data
    assert request.target is request.target and request.target.host == "192.0.2.9"
    assert request == accepted(data) and "target" not in repr(request)


def test_tabs_folds_compact_names_and_blanks_around_colons() -> None:
    """Duty S17."""
    request = accepted(
        b"INVITE sip:rec@h;unknown SIP/2.0\r\nTO :\r\n sip:rec@h ;   tag    = 19\r\n"
        b'f:\t"J \\\\\\""  <sip:j@h>\r\n  ;\r\n  tag = 98\r\nMaX-fOrWaRdS: 0068\r\ni: x\r\nl   : 2\r\n'
        b"cseq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390\r\ns :\r\n"
        b"v:  SIP  / 2.0  / TCP  a.example ; branch  = z9hG4bK9 ,\r\n SIP/2.0/UDP b\r\n\r\nxy"
    )
    assert (request.cseq.number, request.sender.tag, request.recipient.tag) == (9, "98", "19")
    assert (request.sender.display, request.headers.get("subject")) == ('J \\"', "")
    assert [via.split()[-1] for via in request.headers.values("via")][2] == "b"
    assert request.body == b"xy"


def test_bytes_of_a_field_survive_being_echoed() -> None:
    data = written(From='"X" <sip:a@b>;tag=1').replace(b'"X"', b'"M\xfcll\xc3\xa9r \x00\x7f"')
    assert b'From: "M\xfcll\xc3\xa9r \x00\x7f" <sip:a@b>;tag=1' in bytes(accepted(data))


def test_the_body_is_cut_by_bytes_before_line_ends_are_read() -> None:
    """Duty S18."""
    body = b"--x\n\nv=0\no=- 1\n--x--\n"
    assert accepted(written(body=body + b"\r\nnext", Content_Length=str(len(body)))).body == body


def test_a_message_that_was_cut_off_is_refused() -> None:
    assert refusal(written()[:-2]).code == "no-end-of-head"
    assert refusal(b"SIP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nab").code == "body-cut"


def test_unreadable_lines_and_damaged_spare_fields_are_ignored() -> None:
    data = written(Date="Fri, 01 Jan 2010 16:00:00 EST", Expires="1" * 100).replace(
        b"Date:", b"rubbish\r\n:x\r\na b: c\r\nDate:"
    )
    assert len(accepted(data).headers) == len(FIELDS) + 2


@pytest.mark.parametrize(
    "data",
    [
        written(Contact="<sip192.168.33.1:5060>;+sip.src"),
        written(Contact="<sip:a@b;+sip.src>"),
        written(Contact="<sip:a@b"),
        written(Contact="<sip:a@b>;"),
        written(Contact='"a;;b" <sip:a@b;;c>'),
        written(Contact="*"),
        written(Contact="< sip:a@b >"),
        written(Via="SIP/2.0/UDP h", From="<sip:+1303@h;user=phone>", Max_Forwards=None, Contact=None),  # RFC 2543
        written("INVITE sip:rec@h SIP/2.0  "),
        written("RE%47IST%45R sip:a SIP/2.0", CSeq="1 RE%47IST%45R"),
    ],
)
def test_odd_requests_of_real_clients_are_taken(data: bytes) -> None:
    accepted(data)


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (written(body=b"all of it"), b"all of it"),  # the datagram ends the body
        (written(Content_Length="0") + written(), b""),
        (b"\r\n\r\n" + written(), b""),
        (written(Content_Length="1").replace(b"\r\n", b"\n") + b"x", b"x"),
        (written(Content_Length="0")[:-2], b""),  # without a blank line
    ],
)
def test_where_a_body_begins_and_ends(data: bytes, body: bytes) -> None:
    """Duty S19."""
    assert accepted(data).body == body


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"CSeq": "1 BYE"}, "cseq-method"),
        ({"CSeq": "2147483648 INVITE"}, "cseq"),
        ({"CSeq": None}, "field-missing"),
        ({"From": None, "To": None, "Call_ID": None}, "field-missing"),
        ({"t": "<sip:other@h>"}, "field-twice"),
        ({"Max-forwards": "5"}, "field-twice"),
        ({"Max_Forwards": "256"}, "max-forwards"),
        ({"Max_Forwards": "-1"}, "max-forwards"),
        ({"To": '"Mr. J <sip:j@h>'}, "quote"),
        ({"To": '"W, T" < sip:t@h >'}, "addr-spec"),
        ({"To": ""}, "addr-spec"),
        ({"To": "<sip:a@b>;tag=1;tag=2"}, "tag"),
        ({"Call_ID": "a b"}, "call-id"),
        ({"Via": "SIP/2.0/UDP 192.0.2.15;;,;,,"}, "via"),
        ({"Via": "SIP/3.0/UDP 192.0.2.15"}, "via-version"),
        ({"Contact": '"Joe" <sip:joe@h>;;;;'}, "contact"),
        ({"Contact": "sip:u@h?Route=%3Csip:h%3E"}, "contact"),
        ({"Contact": '"Joe <sip:joe@h>'}, "quote"),
        ({"Content_Length": "-999"}, "content-length"),
        ({"Content_Length": "1, 1"}, "content-length"),
        ({"Content_Length": "+1"}, "content-length"),
        ({"Content_Length": ""}, "content-length"),
        ({"Content_Length": "٣"}, "content-length"),
        ({"Content_Length": "0", "l": "1"}, "content-length"),
        ({"Content_Length": "1"}, "body-cut"),
        ({"Content_Length": "9" * 5000}, "body-size"),
    ],
)
def test_a_request_with_a_wrong_header_gets_400(changes: dict[str, str | None], code: str) -> None:
    """Duty 8.2."""
    error = refusal(written(INVITE, b"", **changes))
    assert (error.status, error.code) == (400, code)
    assert error.request.via.host.startswith("192.0.2.1")  # it can be answered


@pytest.mark.parametrize(
    ("start", "status", "code"),
    [
        ("INVITE <sip:rec@h> SIP/2.0", 400, "uri"),
        ("INVITE sip:rec@h; lr SIP/2.0", 400, "start-line"),
        ("INVITE  sip:rec@h  SIP/2.0", 400, "start-line"),
        ("INVITE sip:rec@h?Route=%3Csip:h%3E SIP/2.0", 400, "uri-headers"),
        ("INVITE sip:2001:db8::10 SIP/2.0", 400, "host"),
        ("INVITE rec SIP/2.0", 400, "uri"),
        ("INVITE sip:rec@h", 400, "start-line"),
        ("INV(ITE sip:rec@h SIP/2.0", 400, "start-line"),
        ("INVITE sip:rec@h HTTP/1.1", 400, "start-line"),
        ("INVITE sip:rec@h SIP/7.0", 505, "version"),
        ("INVITE nobodyKnows:opaque SIP/2.0", 416, "uri-scheme"),
        ("INVITE soap.beep://192.0.2.103:3002 SIP/2.0", 416, "uri-scheme"),
        ("INVITE isbn:1 SIP/7.0", 505, "version"),
    ],
)
def test_start_lines_that_are_refused(start: str, status: int, code: str) -> None:
    error = refusal(written(start))
    assert (error.status, error.code) == (status, code)
    assert error.request.headers.get("Call-ID") == "one@192.0.2.1"


@pytest.mark.parametrize(
    "data",
    [b"", b"\r\n\r\n", b"\x00\x01\x00\x00!\x12\xa4B", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", written(Via=None)],
)
def test_an_unanswerable_message_is_dropped(data: bytes) -> None:
    """Duty 8.2."""
    assert refusal(data).request is None


def test_responses_are_read() -> None:
    response = parse(b"SIP/2.0 200 = 2**3 \xd0\xb8\r\nVia: SIP/2.0/UDP h\r\nCSeq: 1 BYE\r\nCall-ID: x\r\n\r\n")
    assert isinstance(response, Response)
    assert (response.status, response.reason, response.cseq.method) == (200, "= 2**3 и", "BYE")
    assert (response.via.host, response.call_id) == ("h", "x")
    assert b"SIP/2.0 200 = 2**3 \xd0\xb8\r\n" in bytes(response)


@pytest.mark.parametrize("start", ["SIP/2.0 100 ", "SIP/2.0 100"])
def test_a_reason_may_be_empty(start: str) -> None:
    response = parse(f"{start}\r\n\r\n".encode())
    assert isinstance(response, Response) and response.reason == ""


@pytest.mark.parametrize(
    "start", ["SIP/2.0 4294967301 better not", "SIP/2.0 99 x", "SIP/2.0 700 x", "SIP/2.0 2xx y", "SIP/2.0"]
)
def test_broken_responses_are_never_answered(start: str) -> None:
    assert refusal(f"{start}\r\nVia: SIP/2.0/UDP h\r\n\r\n".encode()).request is None


def test_too_many_fields_and_too_long_start_lines_are_refused() -> None:
    """Duty S36."""
    assert refusal(written().replace(b"Contact:", b"X: y\r\n" * 500 + b"Contact:")).code == "too-many-fields"
    assert refusal(written("INVITE sip:" + "a" * 9000 + "@h SIP/2.0")).code == "start-line-size"
    assert refusal(written(X="y" * 70_000)).status == 513


def test_many_hops_are_fine() -> None:
    """Duty S36."""
    hops = b"".join(b"Via: SIP/2.0/UDP h%d\r\n" % n for n in range(60))
    assert len(accepted(written().replace(b"Max-", hops + b"Max-")).headers.values("v")) == 61


def test_salvage_reads_a_cut_head() -> None:
    request = salvage(Head.cut(written()[:60]))
    assert request is not None and request.method == "INVITE"
    assert salvage(Head.cut(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\n")) is None


def test_our_messages_cannot_be_split_by_a_line_end() -> None:
    with pytest.raises(UnsafeOutput):
        bytes(Request("BYE", "sip:a\r\nX: y"))
    assert (
        bytes(Response(200, "OK", Headers([("l", "77")]), b"abc")) == b"SIP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    )


def test_personal_values_stay_out_of_the_repr() -> None:
    text = repr(accepted(written("INVITE sip:alice@h SIP/2.0", From="<sip:carol@h>", body=b"dave")))
    assert not any(name in text for name in ("alice", "carol", "dave"))
