"""Messages after many clients at a running recorder: found by whom they name, tied to their other recordings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.daemon.api import Api, running, until
from tests.daemon.sbc import OFFER, Sbc

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


KIND = "multipart/mixed;boundary=x"


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(tmp_path_factory.mktemp("dialects"), ports=400) as it:
        yield it


def begun(it: Api, metadata: bytes | None, *lines: str, offer: bytes = OFFER) -> Sbc:
    """Begin a call with an offer and metadata."""
    sbc = it.one.sbc("tcp")
    fields = "\r\n".join(lines)
    whole = (offer, fields) if metadata is None else (mixed(offer, metadata), fields, KIND)
    assert sbc.ask("INVITE", *whole).status == 200
    return sbc


def turn(sbc: Sbc, metadata: bytes, offer: bytes = OFFER) -> None:
    """Send another offer and other metadata in the dialog."""
    assert sbc.ask("INVITE", mixed(offer, metadata), kind=KIND).status == 200


def find(it: Api, count: int, **query: str) -> list[dict[str, Any]]:
    """Search until so many calls are listed; what is found may be indexed a moment later."""
    path = f"/calls?{httpx2.QueryParams(query)}"
    until(lambda: len(it.get(path).json()["items"]) >= count)
    items: list[dict[str, Any]] = it.get(path).json()["items"]
    assert len(items) == count
    return items


def ended(it: Api, sbc: Sbc, party: str) -> dict[str, Any]:
    """Hang up, and return the call once it is found by somebody who took part."""
    assert sbc.ask("BYE").status == 200
    sbc.close()
    (call,) = find(it, 1, party=party, state="complete")
    return dict(it.get(f"/calls/{call['id']}").json())


def recorded(it: Api, *messages: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Have calls recorded, each of metadata and header lines; return them once they are listed."""
    before = {call["id"] for call in it.calls()}
    for message in messages:
        with begun(it, *message) as sbc:
            assert sbc.ask("BYE").status == 200
    fresh = until(lambda: len(found := [c for c in it.calls() if c["id"] not in before]) == len(messages) and found)
    return [it.get(f"/calls/{call['id']}").json() for call in fresh]


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


def test_parties_named_by_clients_are_found_by_search_r17_x12(it: Api) -> None:
    recorded(it, *((metadata, *lines) for _, metadata, lines, _, _ in SAID))
    for _, _, _, party, role in SAID:
        (call,) = find(it, 1, party=party)
        assert role is None or role in [entry["role"] for entry in call["parties"]], party


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
    it: Api, one: tuple[Any, ...], two: tuple[Any, ...], sure: str
) -> None:
    near, far = recorded(it, one, two)
    for mine, other in ((near, far), (far, near)):
        assert [(named["id"], named["sure"]) for named in mine["recordings"]] == [(other["id"], sure)]


def test_concurrent_calls_of_the_same_people_are_not_linked_f8(it: Api) -> None:
    calls = recorded(it, *((document(session, people=PAIR),) for session in ("lone-call-1", "lone-call-2")))
    assert [call["recordings"] for call in calls] == [[], []]


def test_a_persistent_dialog_carries_several_sessions_r29_x5_f2(it: Api) -> None:
    quiet = OFFER.replace(b"sendonly", b"inactive")
    sbc = begun(it, b"<recording xmlns='urn:ietf:params:xml:ns:recording:1'/>", offer=quiet)
    for number in "12":
        who = participant(f"p{number}", f"sip:+49302003{number}@pbx.example")
        stream = f'<stream stream_id="s{number}" session_id="lasting-{number}"><label>1</label></stream>'
        sends = f'<participantstreamassoc participant_id="p{number}"><send>s{number}</send></participantstreamassoc>'
        turn(sbc, document(f"lasting-{number}", people=who + stream + sends))
        turn(sbc, document(f"lasting-{number}", people=who + stream), quiet)
    call = ended(it, sbc, "+493020031")
    assert find(it, 1, party="+493020032", state="complete")[0]["id"] == call["id"]
    assert call["session_id"] == "lasting-2"
    assert [key["key"] for key in call["related"]] == ["session:lasting-1", "session:lasting-2"]
    assert [entry["uri"] for entry in call["parties"]] == [f"sip:+49302003{n}@pbx.example" for n in "12"]
    assert len(call["streams"][0]["pauses"]) == 3


def test_a_snapshot_replaces_damaged_metadata_r20_r21(it: Api) -> None:
    takes = ("Accept: application/sdp, application/rs-metadata-request", "Allow: INVITE, ACK, BYE, UPDATE")
    sbc = begun(it, b"\x00nothing of metadata", *takes)
    asked = sbc.asked("UPDATE")
    assert asked.headers.get("Content-Type") == "application/rs-metadata-request"
    assert asked.body.startswith(b"SRS-Reason: metadata damaged")
    whole = document("anew-1", people=participant("p1", "sip:+493020041@pbx.example"))
    assert sbc.ask("UPDATE", whole, kind=METADATA_TYPE).status == 200
    call = ended(it, sbc, "+493020041")
    assert call["session_id"] == "anew-1"
    assert "metadata-unreadable" in [note["kind"] for note in call["notes"]]
