"""Addresses, Via, CSeq and media types as devices write them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import MalformedValue
from sip.message.header_values import CSeq, MediaType, NameAddr, Via


def test_an_address_with_everything() -> None:
    address = NameAddr.parse(' "J \\"R\\" \\\\" <sip:jd@example.com;x=1>  ; tag = 98asjd8 ; +sip.src')
    assert (address.display, address.uri, address.tag) == ('J "R" \\', "sip:jd@example.com;x=1", "98asjd8")
    assert address.param("+sip.src") == ""
    assert NameAddr.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "display", "uri", "tag"),
    [
        ("sip:caller@example.org;tag=33242", "", "sip:caller@example.org", "33242"),
        ('"a <sip:no@x>" <sip:yes@x>', "a <sip:no@x>", "sip:yes@x", None),
        ("Bell, Alexander <sip:a@b>", "Bell, Alexander", "sip:a@b", None),
        ("caller<sip:a@b>", "caller", "sip:a@b", None),
        (b'"M\xfcller" <sip:a@b>'.decode("utf-8", "surrogateescape"), "Müller", "sip:a@b", None),
    ],
)
def test_addresses_as_devices_write_them(text: str, display: str, uri: str, tag: str | None) -> None:
    address = NameAddr.parse(text)
    assert (address.display, address.uri, address.tag) == (display, uri, tag)


def test_an_unclosed_address_is_parsed_leniently() -> None:
    assert NameAddr.parse_leniently("<sip:10.0.0.1;+sip.src").uri == "sip:10.0.0.1;+sip.src"


@pytest.mark.parametrize(
    ("parse", "texts"),
    [
        (NameAddr.parse, ['"open <sip:a@b>', "<sip: a@b>", "< sip:a@b >", "", "<>", "sip:a b", '<sip:a@b>;x="open']),
        (NameAddr.parse, ["<<sip:a@b>>"]),
        (NameAddr.parse_leniently, ['"open <sip:a@b>']),
        (Via.parse, ["", "SIP/2.0/UDP", "SIP/2.0 UDP h", "SIP/2.0/UDP h:99999", "SIP/2.0/UDP 2001:db8::1"]),
        (Via.parse, ["SIP/2.0/UDP h x", "SIP/2.0/UDP h" + " " * 60_000 + "x"]),
        (CSeq.parse, ["", "5", "INVITE 5", "-1 BYE", "2147483648 BYE", "36893488147419103232 BYE", "1 B(YE", "٣ BYE"]),
        (CSeq.parse, ["1 A B"]),
        (MediaType.parse, ["", "sdp", "/sdp", "application/", "a b/c"]),
    ],
)
def test_broken_values_are_refused(parse: Callable[[str], object], texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(MalformedValue):
            parse(text)


def test_names_and_numbers_stay_out_of_the_repr() -> None:
    assert "bob" not in repr(NameAddr.parse('"Bob" <sip:bob@example.com>')).lower()


def test_a_tortured_via() -> None:
    via = Via.parse(" SIP  / 2.0  / TCP     spindle.example.com   ;\t  branch  =   z9hG4bK9ikj8  ")
    assert (via.protocol, via.transport, via.host, via.port) == ("SIP/2.0", "TCP", "spindle.example.com", None)
    assert str(via) == "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8"
    assert Via.parse("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK").branch is None  # only the magic cookie


@pytest.mark.parametrize("received", ["[2001:db8::9:255]", "2001:db8::9:255"])
def test_via_with_ipv6(received: str) -> None:
    """Duty S32."""
    via = Via.parse(f"SIP/2.0/UDP [2001:db8::9:1]:5070;received={received};branch=z9hG4bKas3-111")
    assert (via.host, via.port, via.param("received"), via.sent_by) == (
        "2001:db8::9:1",
        5070,
        received,
        "[2001:db8::9:1]:5070",
    )


def test_filling_rport_keeps_its_place() -> None:
    via = Via.parse("SIP/2.0/UDP h;rport;branch=z9hG4bKx").with_params(rport="5062", received="192.0.2.1")
    assert str(via) == "SIP/2.0/UDP h;rport=5062;branch=z9hG4bKx;received=192.0.2.1"


def test_cseq_reads_leading_zeros_and_blanks() -> None:
    assert CSeq.parse("0009   INVITE") == CSeq(9, "INVITE")
    assert CSeq.parse("2147483647 BYE").number == 2**31 - 1
    assert str(CSeq(4, "BYE")) == "4 BYE"


def test_media_types_compare_without_case() -> None:
    media_type = MediaType.parse('Multipart/MIXED ; boundary="a b; c"')
    assert (media_type.essence, media_type.param("boundary")) == ("multipart/mixed", "a b; c")
    assert str(MediaType.parse("a/b;c=d")) == "a/b;c=d"


@given(st.text(max_size=80) | st.text(alphabet='"\\<>;,=: /@sip2.0UDP[]1', max_size=60))
def test_any_text_gives_a_value_or_the_documented_error(text: str) -> None:
    for parse in (NameAddr.parse, NameAddr.parse_leniently, Via.parse, CSeq.parse, MediaType.parse):
        try:
            str(parse(text))
        except MalformedValue:
            continue
