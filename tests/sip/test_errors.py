"""Errors say what to answer and never what was sent."""

from __future__ import annotations

import pytest

from sip import errors
from sip.errors import FramingError, LocalError, MalformedValue, NotAcceptable, RemoteError, SipError


def test_every_error_has_one_root_and_one_side() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SipError)]
    assert len(kinds) > 6
    for kind in kinds:
        assert kind is SipError or issubclass(kind, RemoteError) != issubclass(kind, LocalError)


def test_a_remote_error_carries_status_and_code() -> None:
    error = MalformedValue("cseq")
    assert (error.status, error.code, error.request) == (400, "cseq", None)
    assert str(error) == "cseq"


def test_refusing_an_offer_carries_the_warning() -> None:
    error = NotAcceptable("formats", 305, "Incompatible media format")
    assert (error.status, error.warning, error.text) == (488, 305, "Incompatible media format")


def test_a_framing_error_keeps_the_messages_before_it() -> None:
    with pytest.raises(FramingError) as caught:
        raise FramingError("content-length", request="x", before=("whole",))
    assert (caught.value.before, caught.value.request, caught.value.status) == (("whole",), "x", 400)
