"""URIs as RFC 3261, RFC 4475 and RFC 5118 have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import MalformedValue
from sip.message.uri import Uri, host_port, split_host_port


def test_a_full_uri_comes_apart_and_together() -> None:
    text = "sips:alice:secret@Atlanta.example:5061;transport=tcp;lr?subject=x"
    uri = Uri.parse(text)
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port) == (
        "sips",
        "alice",
        "secret",
        "Atlanta.example",
        5061,
    )
    assert (uri.param("transport"), uri.param("lr"), uri.param("maddr"), uri.headers) == ("tcp", "", None, "subject=x")
    assert str(uri) == text


def test_odd_but_legal_user_parts_stay_as_they_are() -> None:
    """Duty S31."""
    uri = Uri.parse("sip:1_odd.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d@example.com")
    assert uri.user == "1_odd.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert (uri.password, uri.host, uri.headers) == ("&it+has=1,weird!*pas$wo~d", "example.com", None)
    uri = Uri.parse("sip:user;par=u%40-%00-null@example.com")
    assert (uri.user_text, uri.params) == ("user;par=u@-\x00-null", ())


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("sip:[2001:db8::10]", "2001:db8::10", None),
        ("sip:[2001:db8::10:5070]", "2001:db8::10:5070", None),
        ("sip:[2001:db8::10]:5070", "2001:db8::10", 5070),
        ("sip:[::ffff:192.0.2.1]:5060;lr", "::ffff:192.0.2.1", 5060),
    ],
)
def test_ipv6_stands_in_brackets(text: str, host: str, port: int | None) -> None:
    """Duty S32."""
    uri = Uri.parse(text)
    assert (uri.host, uri.port) == (host, port)
    assert split_host_port(host_port("::1", 5060)) == ("::1", 5060)
    assert str(uri) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "sip:",
        "sip:2001:db8::10",
        "<sip:a@b>",
        "sip:a b@c",
        "sip:a@b; lr",
        "sip:a@b:99999",
        "sip:a@b:x",
        'sip:"a"@b',
        "sip:a@",
        "sip:a@[::1",
        "sip:a@b\x00",
    ],
)
def test_an_invalid_uri_is_refused(text: str) -> None:
    with pytest.raises(MalformedValue):
        Uri.parse(text)


def test_tel_and_unknown_schemes_are_kept() -> None:
    assert (Uri.parse("tel:+1-212-555;phone-context=x").user, Uri.parse("soap.beep://x:3").opaque) == (
        "+1-212-555",
        "//x:3",
    )
    assert str(Uri.parse("urn:service:sos")) == "urn:service:sos"
    assert str(Uri.parse("tel:112;phone-context=+49")) == "tel:112;phone-context=+49"


def test_the_repr_of_a_uri_hides_personal_data() -> None:
    assert "alice" not in repr(Uri.parse("sip:alice:secret@host?subject=alice"))


@given(st.text(max_size=60).map(lambda tail: "sip:" + tail) | st.text(max_size=60))
def test_any_text_gives_a_uri_or_the_documented_error(text: str) -> None:
    try:
        uri = Uri.parse(text)
    except MalformedValue:
        return
    assert Uri.parse(str(uri)) == uri
