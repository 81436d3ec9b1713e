"""The header store: order, case, compact forms, lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import UnsafeOutput
from sip.message.headers import Headers


def test_header_names_ignore_case_and_know_compact_forms() -> None:
    """Duty S17."""
    headers = Headers([("v", "1"), ("VIA", "2"), ("i", "call"), ("X-Own", "x")])
    assert headers.all("Via") == ["1", "2"]
    assert headers.get("CALL-ID") == headers.get("i") == "call"
    assert list(headers.items()) == [("Via", "1"), ("Via", "2"), ("Call-ID", "call"), ("X-Own", "x")]
    assert "x-own" in headers and "y" not in headers and len(headers) == 4


def test_lists_over_several_fields_are_one_list() -> None:
    headers = Headers([("Route", '"a, b" <sip:x,y>;z, <sip:b>'), ("Route", "<sip:c>")])
    assert headers.values("route") == ['"a, b" <sip:x,y>;z', "<sip:b>", "<sip:c>"]
    assert len(Headers([("Via", "a," * 30_000)]).values("via")) == 200
    assert Headers([("Require", "SIPREC, Timer"), ("require", "")]).tokens("Require") == ["siprec", "timer"]


def test_setting_keeps_the_place_and_removing_takes_all() -> None:
    headers = Headers([("To", "a"), ("From", "b"), ("To", "c"), ("Date", "d")])
    headers.set("t", "new")
    assert list(headers.items()) == [("To", "new"), ("From", "b"), ("Date", "d")]
    headers.set("Subject", "s")
    headers.remove("FROM")
    assert str(headers) == "To: new\r\nDate: d\r\nSubject: s\r\n"


@pytest.mark.parametrize(("name", "value"), [("Subject", "a\r\nVia: x"), ("Sub\nject", "a"), ("Subject", "a\r")])
def test_no_field_of_ours_breaks_the_line(name: str, value: str) -> None:
    with pytest.raises(UnsafeOutput):
        Headers().add(name, value)


def test_values_stay_out_of_the_repr_and_copies_are_apart() -> None:
    headers = Headers([("From", "alice")])
    copy = headers.copy()
    assert copy == headers
    copy.add("To", "bob")
    assert copy != headers and "alice" not in repr(headers)


@given(st.lists(st.tuples(st.sampled_from(["To", "t", "X-A", "x-a"]), st.text(alphabet='ab,"<>', max_size=8))))
def test_added_headers_are_found(fields: list[tuple[str, str]]) -> None:
    headers = Headers(fields)
    assert headers.all("to") == [value for name, value in fields if name in ("To", "t")]
    assert headers.all("X-a") == [value for name, value in fields if name.lower() == "x-a"]
