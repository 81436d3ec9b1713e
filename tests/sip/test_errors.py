"""Errors say what to answer and never what was sent."""

from __future__ import annotations

from sip import errors
from sip.errors import LocalError, RemoteError, SipError


def test_every_error_has_one_root_and_one_side() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SipError)]
    assert len(kinds) > 6
    for kind in kinds:
        assert kind is SipError or issubclass(kind, RemoteError) != issubclass(kind, LocalError)
