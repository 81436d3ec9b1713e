"""Messages after many clients at a running recorder: found by whom they name, tied to their other recordings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.daemon.coded_calls import Watched
from tests.daemon.sbc_link import OFFER, Link
from tests.daemon.server import server

DRAFT = "urn:ietf:params:xml:ns:recording"
FINAL = "urn:ietf:params:xml:ns:recording:1"
METADATA_TYPE = "application/rs-metadata+xml"


def document(
    session: str, *, space: str = FINAL, people: str = "", inside: str = "", root: str = "recording", more: str = ""
) -> bytes:
    """Write metadata: `inside` stands in the session, `more` behind everything."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\r\n<{root} xmlns="{space}"><datamode>complete</datamode>'
        f'<session session_id="{session}">{inside}</session>{people}{more}</{root}>\r\n'
    ).encode()


def mixed(offer: bytes, metadata: bytes) -> bytes:
    """Compose offer and metadata as an INVITE carries them, between boundaries of x."""
    head = f"\r\n--x\r\nContent-Type: {METADATA_TYPE}\r\nContent-Disposition: recording-session\r\n\r\n".encode()
    return b"--x\r\nContent-Type: application/sdp\r\n\r\n" + offer + head + metadata + b"\r\n--x--\r\n"


def participant(who: str, uri: str, extra: str = "") -> str:
    return f'<participant participant_id="{who}"><nameID aor="{uri}"/>{extra}</participant>'


PAIR = participant("p1", "sip:4711@pbx.example") + participant("p2", "sip:4712@pbx.example")


@dataclass(frozen=True)
class Place:
    """A running recorder with one link to it."""

    link: Link
    it: Watched

    def record(self, metadata: bytes | None, *lines: str) -> None:
        """Place a call and let it run."""
        body, kind = OFFER, "application/sdp"
        if metadata is not None:
            body, kind = mixed(OFFER, metadata), "multipart/mixed;boundary=x"
        self.link.say("INVITE", *lines, body=body, kind=kind)
        answer = self.link.hear()
        assert answer is not None
        assert answer.status == 200
        to = answer.headers.get("To") or ""
        self.link.again("ACK", to)
        self.link.again("BYE", to)
        ended = self.link.hear()
        assert ended is not None
        assert ended.status == 200

    def turn(self, cseq: int, to: str, metadata: bytes, offer: bytes | None, *lines: str) -> None:
        """Send a re-INVITE with an offer and metadata, or an UPDATE with metadata alone, and have it answered."""
        method, kind = ("UPDATE", METADATA_TYPE) if offer is None else ("INVITE", "multipart/mixed;boundary=x")
        body = metadata if offer is None else mixed(offer, metadata)
        self.link.again(method, to, cseq, *lines, body=body, kind=kind)
        answer = self.link.hear()
        assert answer is not None
        assert answer.status == 200
        if offer is not None:
            self.link.again("ACK", to, cseq)

    def find(self, query: str, count: int) -> list[dict[str, Any]]:
        """Search until so many calls are listed; what is found may be indexed a moment later."""
        end = time.monotonic() + 30
        while True:
            items = list(self.it.ask(f"/calls?{query}").json()["items"])
            if len(items) >= count or time.monotonic() > end:
                assert len(items) == count, json.dumps(items)[:2000]
                return items
            time.sleep(0.1)

    def view(self, call: str) -> dict[str, Any]:
        """Return everything known of a call."""
        return dict(self.it.ask(f"/calls/{call}").json())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with server(tmp_path_factory.mktemp("dialects"), ports=400) as one:
        token = one.init()
        one.start()
        link = Link("tcp", one.udp)
        yield Place(link, Watched(one, token))
        link.close()


