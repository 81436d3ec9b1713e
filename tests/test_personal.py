"""Personal values stay masked between the parser and the sealed row, and few modules reveal them."""

from __future__ import annotations

import ast
import copy
import io
import json
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from personal import MASK, Personal, revealed
from recorder.calls.live_call import LiveCall
from recorder.session import events as e
from recorder.session.index_row import row_of
from recorder.session.session import Recording
from sip.message.body import contents
from sip.message.message import Request, parse
from sip.sdp.answer import Policy
from sip.sdp.plan import Addresses
from sip.siprec import document as metadata
from sip.siprec.call_names import call_group, call_names
from sip.siprec.parties import read_headers
from sip.siprec.vendor_extensions import read_extensions
from sip.ua.events import Informed, Invited, SessionKey, Token
from storage import search_forms
from storage.calls.call_document import revealed as in_the_clear
from storage.calls.call_row import Amended, Query, pack, unpack
from tests.in_process.offers import now, random, sdp

ROOT = Path(__file__).parents[1]
PACKAGES = ("recorder", "sip", "media", "storage", "admin_api", "personal")

PLANTED = "Zaphod"
"""The text in everything personal of the INVITE below."""
NUMBER = "4915550142"

METADATA = f"""<?xml version="1.0"?>
<recording xmlns="urn:ietf:params:xml:ns:recording:1" xmlns:v="http://acmepacket.com/siprec/extensiondata">
  <datamode>complete</datamode>
  <group group_id="g-1"/>
  <session session_id="c2Vzc2lvbi0xLS0tLS0tLQ==">
    <v:ucid>{PLANTED}-FA08001700</v:ucid>
    <v:callingPartyNumber>sip:{PLANTED}.caller@pbx.example</v:callingPartyNumber>
    <v:redirectedBy>"{PLANTED} Desk" &lt;sip:+{NUMBER}0@pbx.example&gt;</v:redirectedBy>
    <v:note remark="{PLANTED} attribute">{PLANTED} text</v:note>
  </session>
  <participant participant_id="{NUMBER}9">
    <nameID aor="sip:{PLANTED}.caller@pbx.example"><name>{PLANTED} Caller</name></nameID>
    <nameID aor="tel:+{NUMBER}1"/>
    <v:callingParty>true</v:callingParty>
  </participant>
  <participant participant_id="p2">
    <nameID aor="sip:+{NUMBER}2@pbx.example"><name>{PLANTED} Callee</name></nameID>
  </participant>
  <stream stream_id="s1" session_id="c2Vzc2lvbi0xLS0tLS0tLQ=="><label>1</label></stream>
  <participantstreamassoc participant_id="{NUMBER}9"><send>s1</send></participantstreamassoc>
</recording>""".encode()

PARTS = (
    b"--x\r\nContent-Type: application/sdp\r\n\r\n" + sdp("sendonly") + b"\r\n"
    b"--x\r\nContent-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n"
    + METADATA + b"\r\n--x--\r\n"
)  # fmt: skip

INVITE = (
    f"INVITE sip:rec@recorder.example SIP/2.0\r\nVia: SIP/2.0/TLS sbc.example;branch=z9hG4bK1\r\n"
    f'From: "{PLANTED} From" <sip:+{NUMBER}3@sbc.example>;tag=a\r\n'
    f'To: "{PLANTED} To" <sip:{PLANTED}.to@recorder.example>\r\n'
    f"Call-ID: {PLANTED}-call\r\nCSeq: 1 INVITE\r\n"
    f'Contact: "{PLANTED} Contact" <sip:{PLANTED}@sbc.example>;+sip.src\r\n'
    f'P-Asserted-Identity: "{PLANTED} Asserted" <tel:+{NUMBER}4>\r\n'
    f'Diversion: "{PLANTED} Diverted" <sip:{NUMBER}5@sbc.example>;reason=no-answer\r\n'
    f"User-to-User: {PLANTED}-context\r\nCisco-Guid: {PLANTED}-guid\r\n"
    f"Content-Type: multipart/mixed;boundary=x\r\nContent-Length: {len(PARTS)}\r\n\r\n"
).encode() + PARTS


def request() -> Request:
    """Return the INVITE with the planted values."""
    message = parse(INVITE)
    if not isinstance(message, Request):
        raise TypeError("the INVITE is no request")
    return message


