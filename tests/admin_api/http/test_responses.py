"""Documents become bytes whatever stands in them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.http import responses
from admin_api.http.messages import Message

ANY = st.text(st.characters(exclude_categories=()))


def test_names_are_not_escaped_and_half_characters_are_replaced():
    assert responses.document({"name": "Jörg"}).body == '{"name":"Jörg"}'.encode()
    assert responses.document({"name": "a\udcffb"}).body == '{"name":"a\ufffdb"}'.encode()


def test_a_message_is_shown_in_english():
    why = Message("why.name", "Only the name matches.")
    assert responses.document({"why": why}).body == b'{"why":"Only the name matches."}'
    assert json.loads(bytes(responses.document({"why": why, "name": "\udcff"}).body))["why"] == why
    with pytest.raises(NotImplementedError):
        responses.document({"why": object()})


@given(st.dictionaries(ANY, ANY))
def test_any_text_can_be_shown(shown):
    json.loads(bytes(responses.document(shown).body))
