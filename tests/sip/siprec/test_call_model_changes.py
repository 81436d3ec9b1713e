"""How the picture of a call changes: holds, transfers, people who come and go, and what takes nothing away."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sip.siprec.call_model import CallModel
from sip.siprec.document import parse
from tests.plain_values import plain
from tests.sip import metadata_documents as documents
from tests.sip.call_models import ANNA, BEN, CLEO, heard, seen
from tests.sip.metadata_documents import T0, T1, T2, invite, rfc7865

A, B, C, NOBODY = ANNA[1], BEN[1], CLEO[1], "sip:anonymous@anonymous.invalid"
END = "disassociate-time"


def session(name: str, participant: str, tag: str = "") -> str:
    end = f"<{tag}>2026-03-01T09:00:29Z</{tag}>" if tag else ""
    return (
        f'<participantsessionassoc participant_id="{participant}" session_id="{name}">{end}</participantsessionassoc>'
    )


def update(*extra: str) -> bytes:
    return rfc7865(mode="partial", people=(), streams=(), send={}, session="", extra="".join(extra))


BOTH = rfc7865(extra='<session session_id="new=="/>' + session("new==", "pA==") + session("new==", "pB=="))
"""A consultation beside the first call: the client records both in one dialog."""


def ended(participant: str, *streams: str) -> str:
    """An association that is over (RFC 7865)."""
    end = "<disassociate-time>2026-03-01T09:00:29Z</disassociate-time>"
    sends = "".join(f"<send>{stream}</send>" for stream in streams)
    return f'<participantstreamassoc participant_id="{participant}">{sends}{end}</participantstreamassoc>'


CLEO_SENDS = (
    '<participant participant_id="pC=="><nameID aor="sip:+4930777@example.org"/></participant>'
    '<participantstreamassoc participant_id="pC=="><send>s2==</send></participantstreamassoc>'
)
BEN_SENDS = '<participantstreamassoc participant_id="pB=="><send>s2==</send></participantstreamassoc>'
GONE = update(session("sess==", "pB==", END))
GONE_TOO = update(session("new==", "pB==", END))
CALL = rfc7865()
HELD = rfc7865(send={"pA==": (), "pB==": ()})
WITHOUT_BEN = rfc7865(people=(ANNA,), send={"pA==": ("s1==",)})
TO_CLEO = update(CLEO_SENDS, session("sess==", "pB==", END), session("sess==", "pC=="))
JOINED = update('<session session_id="new=="/>', session("new==", "pB==", "associate-time"))
STOPPED = update(
    '<session session_id="new=="><stop-time>2026-03-01T09:00:29Z</stop-time></session>', session("sess==", "pB==", END)
)
SESSION_ONLY = b'<recording><session session_id="sess=="/></recording>'
TWO_NOBODIES = rfc7865(people=(ANNA, ("pB==", NOBODY, "Anonymous"), ("pC==", NOBODY, "Anonymous")))
ALL: dict[str, Any] = {"people": (ANNA, BEN, CLEO), "send": {"pA==": ("s1==",), "pB==": ("s2==",), "pC==": ("s2==",)}}
CHANGES: dict[str, tuple[list[bytes], list[datetime | None], list[str], str]] = {
    # what arrives; when each person left; who speaks on line 2 at the end; which lines are on hold
    "a hold that removes the senders": ([CALL, HELD], [None, None], [B], "12"),
    "and its end": ([CALL, HELD, CALL], [None, None], [B], ""),
    "a hold of one": ([CALL, update(BEN_SENDS.replace("<send>s2==</send>", ""))], [None, None], [B], "2"),
    "one who returns": ([CALL, rfc7865(left={"pB==": "2026-03-01T09:00:29Z"}), CALL], [None, None], [B], ""),
    "one who is missing": ([CALL, WITHOUT_BEN], [None, T1], [B], "2"),
    "one who was missing sends": ([CALL, WITHOUT_BEN, update(BEN_SENDS)], [None, None], [B], ""),
    "one who left sends": ([CALL, GONE, update(BEN_SENDS)], [None, T1], [B], ""),
    "an id that gets another address by an update": (
        [CALL, rfc7865(mode="partial", people=(("pB==", C, "Cleo"),), streams=(), send={}, session="")],
        [None, T1, None],
        [C],
        "",
    ),
    "one leaves the first of two sessions": ([BOTH, GONE], [None, None], [B], ""),
    "one leaves the second of two sessions": ([BOTH, GONE_TOO], [None, None], [B], ""),
    "one leaves both sessions": ([BOTH, GONE, GONE_TOO], [None, T2], [B], ""),
    "one hands a line over and stays in the other session": ([BOTH, TO_CLEO, update()], [None, None, None], [C], ""),
    "a stream keeps its session when that is left out": (
        [BOTH, update('<stream stream_id="s2=="><label>2</label></stream>'), TO_CLEO],
        [None, None, None],
        [C],
        "",
    ),
    "a snapshot without sessions clears departures": (
        [BOTH, GONE, rfc7865(session="", **ALL)],
        [None, None, None],
        [B, C],
        "",
    ),
    "a snapshot says anew who is in which session": ([BOTH, CALL, GONE], [None, T2], [B], ""),
    "a session that is joined by an update": ([CALL, JOINED, GONE], [None, None], [B], ""),
    "a session that ends by an update": ([CALL, JOINED, STOPPED], [None, T2], [B], ""),
    "the participant's id for the session's": ([BOTH, update(session("pB==", "pB==", END))], [None, T1], [B], ""),
    "no id of a session": ([BOTH, update(session("", "pB==", END))], [None, T1], [B], ""),
    "one of two with the same address": ([TWO_NOBODIES, GONE], [None, None], [NOBODY], ""),
    "both with the same address": (
        [TWO_NOBODIES, GONE, update(session("sess==", "pC==", END))],
        [None, T2],
        [NOBODY],
        "",
    ),
    "an association ends behind the next": (
        [CALL, update(CLEO_SENDS, ended("pB==", "s2=="))],
        [None, None, None],
        [C],
        "",
    ),
    "an association ends before the next": (
        [CALL, update(ended("pB==", "s2=="), CLEO_SENDS)],
        [None, None, None],
        [C],
        "",
    ),
    "an association ends and none follows": ([CALL, update(ended("pB==", "s2=="))], [None, None], [B], "2"),
    "an association ends and begins again": (
        [CALL, update(ended("pB==", "s2==")), update(ended("pB==", "s2=="), BEN_SENDS)],
        [None, None],
        [B],
        "",
    ),
    "an ended association in a snapshot names an earlier speaker": (
        [rfc7865(people=ALL["people"], send={"pA==": ("s1==",), "pC==": ("s2==",)}, extra=ended("pB==", "s2=="))],
        [None, None, None],
        [C],
        "",
    ),
    "or one on hold": ([rfc7865(send={"pA==": ("s1==",)}, extra=ended("pB==", "s2=="))], [None, None], [B], "2"),
    "an empty snapshot": ([CALL, b"<recording><datamode>complete</datamode></recording>"], [None, None], [B], ""),
    "a document that was cut": ([CALL, rfc7865()[:300]], [None, None], [B], ""),
    "a participant without id and address": (
        [CALL, update("<participant><nameID/></participant>")],
        [None, None],
        [B],
        "",
    ),
    "no document": ([CALL, b""], [None, None], [B], ""),
    "a doctype": ([CALL, b"<!DOCTYPE x><recording/>"], [None, None], [B], ""),
    "a session and no more": ([CALL, SESSION_ONLY], [None, None], [B], ""),
}


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_what_documents_change(name, stored):
    """Duties 8.9, F3, R19, R29, X11. Cisco writes the participant's id where the session's belongs."""
    arrivals, left, speakers, held = CHANGES[name]
    picture = CallModel()
    for document, now in zip(arrivals, (T0, T1, T2), strict=False):
        picture.apply(parse(document), now)
        if stored:
            picture = CallModel.from_state(json.loads(json.dumps(picture.to_state().reveal())))
    assert [party.left_at for party in picture.parties()] == left
    assert heard(picture, "1", "2") == [[A], speakers]
    assert [owner.earlier for owner in picture.owners(["1", "2"])] == [(), (1,) if speakers == [C] else ()]
    assert [owner.rule for owner in picture.owners(["1", "2"])] == [3 if label in held else 1 for label in "12"]
    assert [picture.holding(label) for label in "12"] == [label in held for label in "12"]
    assert picture.session_id in ("sess==", "new==")


def test_a_role_of_somebody_who_is_not_there_changes_nothing():
    stranger = documents.NETSAPIENS.replace(
        b'<callingParty participant_id="n2">', b'<callingParty participant_id="n9">'
    )
    assert [party.role.value for party in seen(stranger).parties()] == ["callee", "participant"]


def test_a_mixed_stream_belongs_to_all_its_senders_r29():
    streams: dict[str, Any] = {"streams": (("s1==", "1"),), "send": dict.fromkeys(ALL["send"], ("s1==",))}
    cleo = '<session session_id="new=="/>' + session("new==", "pC==")
    assert heard(seen(rfc7865(people=ALL["people"], extra=cleo, **streams)), "1") == [[A, B, C]]


def test_a_transfer_within_a_session():
    """Duties F4, X7."""
    after = rfc7865(
        people=(ANNA, BEN, CLEO),
        left={"pB==": "2026-03-01T09:00:29Z"},
        send={"pA==": ("s1==",), "pB==": ("s2==",), "pC==": ("s2==",)},
    )
    picture = seen(rfc7865(), after)
    anna, ben, cleo = picture.parties()
    assert (anna.left_at, ben.left_at, cleo.joined_at, cleo.left_at) == (None, T1, T1, None)
    assert (ben.client_left_at, ben.left_inferred) == (datetime(2026, 3, 1, 9, 0, 29, tzinfo=UTC), False)
    assert heard(picture, "2") == [["sip:+4930777@example.org"]]


@pytest.mark.parametrize(
    "uri", ["tel:+4930555777", "sip:+4930555777@192.0.2.9;user=phone", "sip:030555777@pbx.example"]
)
def test_an_id_with_a_rewritten_number_is_the_same_person_x6(uri):
    """As where the address that the recorded call shows of somebody changes its host."""
    first, second = (rfc7865(people=(ANNA, ("pB==", each, "Ben"))) for each in ("sip:+4930555777@192.0.2.1", uri))
    picture = seen(first, second, second)
    assert [(plain(party.number), party.left_at) for party in picture.parties()] == [
        (None, None),
        ("+4930555777", None),
    ]
    assert [owner.earlier for owner in picture.owners(["1", "2"])] == [(), ()]


def test_a_party_in_metadata_and_header_is_one_x6():
    """Found by number and address, and once only."""
    anna = ("pA==", "&quot;Anna W&quot; &lt;sip:anna@example.org;transport=tcp&gt;;tag=3", "")
    picture = seen(rfc7865(people=(anna, BEN)), rfc7865())
    assert [plain((party.uri, party.name)) for party in picture.parties()] == [
        ("sip:anna@example.org", "Anna"),
        ("sip:+4930555@example.org", "Ben"),
    ]
    assert [plain(party.name) for party in seen(rfc7865(people=(anna, BEN))).parties()] == ["Anna W", "Ben"]


def test_the_newest_session_is_the_session_of_the_call():
    """Duties R29, X5."""
    both = rfc7865(extra='<session session_id="new=="/>')
    assert seen(rfc7865(), both).session_id == "new=="
    assert seen(rfc7865(), both, both).session_id == "new=="


def test_a_real_participant_replaces_a_placeholder():
    picture = seen(documents.AVAYA, documents.AVAYA_ANSWERED)
    assert [plain(party.number) for party in picture.parties()] == ["49305551", "49305552"]
    assert not any(owner.earlier for owner in picture.owners(["1", "2", "3", "4"]))
    same_id = documents.AVAYA.replace(b"ASBCE@sbce.example.org", b"49305553@10.1.1.3")
    assert [plain(party.number) for party in seen(documents.AVAYA, same_id).parties()] == ["49305551", "49305553"]


def test_a_new_name_of_the_same_address_is_taken():
    picture = seen(rfc7865(), rfc7865(people=(ANNA, ("pB==", BEN[1], "Ben B."))))
    assert [plain(party.name) for party in picture.parties()] == ["Anna", "Ben B."]


def test_metadata_of_a_bye_only_tell_who_left_when():
    picture = seen(rfc7865())
    picture.apply(parse(documents.CUBE_BYE), T2, final=True)
    assert [party.left_at for party in picture.parties()] == [T2, T2]
    assert picture.client_ended_at == datetime(2026, 3, 1, 9, 1, tzinfo=UTC)
    assert [owner.rule for owner in picture.owners(["1", "2"])] == [1, 1]


def test_the_end_of_a_call_keeps_speakers_named_by_headers():
    """Cisco's network based recording and built-in bridge: nothing else says whose audio it is."""
    first, second, third = (
        f'X-Cisco-Recording-Participant: sip:{user}@a.example;media-index="{line}"'
        for user, line in ((1, 0), (2, 1), (3, 1))
    )
    picture = seen(invite(first, second), invite(first, third))
    before = heard(picture, None, None)
    assert before == [["sip:1@a.example"], ["sip:3@a.example"]]
    picture.end(T2)
    assert heard(picture, None, None) == before
    assert [owner.earlier for owner in picture.owners([None, None])] == [(), (1,)]


