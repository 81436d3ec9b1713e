"""Tokens tell nothing without the key of their day."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from storage.calls.search_tokens import token, tokens

KEY = bytes(range(32))


def test_a_token_is_the_beginning_of_the_hmac() -> None:
    whole = hmac.new(KEY, b"e:+49301234567", hashlib.sha256).digest()
    assert token(KEY, "e:+49301234567") == int.from_bytes(whole[:8], "big", signed=True)
    assert token(KEY, "w:anna") != token(KEY[::-1], "w:anna")
    assert token(KEY, "w:anna\ud83d") != token(KEY, "w:anna\ufffd") != token(KEY, "w:anna")


@given(st.lists(st.text(max_size=20), max_size=20))
def test_tokens_are_sorted_and_fit_into_eight_bytes(forms: list[str]) -> None:
    made = tokens(KEY, forms)
    assert list(made) == sorted({token(KEY, form) for form in forms})
    assert all(-(2**63) <= t < 2**63 for t in made)
