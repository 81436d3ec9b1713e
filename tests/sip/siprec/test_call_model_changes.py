"""How the picture of a call changes: holds, transfers, people who come and go, and what takes nothing away."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from sip.siprec.call_model import CallModel
from sip.siprec.document import parse
from tests.plain_values import plain
from tests.sip import metadata_documents as documents
from tests.sip.call_models import ANNA, BEN, CLEO, heard, seen
from tests.sip.metadata_documents import T1, T2, invite, rfc7865


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
    assert (plain(anna.uri), anna.left_at) == ("sip:anna@example.org", None)
    assert (ben.left_at, ben.left_inferred) == (T1, True)
    assert cleo.joined_at == T1
    assert picture.session_id == "next=="
    assert heard(picture, "1", "2") == [[ANNA[1]], [CLEO[1]]]
    assert [owner.earlier for owner in picture.owners(["1", "2"])] == [(), (1,)]


def test_a_returning_participant_is_the_same_party():
    """Duty X11."""
    gone = rfc7865(left={"pB==": "2026-03-01T09:00:29Z"})
    picture = seen(rfc7865(), gone, rfc7865())
    assert [party.left_at for party in picture.parties()] == [None, None]


def test_an_id_that_gets_another_address_is_another_person():
    picture = seen(rfc7865(), rfc7865(people=(ANNA, ("pB==", CLEO[1], "Cleo"))))
    assert [(plain(party.name), party.left_at) for party in picture.parties()] == [
        ("Anna", None),
        ("Ben", T1),
        ("Cleo", None),
    ]
    assert heard(picture, "2") == [[CLEO[1]]]
    again = CallModel.from_state(json.loads(json.dumps(picture.to_state().reveal())))
    assert [owner.earlier for owner in again.owners(["1", "2"])] == [(), (1,)]


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


def test_a_missing_participant_returns_by_sending_a_stream():
    """A hold that leaves somebody out, and an update that ends it."""
    without = rfc7865(people=(ANNA,), send={"pA==": ("s1==",)})
    sends = '<participantstreamassoc participant_id="pB=="><send>s2==</send></participantstreamassoc>'
    picture = seen(rfc7865(), without)
    assert [party.left_at for party in picture.parties()] == [None, T1]
    picture.apply(parse(update(sends)), T2, final=True)
    assert [party.left_at for party in picture.parties()] == [None, T1]
    picture.apply(parse(update(sends)), T2)
    assert [party.left_at for party in picture.parties()] == [None, None]


def test_a_stream_update_does_not_bring_back_who_left():
    sends = '<participantstreamassoc participant_id="pB=="><send>s2==</send></participantstreamassoc>'
    picture = seen(rfc7865(), update(session("sess==", "pB==", "disassociate-time")), update(sends))
    assert [party.left_at for party in picture.parties()] == [None, T1]


def test_a_party_in_metadata_and_header_is_one_x6():
    """Found by number and address, and once only."""
    anna = ("pA==", "&quot;Anna W&quot; &lt;sip:anna@example.org;transport=tcp&gt;;tag=3", "")
    picture = seen(rfc7865(people=(anna, BEN)), rfc7865())
    assert [plain((party.uri, party.name)) for party in picture.parties()] == [
        ("sip:anna@example.org", "Anna"),
        ("sip:+4930555@example.org", "Ben"),
    ]
    assert [plain(party.name) for party in seen(rfc7865(people=(anna, BEN))).parties()] == ["Anna W", "Ben"]


def test_in_an_update_too_the_person_an_id_belonged_to_has_left():
    """Duty R19."""
    update = rfc7865(mode="partial", people=(("pB==", CLEO[1], "Cleo"),), streams=(), send={}, session="")
    assert [party.left_at for party in seen(rfc7865(), update).parties()] == [None, T1, None]


def test_the_newest_session_is_the_session_of_the_call():
    """Duties R29, X5."""
    both = rfc7865(extra='<session session_id="new=="/>')
    assert seen(rfc7865(), both).session_id == "new=="
    assert seen(rfc7865(), both, both).session_id == "new=="


def session(name: str, participant: str, tag: str = "") -> str:
    end = f"<{tag}>2026-03-01T09:00:29Z</{tag}>" if tag else ""
    return (
        f'<participantsessionassoc participant_id="{participant}" session_id="{name}">{end}</participantsessionassoc>'
    )


BOTH = rfc7865(extra='<session session_id="new=="/>' + session("new==", "pA==") + session("new==", "pB=="))
"""A consultation beside the first call: the client records both in one dialog."""


def update(*extra: str) -> bytes:
    return rfc7865(mode="partial", people=(), streams=(), send={}, session="", extra="".join(extra))


@pytest.mark.parametrize("name", ["sess==", "new=="])
def test_leaving_one_of_two_sessions_ends_only_that_one_r29(name):
    gone = update(session(name, "pB==", "disassociate-time"))
    picture = seen(BOTH, gone)
    assert [party.left_at for party in picture.parties()] == [None, None]
    assert heard(picture, "2") == [[BEN[1]]]
    again = CallModel.from_state(json.loads(json.dumps(picture.to_state().reveal())))
    other = {"sess==": "new==", "new==": "sess=="}[name]
    again.apply(parse(update(session(other, "pB==", "disassociate-time"))), T2)
    assert [(party.left_at, party.left_inferred) for party in again.parties()] == [(None, False), (T2, False)]


def test_a_person_who_left_a_session_is_not_heard_in_it_r29():
    """Cleo takes over what Ben sent, who is in the other session still."""
    cleo = '<participant participant_id="pC=="><nameID aor="sip:+4930777@example.org"/></participant>'
    sends = '<participantstreamassoc participant_id="pC=="><send>s2==</send></participantstreamassoc>'
    handed = update(cleo, sends, session("sess==", "pB==", "disassociate-time"), session("sess==", "pC=="))
    picture = seen(BOTH, handed)
    assert [party.left_at for party in picture.parties()] == [None, None, None]
    again = CallModel.from_state(json.loads(json.dumps(picture.to_state().reveal())))
    again.apply(parse(update()), T2)
    assert heard(picture, "1", "2") == heard(again, "1", "2") == [[ANNA[1]], [CLEO[1]]]
    assert [owner.earlier for owner in again.owners(["1", "2"])] == [(), (1,)]


def test_a_stream_keeps_its_session_when_it_is_left_out_r29():
    bare = update('<stream stream_id="s2=="><label>2</label></stream>')
    picture = seen(BOTH, bare, update(CLEO_SENDS, session("sess==", "pB==", "disassociate-time")))
    assert heard(picture, "2") == [[CLEO[1]]]


def test_a_snapshot_without_sessions_clears_departures_r29():
    people, send = (ANNA, BEN, CLEO), {"pA==": ("s1==",), "pB==": ("s2==",), "pC==": ("s2==",)}
    gone = update(session("sess==", "pB==", "disassociate-time"))
    assert heard(seen(BOTH, gone, rfc7865(people=people, send=send, session="")), "2") == [[BEN[1], CLEO[1]]]


def test_a_mixed_stream_belongs_to_all_its_senders_r29():
    streams, send = (("s1==", "1"),), {"pA==": ("s1==",), "pB==": ("s1==",), "pC==": ("s1==",)}
    cleo = '<session session_id="new=="/>' + session("new==", "pC==")
    mixed = rfc7865(people=(ANNA, BEN, CLEO), streams=streams, send=send, extra=cleo)
    assert heard(seen(mixed), "1") == [[ANNA[1], BEN[1], CLEO[1]]]


def test_sessions_that_join_or_end_by_an_update_count_r29():
    joined = update('<session session_id="new=="/>', session("new==", "pB==", "associate-time"))
    gone = update(session("sess==", "pB==", "disassociate-time"))
    assert [party.left_at for party in seen(rfc7865(), joined, gone).parties()] == [None, None]
    ended = update(
        '<session session_id="new=="><stop-time>2026-03-01T09:00:29Z</stop-time></session>',
        session("sess==", "pB==", "disassociate-time"),
    )
    assert [party.left_at for party in seen(rfc7865(), joined, ended).parties()] == [None, T2]


@pytest.mark.parametrize("name", ["pB==", ""])
def test_an_id_of_no_session_ends_all_memberships_r29(name):
    """Cisco writes the participant's where the session's belongs."""
    assert [p.left_at for p in seen(BOTH, update(session(name, "pB==", "disassociate-time"))).parties()] == [None, T1]


def test_one_of_two_with_the_same_address_stays():
    """As the anonymous of a conference."""
    nobody = "sip:anonymous@anonymous.invalid"
    people = (ANNA, ("pB==", nobody, "Anonymous"), ("pC==", nobody, "Anonymous"))
    first, second = (update(session("sess==", who, "disassociate-time")) for who in ("pB==", "pC=="))
    picture = seen(rfc7865(people=people), first)
    assert [party.left_at for party in picture.parties()] == [None, None]
    picture.apply(parse(second), T2)
    assert [party.left_at for party in picture.parties()] == [None, T2]


def ended(participant: str, *streams: str) -> str:
    """An association that is over (RFC 7865)."""
    end = "<disassociate-time>2026-03-01T09:00:29Z</disassociate-time>"
    sends = "".join(f"<send>{stream}</send>" for stream in streams)
    return f'<participantstreamassoc participant_id="{participant}">{sends}{end}</participantstreamassoc>'


CLEO_SENDS = (
    '<participant participant_id="pC=="><nameID aor="sip:+4930777@example.org"/></participant>'
    '<participantstreamassoc participant_id="pC=="><send>s2==</send></participantstreamassoc>'
)


@pytest.mark.parametrize("order", [1, -1])
def test_an_ended_association_names_no_current_speaker(order):
    """Ben is in the call still; his line is Cleo's."""
    picture = seen(rfc7865(), update(*(CLEO_SENDS, ended("pB==", "s2=="))[::order]))
    assert heard(picture, "1", "2") == [[ANNA[1]], [CLEO[1]]]
    assert [owner.earlier for owner in picture.owners(["1", "2"])] == [(), (1,)]
    assert [party.left_at for party in picture.parties()] == [None, None, None]


