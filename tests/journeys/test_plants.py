"""The search for canaries finds them in every coding, and names the place."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest

from tests.journeys.canaries import Canaries


@pytest.mark.parametrize(
    "coded",
    [
        lambda text: text.encode(),
        lambda text: text.upper().encode(),
        lambda text: text[::-1].encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode().hex().encode(),
        lambda text: text.encode().hex().upper().encode(),
        lambda text: urllib.parse.quote(text).encode(),
        lambda text: json.dumps(text).encode(),
        lambda text: repr(text.encode()).encode(),
        lambda text: base64.b64encode(b"0" + text.encode() + b"1"),
        lambda text: base64.b64encode(b"01" + text.encode() + b"12"),
        lambda text: base64.urlsafe_b64encode(b"012" + text.encode() + b"123"),
    ],
)
@pytest.mark.parametrize("kind", ["word", "name", "number", "key"])
def test_a_canary_is_found(coded, kind: str) -> None:
    plants = Canaries()
    plants.plant("{word: elsewhere}")
    secret = plants.at("here", kind)
    assert plants.found(b"said: " + coded(secret) + b"!") == ["here"]
    assert plants.found(b"said: nothing") == []


def test_a_number_is_found_without_its_plus_and_at_home() -> None:
    plants = Canaries()
    secret = plants.at("here", "number")
    assert plants.found(secret[1:].encode()) == plants.found(b"0" + secret[3:].encode()) == ["here"]
