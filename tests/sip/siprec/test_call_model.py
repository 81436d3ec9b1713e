"""What is known of a call from the documents and requests that describe it."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip.siprec.call_model import MAX_CORRELATIONS, CallModel
from sip.siprec.document import parse
from sip.siprec.parties import Role
from sip.siprec.stream_owners import Owner
from sip.siprec.xml_reader import Damage
from tests.plain_values import plain
from tests.sip import metadata_documents as documents
from tests.sip.call_models import ANNA, BEN, CLEO, heard, roles, seen
from tests.sip.metadata_documents import FAMILIES, T0, T2, invite, rfc7865


def test_a_call_of_two_people():
    picture = seen(rfc7865())
    anna, ben = picture.parties()
    assert (anna.role, *plain((anna.name, anna.number, anna.uri))) == (
        Role.PARTICIPANT,
        "Anna",
        None,
        "sip:anna@example.org",
    )
    assert (ben.role, *plain((ben.name, ben.number))) == (Role.PARTICIPANT, "Ben", "+4930555")
    assert (ben.joined_at, ben.left_at) == (T0, None)
    assert ben.client_joined_at == datetime(2026, 3, 1, 8, 59, 59, tzinfo=UTC)
    assert picture.owners(["2", "1"]) == (Owner((1,), False, 1), Owner((0,), False, 1))
    assert picture.session_id == "sess=="
    assert picture.client_started_at == datetime(2026, 3, 1, 8, 59, 59, tzinfo=UTC)


ROLES = {
    "oracle": [("callee", "Ward 7", "4402"), ("caller", "+4315550", "+4315550"), ("redirected_by", "Desk", "4400")],
    "broadworks": [("callee", None, None), ("caller", None, "+493055577"), ("redirected_by", None, "8105")],
    "ribbon": [("caller", "Olga", "5551001"), ("callee", None, "5551002")],
    "metaswitch": [("callee", "3055501", "3055501"), ("caller", "3055502", "3055502")],
    "netsapiens": [("callee", "Grete", "201"), ("caller", "Hans", "202")],
    "jambonz": [("callee", None, "+4930100"), ("caller", None, "+4930200")],
    "twilio": [("caller", "Karla K", None), ("callee", "Ole O", "230000")],
    "audiocodes": [("participant", None, "+498955501"), ("participant", None, "+498955502")],
    "google": [("participant", None, None), ("participant", None, None)],
}


@pytest.mark.parametrize("family", ROLES)
def test_roles_come_from_the_client_and_not_from_order(family):
    assert roles(seen(FAMILIES[family])) == ROLES[family]


OWNERS = {
    "audiocodes": (["1", "2"], [["+498955501@sbc.example.org"], ["+498955502"]], [2, 2]),
    "oracle": (["335544321", "335544322"], [["sip:+4315550@203.0.113.9"], ["sip:4402@203.0.113.8"]], [2, 2]),
    "oracle unescaped": (["11", "12"], [["sip:4401@203.0.113.8"], ["sip:4402@203.0.113.8"]], [2, 2]),
    "broadworks": (["1"], [["sip:frieda@voice.example.org", "sip:+493055577@198.51.100.7;user=phone"]], [2]),
    "ribbon": (["1", "2"], [["5551002"], ["5551001"]], [1, 1]),
    "metaswitch": (["1"], [["3055501", "3055502"]], [1]),
    "netsapiens": (["1", "2"], [["sip:201@t.example.org"], ["sip:202@t.example.org"]], [1, 1]),
    "avaya": (["10", "20"], [["sip:49305551@10.1.1.1"], ["sip:ASBCE@sbce.example.org"]], [1, 4]),
    "avaya answered": (["10", "20"], [["sip:49305551@10.1.1.1"], ["sip:49305552@10.1.1.2"]], [1, 1]),
    "google": (["1", "2"], [["sip:kim@client.example.org"], ["sip:lou@client.example.org"]], [6, 6]),
    "opensips 2": (["1", "2"], [["sip:@192.0.2.5"], ["sip:551@192.0.2.5;noa=int"]], [6, 6]),
}


@pytest.mark.parametrize("family", OWNERS)
def test_owners_of_each_family(family):
    """Duties F5, R28."""
    labels, owners, rules = OWNERS[family]
    picture = seen(FAMILIES[family])
    assert heard(picture, *labels) == owners
    assert [owner.rule for owner in picture.owners(labels)] == rules


def test_the_worst_damage_so_far_is_kept():
    picture = seen(documents.ORACLE_UNESCAPED, documents.ORACLE)
    assert picture.damage is Damage.UNESCAPED


def test_headers_name_participants_but_add_no_party():
    request = invite('From: "Ben" <sip:+4930555@192.0.2.1>;tag=1', "To: <sip:rec@192.0.2.200>")
    nameless = rfc7865(people=(ANNA, ("pB==", "sip:+4930555@example.org", "")))
    for arrivals in ((request, nameless), (nameless, request)):
        assert [plain((party.name, party.uri)) for party in seen(*arrivals).parties()] == [
            ("Anna", "sip:anna@example.org"),
            ("Ben", "sip:+4930555@example.org"),
        ]


def test_from_and_to_are_parties_until_metadata_arrive():
    request = invite('From: "Ben" <sip:+4930999@192.0.2.1>;tag=1', "To: <sip:+4930888@192.0.2.200>")
    assert roles(seen(request)) == [("caller", "Ben", "+4930999"), ("callee", None, "+4930888")]
    assert [plain(party.name) for party in seen(request, rfc7865()).parties()] == ["Anna", "Ben"]


def test_a_redirector_is_listed_after_the_participants():
    request = invite("From: <sip:src@h>;tag=1", "To: <sip:rec@h>", 'Diversion: "Desk" <sip:4400@a>;reason=x')
    picture = CallModel()
    picture.apply_request(request, T0)
    picture.apply(parse(rfc7865()), T0)
    assert roles(picture)[-1] == ("redirected_by", "Desk", "4400")
    assert heard(picture, "1", "2") == [[ANNA[1]], [BEN[1]]]


def test_a_redirecting_participant_stays_one_party():
    request = invite("From: <sip:src@h>;tag=1", "To: <sip:rec@h>", "Diversion: <sip:+4930555@b>;reason=x")
    for arrivals in ((request, rfc7865()), (rfc7865(), request)):
        picture = seen(*arrivals)
        assert sorted(roles(picture)) == [("participant", "Anna", None), ("redirected_by", "Ben", "+4930555")]
        assert heard(picture, "2") == [[BEN[1]]]
        assert all(party.left_at is None for party in picture.parties())


def test_names_of_the_call_in_other_systems_are_gathered_once():
    request = invite(
        "From: <sip:src@192.0.2.1>;tag=1", "To: <sip:rec@h>", "User-to-User: 00FA080017001A2B3C4D5E;encoding=hex"
    )
    picture = seen(request, documents.AUDIOCODES, documents.AUDIOCODES)
    assert plain(picture.correlations) == (("ucid", "0017001A2B3C4D5E"), ("session", "0000-s1"), ("group", "0000-g1"))
    assert plain(picture.groups) == ("0000-g1",)


def test_the_call_model_is_bounded():
    picture = CallModel()
    for n in range(400):
        people = tuple((f"p{n}-{i}", f"sip:u{n}-{i}@h", "N") for i in range(3))
        document = rfc7865(people=people, streams=((f"s{n}", f"{n}"),), send={f"p{n}-0": (f"s{n}",)}, session=f"z{n}")
        picture.apply(parse(document), T0)
    assert len(picture.parties()) == 256
    assert len(picture.correlations) == MAX_CORRELATIONS
    assert len(json.dumps(picture.to_state().reveal())) < 150_000


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_brings_the_picture_back(family):
    request = invite(
        "From: <sip:+491@a>;tag=1", "To: <sip:rec@h>", 'P-Asserted-Identity: "Zoe" <sip:+4930555@x>', "Cisco-Guid: 1-2"
    )
    picture = seen(request, FAMILIES[family])
    labels = ["1", "2", None]
    again = CallModel.from_state(json.loads(json.dumps(picture.to_state().reveal())))
    for later in (None, rfc7865(mode="partial", people=(CLEO,), streams=(), send={"pA==": ()})):
        if later is not None:
            picture.apply(parse(later), T2)
            again.apply(parse(later), T2)
        assert again.parties() == picture.parties()
        assert again.owners(labels) == picture.owners(labels)
        assert (again.session_id, again.correlations) == (picture.session_id, picture.correlations)
        assert again.holding("1") == picture.holding("1")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(FAMILIES)), st.integers(0, 2_000), st.integers(0, 255), st.booleans()),
        max_size=4,
    )
)
def test_damaged_documents_never_break_the_call_model(steps):
    picture = CallModel()
    for family, place, byte, final in steps:
        document = bytearray(FAMILIES[family])
        document[place % len(document)] = byte
        picture.apply(parse(bytes(document)), T0, final=final)
        parties = picture.parties()
        for owner in picture.owners(["1", "2", None, "1"]):
            assert all(0 <= index < len(parties) for index in owner.parties)
        assert CallModel.from_state(json.loads(json.dumps(picture.to_state().reveal()))).parties() == parties


def test_unclaimed_dialled_digits_belong_to_the_only_peer_x12():
    dialled = documents.METASWITCH.replace(b"<dialedDigits>3055501", b"<dialedDigits>*77")
    callee, caller = seen(dialled).parties()
    assert (caller.role, caller.also, plain(callee.also)) == (Role.CALLER, (), ("*77",))
    third = b'<participant participant_id="m3=="><nameID aor="3055503"/></participant></recording>'
    assert [party.also for party in seen(dialled.replace(b"</recording>", third)).parties()] == [(), (), ()]
    nobody = dialled.replace(b"+13055502</recordedParty>", b"</recordedParty>")
    assert [party.also for party in seen(nobody).parties()] == [(), ()]


def test_a_snapshot_is_wanted_only_where_it_helps_r21():
    def document(text: str, mode: str) -> bytes:
        return rfc7865(mode=mode, people=(), streams=(), send={}, session="", extra=text)

    person = "<participant participant_id='p1'><nameID aor='sip:a@b'/></participant>"
    stranger = "<participantstreamassoc participant_id='p9'><send>s1</send></participantstreamassoc>"
    picture = CallModel()
    for raw, final, snapshot_reason in (
        (document(person, "partial"), False, "no-base"),
        (document(person, "complete"), False, None),
        (document(stranger, "partial"), False, "unknown-ids"),
        (document(person, "partial"), False, None),
        (b"\0\1 no xml", False, "damaged"),
        (b"\0\1 no xml", True, None),
        (rfc7865()[:-200], False, "damaged"),
    ):
        picture = CallModel.from_state(picture.to_state().reveal())
        picture.apply(parse(raw), T0, final=final)
        assert picture.snapshot_reason == snapshot_reason