def test_one_that_ends_and_is_followed_by_none_is_a_hold():
    picture = seen(rfc7865(), update(ended("pB==", "s2==")))
    assert (picture.holding("1"), picture.holding("2")) == (False, True)
    assert heard(picture, "2") == [[BEN[1]]]
    again = update(
        ended("pB==", "s2=="),
        '<participantstreamassoc participant_id="pB=="><send>s2==</send></participantstreamassoc>',
    )
    picture.apply(parse(again), T2)
    assert not picture.holding("2")


def test_ended_associations_name_earlier_speakers():
    picture = seen(
        rfc7865(people=(ANNA, BEN, CLEO), send={"pA==": ("s1==",), "pC==": ("s2==",)}, extra=ended("pB==", "s2=="))
    )
    assert heard(picture, "2") == [[CLEO[1]]]
    assert picture.owners(["2"])[0].earlier == (1,)
    alone = seen(rfc7865(send={"pA==": ("s1==",)}, extra=ended("pB==", "s2==")))
    assert heard(alone, "2") == [[BEN[1]]]


def test_metadata_of_a_bye_silence_no_stream():
    picture = seen(rfc7865())
    picture.apply(parse(update(ended("pA==", "s1=="), ended("pB==", "s2=="))), T2, final=True)
    assert heard(picture, "1", "2") == [[ANNA[1]], [BEN[1]]]
    assert not picture.holding("1")


def test_a_snapshot_says_anew_who_is_in_which_session_r29():
    picture = seen(BOTH, rfc7865(), update(session("sess==", "pB==", "disassociate-time")))
    assert [party.left_at for party in picture.parties()] == [None, T2]


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


def test_the_end_of_the_call_keeps_what_was_concluded():
    picture = seen(documents.GOOGLE)
    before = picture.owners(["1", "2"])
    picture.end(T2)
    assert picture.owners(["1", "2"]) == before
    assert [party.left_at for party in picture.parties()] == [T2, T2]


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