SAID = [
    # family, metadata, header lines, what is looked for, the role it has
    ("diversion", document("s1", people=PAIR), ("Diversion: Dora <sip:+493020001@pbx.example>;reason=unconditional",),
     "+49 30 20001", "redirected_by"),
    ("history", document("s2", people=PAIR), (
        "History-Info: <sip:+493020002@pbx.example?Reason=SIP%3Bcause%3D302>;index=1, "
        "<sip:+493020003@pbx.example;cause=302>;index=1.1",), "030 20003", "redirected_to"),
    ("asserted", None, ('P-Asserted-Identity: "Petra Asserted" <sip:+493020004@pbx.example>',),
     "Petra Asserted", "caller"),
    ("acme", document("s3", space=DRAFT, people=participant("p1", "sip:4711@pbx.example") + participant(
        "p2", "sip:4712@pbx.example"), inside=(
        '<apkt:header xmlns:apkt="http://acmepacket.com/siprec/extensiondata" label="Diversion">'
        "<value>&lt;sip:+493020005@pbx.example&gt;;reason=no-answer</value></apkt:header>")),
     (), "+493020005", "redirected_by"),
    ("broadworks", document("s4", space="urn:ietf:params:xml:ns:siprec", root="recording_metadata", people=PAIR, more=(
        '<extensiondata parent="s4"><broadWorksRecordingMetadata version="4.0"><callType><termCall><redirectInfo>'
        "<redirectedFromPartyNumber>tel:+493020006</redirectedFromPartyNumber></redirectInfo></termCall></callType>"
        "</broadWorksRecordingMetadata></extensiondata>")), (), "+493020006", "redirected_by"),
    ("metaswitch", document("s5", space=DRAFT, people=participant("p1", "493020007") + participant("p2", "4712"), more=(
        "<metaswitchRecordingMetadata><callType>originating</callType><recordedParty>493020007</recordedParty><dialedDigits>493020008</dialedDigits>"
        "</metaswitchRecordingMetadata>")), (), "493020008", None),
    ("public number", document("s8", people=participant("p1", "sip:agent-7@pbx.example", (
        '<apkt:header xmlns:apkt="http://acmepacket.com/siprec/extensiondata" label="P-Asserted-Identity">'
        "<value>&lt;sip:+493020011@pbx.example&gt;</value></apkt:header>"))), (), "030 20011", None),
    ("cisco", None, (
        "X-Cisco-Recording-Participant: <sip:+493020009@cucm.example>;media-index=0",), "+493020009", "participant"),
    ("twilio", document("s6", people=PAIR, more=(
        '<ExtensionParameters xmlns="urn:twilio"><Parameter name="redirectedFrom" value="+493020010"/>'
        "</ExtensionParameters>")), (), "+493020010", "redirected_by"),
    ("connected", document("s7", people=participant("p1", "sip:4713@pbx.example"), inside=(
        "<x:call xmlns:x='urn:x'><x:connectedParty>sip:4713@pbx.example</x:connectedParty></x:call>")),
     (), "4713@pbx.example", "answered"),
]  # fmt: skip


@pytest.mark.parametrize(("metadata", "lines", "party", "role"), [x[1:] for x in SAID], ids=[x[0] for x in SAID])
def test_parties_named_by_clients_are_found_by_search_r17_x12(
    place: Place, metadata: bytes | None, lines: tuple[str, ...], party: str, role: str | None
) -> None:
    place.record(metadata, *lines)
    found = place.find(str(httpx2.QueryParams({"party": party})), 1)
    if role is not None:
        assert role in [entry["role"] for entry in found[0]["parties"]]


