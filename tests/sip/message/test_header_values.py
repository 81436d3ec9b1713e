"""Addresses, Via, CSeq and media types as devices write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import MalformedValue
from sip.message.header_values import CSeq, Flow, MediaType, NameAddr, Via
from tests.sip.cpu_cost import cost


def test_an_address_with_everything() -> None:
    address = NameAddr.parse(' "J \\"R\\" \\\\" <sip:jd@example.com;x=1>  ; tag = 98asjd8 ; +sip.src')
    assert (address.display, address.uri, address.tag) == ('J "R" \\', "sip:jd@example.com;x=1", "98asjd8")
    assert address.param("+sip.src") == ""
    assert NameAddr.parse(str(address)) == address


def test_without_brackets_parameters_belong_to_the_field() -> None:
    address = NameAddr.parse("sip:caller@example.org;tag=33242")
    assert (address.uri, address.tag, address.display) == ("sip:caller@example.org", "33242", "")


def test_brackets_within_a_quoted_name_do_not_open_the_address() -> None:
    assert NameAddr.parse('"a <sip:no@x>" <sip:yes@x>').uri == "sip:yes@x"


@pytest.mark.parametrize(
    "text", ["Bell, Alexander <sip:a@b>", "caller<sip:a@b>", "T. Watson <sip:a@b>", "Jürgen <sip:a@b>"]
)
def test_unquoted_names_are_taken_as_they_are(text: str) -> None:
    assert NameAddr.parse(text).display == text.partition("<")[0].strip()


@pytest.mark.parametrize(
    "text", ['"open <sip:a@b>', "<sip: a@b>", "< sip:a@b >", "", "<>", "sip:a b", '<sip:a@b>;x="open', "<<sip:a@b>>"]
)
def test_broken_addresses_are_refused(text: str) -> None:
    with pytest.raises(MalformedValue):
        NameAddr.parse(text)


def test_an_open_quote_is_an_error_even_to_the_lenient_reader() -> None:
    with pytest.raises(MalformedValue, match="quote"):
        NameAddr.parse_leniently('"open <sip:a@b>')


def test_an_unclosed_address_is_parsed_leniently() -> None:
    address = NameAddr.parse_leniently("<sip:10.0.0.1;+sip.src")
    assert address.uri == "sip:10.0.0.1;+sip.src"


def test_bytes_that_are_no_utf_8_are_readable() -> None:
    assert NameAddr.parse(b'"M\xfcller" <sip:a@b>'.decode("utf-8", "surrogateescape")).display == "Müller"


def test_names_and_numbers_stay_out_of_the_repr() -> None:
    assert "Bob" not in repr(NameAddr.parse('"Bob" <sip:bob@example.com>')).replace("Bobby", "")
    assert "bob" not in repr(NameAddr.parse('"Bob" <sip:bob@example.com>'))


def test_a_tortured_via() -> None:
    via = Via.parse(" SIP  / 2.0  / TCP     spindle.example.com   ;\t  branch  =   z9hG4bK9ikj8  ")
    assert (via.protocol, via.transport, via.host, via.port) == ("SIP/2.0", "TCP", "spindle.example.com", None)
    assert via.branch == "z9hG4bK9ikj8"
    assert str(via) == "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8"


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


def test_a_bare_magic_cookie_is_no_branch() -> None:
    assert Via.parse("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK").branch is None


def test_filling_rport_keeps_its_place() -> None:
    via = Via.parse("SIP/2.0/UDP h;rport;branch=z9hG4bKx").with_params(rport="5062", received="192.0.2.1")
    assert str(via) == "SIP/2.0/UDP h;rport=5062;branch=z9hG4bKx;received=192.0.2.1"


@pytest.mark.parametrize(
    "text", ["", "SIP/2.0/UDP", "SIP/2.0 UDP h", "SIP/2.0/UDP h:99999", "SIP/2.0/UDP 2001:db8::1", "SIP/2.0/UDP h x"]
)
def test_a_broken_via_is_refused(text: str) -> None:
    with pytest.raises(MalformedValue):
        Via.parse(text)


def test_cseq_reads_leading_zeros_and_blanks() -> None:
    assert CSeq.parse("0009   INVITE") == CSeq(9, "INVITE")
    assert CSeq.parse("2147483647 BYE").number == 2**31 - 1
    assert str(CSeq(4, "BYE")) == "4 BYE"


@pytest.mark.parametrize(
    "text", ["", "5", "INVITE 5", "-1 BYE", "2147483648 BYE", "36893488147419103232 BYE", "1 B(YE", "٣ BYE", "1 A B"]
)
def test_a_cseq_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(MalformedValue):
        CSeq.parse(text)


def test_media_types_compare_without_case() -> None:
    media_type = MediaType.parse('Multipart/MIXED ; boundary="a b; c"')
    assert (media_type.essence, media_type.param("boundary")) == ("multipart/mixed", "a b; c")
    assert str(MediaType.parse("a/b;c=d")) == "a/b;c=d"


@pytest.mark.parametrize("text", ["", "sdp", "/sdp", "application/", "a b/c"])
def test_a_broken_media_type_is_refused(text: str) -> None:
    with pytest.raises(MalformedValue):
        MediaType.parse(text)


def test_a_flow_is_a_key() -> None:
    assert (
        len({Flow("udp", ("a", 1), ("b", 2)), Flow("udp", ("a", 1), ("b", 2)), Flow("tcp", ("a", 1), ("b", 2), 7)}) == 2
    )


def test_long_blanks_do_not_make_a_via_slow() -> None:
    def refused() -> None:
        with pytest.raises(MalformedValue):
            Via.parse("SIP/2.0/UDP h" + " " * 60_000 + "x")

    assert cost(refused, 0.5) < 0.5


@given(st.text(max_size=80) | st.text(alphabet='"\\<>;,=: /@sip2.0UDP[]1', max_size=60))
def test_any_text_gives_a_value_or_the_documented_error(text: str) -> None:
    for parse in (NameAddr.parse, NameAddr.parse_leniently, Via.parse, CSeq.parse, MediaType.parse):
        try:
            str(parse(text))
        except MalformedValue:
            continue