def recording() -> Recording:
    """Return the recording that this INVITE began."""
    one, invite = Recording("11111111-2222-4333-8444-555555555555", Policy(srtp="preferred"), random), request()
    body = contents(invite.headers, invite.body)
    one.handle(e.Offered(Token(1), invite, body.offer or b"", body.metadata, True, Addresses("198.51.100.7")), now())
    one.handle(e.Opened({0: 20000}), now())
    return one


class NoCustomer:
    """A stand-in for a customer that is never used."""


def on_the_way() -> Iterator[tuple[str, Any]]:
    """Yield every object with a planted value between the datagram and the sealed row."""
    invite = request()
    body = contents(invite.headers, invite.body)
    yield "request", invite
    yield "contents", body
    yield "SIP event", Invited(SessionKey(1), Token(1), None, invite, body.offer, body.metadata)  # type: ignore[arg-type]
    yield "later SIP event", Informed(SessionKey(1), None, invite, body.metadata, "INFO")  # type: ignore[arg-type]
    offered = e.Offered(Token(1), invite, body.offer or b"", body.metadata, True, Addresses("198.51.100.7"))
    yield "session event", offered
    yield "commands", Recording("1", Policy(srtp="preferred"), random).handle(offered, now())
    parsed = metadata.parse(body.metadata or b"")
    yield "metadata", parsed
    yield from (("participant", each) for each in parsed.participants)
    yield from (("extension", each) for each in parsed.extensions)
    yield "header facts", read_headers(invite)
    yield "vendor facts", read_extensions(parsed)
    one = recording()
    yield "call model", one.picture
    yield "parties", one.picture.parties()
    yield "correlations", one.picture.correlations
    yield "names of the call", call_names(one.picture.correlations)
    yield "group of the call", call_group(call_names(one.picture.correlations))
    yield "state of the picture", one.picture.to_state()
    yield "recording", one
    document = one.call_document(now(2))
    yield "call document", document
    row = row_of(document, 7)
    yield "row", row
    yield "parties of the row", row.details["parties"]
    forms = search_forms.stored_of(document["parties"], "DE")
    opened, _ = unpack(pack(row.details, forms))
    yield "opened row", opened["parties"]
    yield "related calls", opened["related"]
    yield "change of a row", Amended(row.id, 7, 1, gained=frozenset(forms), lost=frozenset(forms))
    yield "query", Query(party=Personal(f"{PLANTED} Caller"), related=(Personal(PLANTED),))
    yield "needles", search_forms.asked(f"{PLANTED} Caller", "DE")
    call = LiveCall(one, NoCustomer(), 7, SessionKey(1))  # type: ignore[arg-type]
    call.forms = "\0".join(forms)
    yield "live call", call
    state = call.to_state({"from": f'"{PLANTED}" <sip:x@y>'}, ())
    yield "dialog of a live state", state["dialog"]
    yield "picture of a live state", state["recording"]["picture"]


def written(thing: Any, log: io.StringIO) -> str:
    """Return everything that formatting, raising and logging an object writes."""
    log.seek(0)
    log.truncate()
    logging.getLogger("personal").error("it was %s, %r", thing, [thing], exc_info=ValueError(thing))
    shown = (repr(thing), f"{thing}", f"{[thing]!s}", "%s" % (thing,), str(ValueError(thing)), repr(KeyError(thing)))  # noqa: UP031
    return "\n".join((*shown, log.getvalue())).lower()


def test_no_object_on_the_way_to_the_row_shows_a_planted_value() -> None:
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger("personal").addHandler(handler)
    try:
        texts = {what: written(thing, log) for what, thing in on_the_way()}
    finally:
        logging.getLogger("personal").removeHandler(handler)
    assert all("it was" in text for text in texts.values())
    assert [what for what, text in texts.items() if PLANTED.lower() in text or NUMBER in text] == []


def test_the_planted_values_are_all_kept_and_sealed() -> None:
    """Without this, the other tests would pass even if the parser had read nothing."""
    document = recording().call_document(now(2))
    parties = in_the_clear(document)["parties"]
    assert [party["name"] for party in parties] == [
        f"{PLANTED} {one}" for one in ("Caller", "Callee", "Desk", "Diverted")
    ]
    assert parties[0]["also"] == [f"tel:+{NUMBER}1"]
    details, forms = unpack(pack(row_of(document, 7).details, search_forms.stored_of(document["parties"], "DE")))
    assert in_the_clear(details)["parties"] == parties
    assert details["parties"] == document["parties"]
    assert f"w:{PLANTED.lower()}" in forms