UUID = "0f3d0d4a-8d1f-4f6e-9f5b-5a2f0a4c7e01"
TIES = [
    # kind, of the first recording, of the second: metadata and header lines; how sure
    ("session", (document("c2Vzc2lvbi1hLTEyMzQ1Ng==", people=PAIR),),
     (document("c2Vzc2lvbi1hLTEyMzQ1Ng==", people=PAIR),), "stated"),
    ("group", (document("g-one-1", more='<group group_id="Z3JvdXAtYS0xMjM0NTY3OA=="/>'),),
     (document("g-two-2", more='<group group_id="Z3JvdXAtYS0xMjM0NTY3OA=="/>'),), "likely"),
    ("ucid", (document("u-one-1"), "User-to-User: 00FA080019001038F725B3;encoding=hex"),
     (document("u-two-2", inside="<ac:AvayaUCID xmlns:ac='http://AudioCodes'>FA080019001038F725B3</ac:AvayaUCID>"),),
     "stated"),
    ("cisco-guid", (None, "Cisco-Guid: 1234567890-0987654321-1122334455-5544332211"),
     (None, "Cisco-Guid: 1234567890-0987654321-1122334455-5544332211"), "stated"),
    ("broadworks", (document("b-one-1", more=(
        '<extensiondata parent="b-one-1"><broadWorksRecordingMetadata><extTrackingID>83:7-ab</extTrackingID>'
        "</broadWorksRecordingMetadata></extensiondata>")),),
     (document("b-two-2", more=(
        '<extensiondata parent="b-two-2"><broadWorksRecordingMetadata><extTrackingID>83:7-ab</extTrackingID>'
        "</broadWorksRecordingMetadata></extensiondata>")),), "stated"),
    ("session-id", (None, "Session-ID: a1b2c3d4e5f60718293a4b5c6d7e8f90;remote=0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
     (None, "Session-ID: 0f1e2d3c4b5a69788796a5b4c3d2e1f0;remote=a1b2c3d4e5f60718293a4b5c6d7e8f90"), "stated"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "two", "sure"), [row[1:] for row in TIES], ids=[row[0] for row in TIES])
def test_recordings_of_one_call_refer_to_each_other_f8_x3(
    place: Place, one: tuple[Any, ...], two: tuple[Any, ...], sure: str
) -> None:
    before = {call["id"] for call in place.it.calls()}
    for metadata, *lines in (one, two):
        place.record(metadata, *lines)
    end = time.monotonic() + 30
    while len(fresh := [call for call in place.it.calls() if call["id"] not in before]) < 2:
        assert time.monotonic() < end
        time.sleep(0.1)
    near, far = fresh
    for mine, other in ((near, far), (far, near)):
        (named,) = place.view(mine["id"])["recordings"]
        assert (named["id"], named["sure"]) == (other["id"], sure)


def test_concurrent_calls_of_the_same_people_are_not_linked_f8(place: Place) -> None:
    before = {call["id"] for call in place.it.calls()}
    for session in ("lone-call-1", "lone-call-2"):
        place.record(document(session, people=PAIR))
    end = time.monotonic() + 30
    while len(fresh := [call for call in place.it.calls() if call["id"] not in before]) < 2:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert [place.view(call["id"])["recordings"] for call in fresh] == [[], []]


def began(place: Place, metadata: bytes, offer: bytes, *lines: str) -> str:
    """Begin a dialog and return the To of its requests."""
    place.link.say("INVITE", *lines, body=mixed(offer, metadata), kind="multipart/mixed;boundary=x")
    answer = place.link.hear()
    assert answer is not None
    assert answer.status == 200
    to = answer.headers.get("To") or ""
    place.link.again("ACK", to)
    return to


def test_a_persistent_dialog_carries_several_sessions_r29_x5_f2(place: Place) -> None:
    quiet = OFFER.replace(b"sendonly", b"inactive")
    to = began(place, b"<recording xmlns='urn:ietf:params:xml:ns:recording:1'/>", quiet)
    for cseq, number in ((2, "1"), (4, "2")):
        who = participant(f"p{number}", f"sip:+49302003{number}@pbx.example")
        stream = f'<stream stream_id="s{number}" session_id="lasting-{number}"><label>1</label></stream>'
        sends = f'<participantstreamassoc participant_id="p{number}"><send>s{number}</send></participantstreamassoc>'
        place.turn(cseq, to, document(f"lasting-{number}", people=who + stream + sends), OFFER)
        place.turn(cseq + 1, to, document(f"lasting-{number}", people=who + stream), quiet)
    place.link.again("BYE", to, 6)
    ended = place.link.hear()
    assert ended is not None
    (call,) = place.find("party=+493020031&state=complete", 1)
    assert place.find("party=+493020032&state=complete", 1)[0]["id"] == call["id"]
    assert call["session_id"] == "lasting-2"
    assert [key["key"] for key in call["related"]] == ["session:lasting-1", "session:lasting-2"]
    assert [entry["uri"] for entry in call["parties"]] == [f"sip:+49302003{n}@pbx.example" for n in "12"]
    assert len(call["streams"][0]["pauses"]) == 3


def test_a_snapshot_replaces_damaged_metadata_r20_r21(place: Place) -> None:
    takes = ("Accept: application/sdp, application/rs-metadata-request", "Allow: INVITE, ACK, BYE, UPDATE")
    whole = document("anew-1", people=participant("p1", "sip:+493020041@pbx.example"))
    to = began(place, b"\x00nothing of metadata", OFFER, *takes)
    asked = place.link.asked()
    kind = asked.headers.get("Content-Type")
    assert (asked.method, kind) == ("UPDATE", "application/rs-metadata-request")
    assert asked.body.startswith(b"SRS-Reason: metadata damaged")
    place.link.reply(asked, 200)
    place.turn(2, to, whole, None)
    place.link.again("BYE", to, 3)
    ended = place.link.hear()
    assert ended is not None
    (call,) = place.find("party=+493020041&state=complete", 1)
    assert call["session_id"] == "anew-1"
    assert "metadata-unreadable" in [note["kind"] for note in call["notes"]]


def ended(place: Place, to: str, cseq: int, party: str) -> dict[str, Any]:
    """End a dialog and return the call, once it is found by somebody who took part."""
    place.link.again("BYE", to, cseq)
    answer = place.link.hear()
    assert answer is not None
    assert answer.status == 200
    (call,) = place.find(str(httpx2.QueryParams({"party": party, "state": "complete"})), 1)
    return place.view(call["id"])


LEGACY = (
    "<recording xmlns='urn:ietf:params:xml:ns:recording'><dataMode>complete</dataMode><session id='{0}'>{1}</session>"
    "<participant id='+{2}' session='{0}'><nameID aor='{3}{2}'><name>&quot;Ora Tester&quot;</name></nameID>"
    "<send>s-{0}</send></participant><participant id='p2' session='{0}'><nameID aor='sip:4712@pbx.example'/>"
    "<recv>s-{0}</recv></participant>"
    "<stream id='s-{0}' session='{0}'><label>1</label><mode>separate</mode></stream></recording>\r\n"
)
"""As Acme Packet and AudioCodes write it: session, number of the speaker, scheme of the address."""


def test_ill_formed_metadata_still_name_the_speakers(place: Place) -> None:
    """After Oracle: an address in its brackets as it came from the SIP message, and a namespace with one slash."""
    odd = (
        "<apkt:extensiondata xmlns:apkt='http:/acmepacket.com/siprec/extensiondata'><apkt:request-uri>"
        "<sip:+493020052@192.0.2.7:5060;user=phone></apkt:request-uri><apkt:header label=P-Asserted-Identity/>"
        "</apkt:extensiondata>"
    )
    metadata = LEGACY.format("b3JhLTE=", odd, "493020051@pbx.example", "sip:+").encode()
    to = began(place, metadata, OFFER)
    place.turn(2, to, metadata, OFFER.replace(b"sendonly", b"inactive"))
    place.turn(3, to, metadata, OFFER)
    call = ended(place, to, 4, "+49 30 20051")
    (stream,) = call["streams"]
    assert (len(stream["pauses"]), stream["inferred"]) == (1, False)
    assert call["parties"][stream["party"]]["uri"] == "sip:+493020051@pbx.example"
    assert any(note["kind"].startswith("metadata-") for note in call["notes"])


def test_a_body_with_bare_line_feeds_is_read_as_it_is(place: Place) -> None:
    """After AudioCodes: Content-Length counts them so."""
    metadata = LEGACY.format(
        "YWMtMQ==", "<ac:GenesysUUID xmlns:ac='http://AudioCodes'>00FA08</ac:GenesysUUID>", "493020053", "+"
    )
    body = mixed(OFFER, metadata.encode()).replace(b"\r\n", b"\n")
    place.link.say("INVITE", body=body, kind="multipart/mixed;boundary=x")
    answer = place.link.hear()
    assert answer is not None
    assert answer.status == 200
    to = answer.headers.get("To") or ""
    place.link.again("ACK", to)
    call = ended(place, to, 2, "030 20053")
    assert call["session_id"] == "YWMtMQ=="
    assert [(stream["label"], stream["party"], stream["inferred"]) for stream in call["streams"]] == [("1", 0, False)]


def test_a_hold_that_only_the_metadata_tell_of_is_a_hold(place: Place) -> None:
    """After sipral: who sends the stream vanishes from the metadata, while its line stays sendonly."""
    who = participant("p1", "sip:+493020054@pbx.example")
    stream = '<stream stream_id="s1" session_id="hold-1"><label>1</label></stream>'
    owned = '<participantstreamassoc participant_id="p1">{}</participantstreamassoc>'
    speaks, silent = (document("hold-1", people=who + stream + owned.format(x)) for x in ("<send>s1</send>", ""))
    to = began(place, speaks, OFFER)
    place.turn(2, to, silent, OFFER)
    place.turn(3, to, speaks, OFFER)
    call = ended(place, to, 4, "+493020054")
    (held,) = call["streams"]
    assert (len(held["pauses"]), held["party"], held["inferred"]) == (1, 0, False)
