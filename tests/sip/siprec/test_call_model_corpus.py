"""The picture of every message of a collection of real ones, where one lies beside the checkout."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sip.errors import MalformedMessage
from sip.message.message import Request
from sip.message.message import parse as parse_message
from sip.siprec.call_model import CallModel
from sip.siprec.document import parse
from tests.plain_values import plain
from tests.sip.metadata_documents import T0

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"


def entries() -> list[dict[str, Any]]:
    index = CORPUS / "INDEX.json"
    return json.loads(index.read_text()) if index.exists() else []


def metadata(raw: bytes) -> bytes | None:
    """Cut the XML out of a message, so that nothing but the picture is on trial."""
    found = re.search(rb"(?:<\?xml|<recording).*?(?=\r?\n--|\Z)", raw, re.DOTALL)
    return found and found[0]


def picture_of(raw: bytes, *, final: bool) -> CallModel:
    picture = CallModel()
    try:
        message = parse_message(raw)
    except MalformedMessage as fault:
        message = fault.request
    if isinstance(message, Request):
        picture.apply_request(message, T0)
    body = metadata(raw)
    if body:
        picture.apply(parse(body), T0, final=final)
    return picture


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry["file"])
def test_parties_and_owners_of_messages_as_they_occur(entry):
    facts = entry["facts"]
    picture = picture_of((CORPUS / entry["file"]).read_bytes(), final=facts["method"] == "BYE")
    parties = picture.parties()
    for person in (facts.get("metadata") or {}).get("participants", []):
        name = person["name"] and person["name"].strip('"')
        assert [party for party in parties if plain(party.uri) == person["aor"] and name in (None, plain(party.name))]
    stated = facts["owner_by_label"]
    # Where a header names lines by index there are no labels.
    labels = [None if label.startswith("media-index") else label for label in stated]
    found = [[plain(parties[i].uri) for i in owner.parties] for owner in picture.owners(labels)]
    concluded = {label: [owner] for label, owner in facts["owner_fallback"].items()}
    assert found == [owners or concluded.get(label, []) for label, owners in stated.items()]