def test_a_personal_value_does_not_show_itself() -> None:
    alice = Personal("Alice")
    shown = [str(alice), repr(alice), f"{alice}", f"{alice:>20}", f"{alice!r}", f"{alice!a}", str({alice: [alice]})]
    shown.append("%s %r" % (alice, [alice]))  # noqa: UP031 - the old way of formatting is what is tested
    assert not any("Alice" in text for text in shown)
    assert str(alice) == MASK
    assert alice.reveal() == "Alice"


@pytest.mark.parametrize(
    "encode", [json.dumps, msgspec.json.encode, msgspec.msgpack.encode, pickle.dumps, vars, bytes, iter, len, "".join]
)
def test_nothing_encodes_or_opens_a_personal_value(encode: Any) -> None:
    with pytest.raises(TypeError) as refused:
        encode(Personal("Alice"))
    assert "Alice" not in str(refused.value)


def test_an_encoder_reveals_a_value_if_it_is_told_to() -> None:
    assert json.dumps([Personal("Alice")], default=revealed) == '["Alice"]'
    assert msgspec.json.encode([Personal("Alice")], enc_hook=revealed) == b'["Alice"]'
    with pytest.raises(TypeError, match="JSON has no object"):
        revealed(object())


def test_a_personal_value_does_not_change() -> None:
    alice = Personal("Alice")
    for name in Personal.__slots__:
        with pytest.raises(AttributeError):
            setattr(alice, name, "Bob")
        with pytest.raises((AttributeError, TypeError)):
            delattr(alice, name)
    assert alice == Personal("Alice")
    assert copy.deepcopy(alice) is copy.copy(alice) is alice


def test_personal_values_compare_by_what_they_hold() -> None:
    assert Personal("a") == Personal("a") != Personal("b")
    assert Personal("a") != "a"
    assert len({Personal("a"), Personal("a")}) == 1
    assert Personal("a") and not Personal("")


MAY_REVEAL = {
    "personal/__init__.py": "the type itself",
    "sip/siprec/call_model.py": "writes the live state, which is sealed; session ids",
    "sip/siprec/call_names.py": "compares names of calls",
    "sip/siprec/document.py": "takes an address for the id of a participant that has none",
    "sip/siprec/participants.py": "writes the live state, which is sealed",
    "sip/siprec/parties.py": "compares addresses and reads numbers in them",
    "sip/siprec/vendor_extensions.py": "reads what vendors' words say",
    "recorder/persist/checkpoint.py": "seals the live state",
    "recorder/session/document_builder.py": "encodes the document for a control part, which is sealed",
    "storage/calls/call_document.py": "reveals a document as a whole",
    "storage/calls/call_row.py": "seals a row",
    "storage/calls/search.py": "turns a query into search tokens",
    "storage/calls/session_recordings.py": "hashes the id of a session",
    "storage/calls/stored_query.py": "writes the query of an erasure, which is sealed",
    "storage/directory/match_keys.py": "turns a party into keyed hashes",
    "storage/search_forms.py": "turns a party into search tokens",
    "admin_api/calls/call_views.py": "answers a call",
    "admin_api/calls/calls.py": "answers what recordings of one call share",
    "storage/exports/subject_filter.py": "compares parties with the person an export is about",
    "admin_api/privacy/request_views.py": "answers a data subject request",
    "recorder/exports/dsar_data.py": "writes a subject report",
    "recorder/exports/owner_check.py": "answers `recorder calls owners`",
    "recorder/persist/call_list.py": "answers `recorder calls`",
}
"""The modules that reveal personal values, each with its reason. A new one needs a reason as good as these."""

WAYS_TO_REVEAL = {"reveal", "revealed", "revealed_parties", "revealed_text"}
"""`Personal.reveal`, and the functions that reveal everything in their argument."""


def revealing(source: str) -> bool:
    """Return whether a module uses one of the ways to reveal a personal value."""
    for node in ast.walk(ast.parse(source)):
        names = [node.attr] if isinstance(node, ast.Attribute) else [node.id] if isinstance(node, ast.Name) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        if WAYS_TO_REVEAL & set(names):
            return True
    return False


def test_only_the_listed_modules_reveal_personal_values() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    found = {str(file.relative_to(ROOT)) for file in files if revealing(file.read_text())}
    assert found == set(MAY_REVEAL)


def test_the_check_of_revealing_modules_sees_every_way() -> None:
    ways = (
        "name.reveal()",
        "f = name.reveal",
        "from personal import revealed as x",
        "call_document.revealed_parties(d)",
    )
    assert all(map(revealing, ways))
    assert not revealing("def shown(name): return str(name)")