def test_a_header_names_the_speaker_of_a_line_until_the_next():
    """Rule 3: who hangs up first has spoken all the same."""
    first, second = (f'X-Cisco-Recording-Participant: sip:{n}@a.example;media-index="{n}"' for n in (0, 1))
    picture = seen(invite(first, second), invite(first))
    picture.end(T2)
    assert [party.left_at for party in picture.parties()] == [T2, T1]
    assert heard(picture, None, None) == [["sip:0@a.example"], ["sip:1@a.example"]]


def test_a_truncated_document_changes_nothing():
    """Duty 8.9. Half a name is not the name, and an association without its end holds no stream."""
    whole = rfc7865(streams=(("s1==", "10"), ("s2==", "1007")), send={"pA==": ("s1==",), "pB==": ("s1==", "s2==")})

    def shown(picture: CallModel) -> object:
        labels = ("10", "1007")
        return picture.parties(), picture.owners(labels), [picture.holding(label) for label in labels]

    before = shown(seen(whole))
    changed = [length for length in range(len(whole)) if shown(seen(whole, whole[:length])) != before]
    assert changed == []


def test_an_unescaped_name_hides_no_transfer_or_hold():
    """Duties F3, F4; OpenSIPS copies names into its documents as they are."""
    firm = ("pA==", ANNA[1], "Smith & Co")
    after = rfc7865(people=(firm, CLEO), send={"pA==": (), "pC==": ("s2==",)})
    picture = seen(rfc7865(people=(firm, BEN)), after)
    assert [plain(party.uri) for party in picture.parties()] == [ANNA[1], BEN[1], CLEO[1]]
    assert [party.left_at for party in picture.parties()] == [None, T1, None]
    assert heard(picture, "1", "2") == [[ANNA[1]], [CLEO[1]]]
    assert (picture.holding("1"), picture.holding("2")) == (True, False)
