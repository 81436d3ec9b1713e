"""How the picture of a call changes: holds, transfers, people who come and go, and what takes nothing away."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from sip.metadata import parse
from sip.picture import Picture
from tests.sip import metadata_documents as documents
from tests.sip.metadata_documents import T1, T2, invite, rfc7865
from tests.sip.seen import ANNA, BEN, CLEO, heard, seen


def test_a_hold_that_removes_the_senders_keeps_the_owners():
    """Duty F3."""
    picture = seen(rfc7865(), rfc7865(send={"pA==": (), "pB==": ()}))
    assert heard(picture, "1", "2") == [["sip:anna@example.org"], ["sip:+4930555@example.org"]]
    assert [owner.rule for owner in picture.owners(["1", "2"])] == [3, 3]
    assert picture.holding("1")
    picture.apply(parse(rfc7865()), T2)
    assert not picture.holding("1")
    assert picture.owners(["1"])[0].rule == 1


def test_a_hold_in_an_update_of_one_association():
    """Duty R19."""
    picture = seen(rfc7865(), rfc7865(mode="partial", people=(), streams=(), send={"pB==": ()}, session=""))
    assert (picture.holding("1"), picture.holding("2")) == (False, True)
    assert [party.left_at for party in picture.parties()] == [None, None]


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


def test_a_transfer_by_new_ids_and_a_new_session():
    """Duty F4."""
    after = rfc7865(
        people=(("qA", ANNA[1], "Anna"), ("qC", CLEO[1], "Cleo")),
        streams=(("t1", "1"), ("t2", "2")),
        send={"qA": ("t1",), "qC": ("t2",)},
        session="next==",
    )
    picture = seen(rfc7865(), after)
    anna, ben, cleo = picture.parties()
    assert (anna.uri, anna.left_at) == ("sip:anna@example.org", None)
    assert (ben.left_at, ben.left_inferred) == (T1, True)
    assert cleo.joined_at == T1
    assert picture.session_id == "next=="
    assert heard(picture, "1", "2") == [[ANNA[1]], [CLEO[1]]]
    assert [owner.earlier for owner in picture.owners(["1", "2"])] == [(), (1,)]


def test_somebody_who_comes_back_is_the_same_party():
    """Duty X11."""
    gone = rfc7865(left={"pB==": "2026-03-01T09:00:29Z"})
    picture = seen(rfc7865(), gone, rfc7865())
    assert [party.left_at for party in picture.parties()] == [None, None]


def test_an_id_that_gets_another_address_is_another_person():
    picture = seen(rfc7865(), rfc7865(people=(ANNA, ("pB==", CLEO[1], "Cleo"))))
    assert [(party.name, party.left_at) for party in picture.parties()] == [("Anna", None), ("Ben", T1), ("Cleo", None)]
    assert heard(picture, "2") == [[CLEO[1]]]
    again = Picture.from_state(json.loads(json.dumps(picture.to_state())))
    assert [owner.earlier for owner in again.owners(["1", "2"])] == [(), (1,)]


def test_somebody_who_is_written_as_in_a_header_is_the_same_party_x6():
    """Found by number and address, and once only."""
    anna = ("pA==", "&quot;Anna W&quot; &lt;sip:anna@example.org;transport=tcp&gt;;tag=3", "")
    picture = seen(rfc7865(people=(anna, BEN)), rfc7865())
    assert [(party.uri, party.name) for party in picture.parties()] == [
        ("sip:anna@example.org", "Anna"),
        ("sip:+4930555@example.org", "Ben"),
    ]
    assert [party.name for party in seen(rfc7865(people=(anna, BEN))).parties()] == ["Anna W", "Ben"]


def test_in_an_update_too_the_person_an_id_belonged_to_has_left():
    """Duty R19."""
    update = rfc7865(mode="partial", people=(("pB==", CLEO[1], "Cleo"),), streams=(), send={}, session="")
    assert [party.left_at for party in seen(rfc7865(), update).parties()] == [None, T1, None]


def test_of_several_sessions_the_new_one_is_the_session_of_the_call():
    """Duties R29, X5."""
    both = rfc7865(extra='<session session_id="new=="/>')
    assert seen(rfc7865(), both).session_id == "new=="
    assert seen(rfc7865(), both, both).session_id == "new=="


def test_a_placeholder_goes_when_somebody_real_takes_its_place():
    picture = seen(documents.AVAYA, documents.AVAYA_ANSWERED)
    assert [party.number for party in picture.parties()] == ["49305551", "49305552"]
    assert not any(owner.earlier for owner in picture.owners(["1", "2", "3", "4"]))
    same_id = documents.AVAYA.replace(b"ASBCE@sbce.example.org", b"49305553@10.1.1.3")
    assert [party.number for party in seen(documents.AVAYA, same_id).parties()] == ["49305551", "49305553"]


def test_a_new_name_of_the_same_address_is_taken():
    picture = seen(rfc7865(), rfc7865(people=(ANNA, ("pB==", BEN[1], "Ben B."))))
    assert [party.name for party in picture.parties()] == ["Anna", "Ben B."]


def test_the_metadata_of_a_bye_takes_nothing_away_but_tells_who_left_when():
    picture = seen(rfc7865())
    picture.apply(parse(documents.CUBE_BYE), T2, final=True)
    assert [party.left_at for party in picture.parties()] == [T2, T2]
    assert picture.client_ended_at == datetime(2026, 3, 1, 9, 1, tzinfo=UTC)
    assert [owner.rule for owner in picture.owners(["1", "2"])] == [1, 1]


def test_the_end_of_the_call_keeps_what_was_concluded():
    picture = seen(documents.GOOGLE)
    before = picture.owners(["1", "2"])
    picture.end(T2)
    assert picture.owners(["1", "2"]) == before
    assert [party.left_at for party in picture.parties()] == [T2, T2]


def test_the_end_of_the_call_keeps_whom_a_header_named_for_a_line():
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


def test_whom_a_header_named_for_a_line_is_heard_in_it_until_it_names_somebody_else():
    """Rule 3: who hangs up first has spoken all the same."""
    first, second = (f'X-Cisco-Recording-Participant: sip:{n}@a.example;media-index="{n}"' for n in (0, 1))
    picture = seen(invite(first, second), invite(first))
    picture.end(T2)
    assert [party.left_at for party in picture.parties()] == [T2, T1]
    assert heard(picture, None, None) == [["sip:0@a.example"], ["sip:1@a.example"]]


@pytest.mark.parametrize(
    "harmless",
    [
        b"<recording><datamode>complete</datamode></recording>",
        rfc7865()[:300],
        b"",
        b"<!DOCTYPE x><recording/>",
        b'<recording><session session_id="sess=="/></recording>',
    ],
)
def test_documents_that_are_empty_or_damaged_take_nothing_away(harmless):
    """Duty 8.9."""
    picture = seen(rfc7865(), harmless)
    assert [party.left_at for party in picture.parties()] == [None, None]
    assert heard(picture, "1", "2") == [[ANNA[1]], [BEN[1]]]
    assert picture.session_id == "sess=="


def test_a_document_that_is_cut_anywhere_changes_nothing_that_was_known():
    """Duty 8.9. Half a name is not the name, and an association without its end holds no stream."""
    whole = rfc7865(streams=(("s1==", "10"), ("s2==", "1007")), send={"pA==": ("s1==",), "pB==": ("s1==", "s2==")})

    def shown(picture: Picture) -> object:
        labels = ("10", "1007")
        return picture.parties(), picture.owners(labels), [picture.holding(label) for label in labels]

    before = shown(seen(whole))
    changed = [length for length in range(len(whole)) if shown(seen(whole, whole[:length])) != before]
    assert changed == []


def test_a_name_that_is_not_escaped_hides_no_transfer_and_no_hold():
    """Duties F3, F4; OpenSIPS copies names into its documents as they are."""
    firm = ("pA==", ANNA[1], "Smith & Co")
    after = rfc7865(people=(firm, CLEO), send={"pA==": (), "pC==": ("s2==",)})
    picture = seen(rfc7865(people=(firm, BEN)), after)
    assert [party.uri for party in picture.parties()] == [ANNA[1], BEN[1], CLEO[1]]
    assert [party.left_at for party in picture.parties()] == [None, T1, None]
    assert heard(picture, "1", "2") == [[ANNA[1]], [CLEO[1]]]
    assert (picture.holding("1"), picture.holding("2")) == (True, False)
