from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personal import Personal
from sip.siprec.document import Identity
from sip.siprec.parties import (
    HeaderFacts,
    Person,
    Role,
    number_of,
    person,
    read_headers,
    same_address,
    same_number,
    ucid,
    written_person,
)
from sip.siprec.parties import plain as unwritten
from tests.plain_values import plain
from tests.sip.metadata_documents import invite

PlainPerson: Any = Person
PlainIdentity: Any = Identity
"""With its values in the clear, as `plain` returns them."""

BASE = ("From: <sip:src@192.0.2.1>;tag=1", "To: <sip:rec@192.0.2.200>")


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("sip:+493055@example.org", "+493055"),
        ("sip:7021;phone-context=x@example.org;user=phone", "7021"),
        ("sip:456@ims.example.org;noa=international", "456"),
        ("tel:+49-30-55", "+493055"),
        ("tel:+493055;ext=3", "+493055"),
        ("+493055@example.org", "+493055"),
        ("3055501", "3055501"),
        ("sip:2025550114", "2025550114"),
        ("sips:%2B493055@example.org", "+493055"),
        ("sip:4401:secret@example.org", "4401"),
        ("sip:anna@example.org", None),
        ("sip:49-30@example.org", None),
        ("sip:192.0.2.1", None),
        ("sip:@192.0.2.1", None),
        ("C0FFEE01", None),
        ("sip:٣٣@example.org", None),
        ("", None),
    ],
)
def test_the_number_is_the_user_part_if_that_is_digits(uri, number):
    assert plain(number_of(Personal(uri))) == number


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("sip:anna@Example.ORG;user=phone", "SIP:anna@example.org:5060", True),
        ("+493055@a.example", "sip:+493055@a.example", True),
        ("sip:a@[2001:DB8::1]:5060", "sip:a@[2001:db8::1]", True),
        ("sip:+493055@a.example", "sip:+493055@b.example", False),
        ("sip:anna@example.org", "sip:Anna@example.org", False),
        ("tel:+49-3055", "tel:+493055", True),
        ("sip", "SIP:sip", True),
        ("sip", "sip:", False),
    ],
)
def test_addresses_of_record_are_compared_by_user_and_host(one, other, same):
    assert same_address(Personal(one), Personal(other)) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("+493055501", "03055501", True),
        ("+13055501", "3055501", True),
        ("201", "1201", False),
        ("201", "201", True),
        ("", "", False),
    ],
)
def test_a_number_and_its_national_form_are_one(one, other, same):
    assert same_number(Personal(one), Personal(other)) is same
    assert same_number(Personal(other), Personal(one)) is same


def test_the_recording_client_and_the_recorder_are_not_people():
    assert read_headers(
        invite("From: sip:acmeSrc@192.0.2.1;tag=2", "To: <sip:+493000@192.0.2.200>", uri="sip:+493000@192.0.2.200")
    ) == (HeaderFacts())
    assert read_headers(invite("From: <sip:192.0.2.1>;tag=2", "To: <sip:192.0.2.200;user=phone>")).fallback == ()


ANNA, BEN = ("sip:anna@example.org", "Anna"), ("sip:+493055@example.org", "Ben, B.")
NAMED = {
    "From and To": (
        ['From: "Anna" <sip:anna@example.org>;tag=1', "To: <sip:+493055@example.org>"],
        [(*ANNA, Role.CALLER), (BEN[0], None, Role.CALLEE)],
    ),
    "From and To within a dialog": (["From: <sip:+491@a.example>;tag=1", "To: <sip:+492@b.example>;tag=2"], []),
    "an asserted identity, which overrides From": (
        [
            "From: <sip:anonymous@anonymous.invalid>;tag=1",
            "To: <sip:rec@192.0.2.200>",
            'P-Asserted-Identity: "Ben, B." <sip:+493055@example.org>, <tel:+493055>',
        ],
        [(*BEN, Role.CALLER)],
    ),
    "a remote party that says on which side it is": (
        [*BASE, 'Remote-Party-ID: "Anna" <sip:anna@example.org>;party=called;screen=yes'],
        [(*ANNA, Role.CALLEE)],
    ),
    "diversions": (
        [*BASE, 'Diversion: "Anna" <sip:anna@example.org>;reason=no-answer, <sip:4300@a.example>;reason=unconditional'],
        [(*ANNA, Role.REDIRECTED_BY), ("sip:4300@a.example", None, Role.REDIRECTED_BY)],
    ),
    "a history of who redirected the call and where to": (
        [
            *BASE,
            "History-Info: <sip:4400@a.example?Reason=SIP%3Bcause%3D486>;index=1, "
            "<sip:4500@a.example;cause=486>;index=1.1",
        ],
        [("sip:4400@a.example", None, Role.REDIRECTED_BY), ("sip:4500@a.example;cause=486", None, Role.REDIRECTED_TO)],
    ),
}


@pytest.mark.parametrize(("lines", "people"), NAMED.values(), ids=NAMED)
def test_header_fields_name_people_and_their_roles(lines, people):
    facts = read_headers(invite(*lines))
    assert plain(facts.fallback + facts.redirections) == tuple(PlainPerson(*person) for person in people)


@pytest.mark.parametrize(
    ("field", "where"),
    [
        ("DIVERSION: <sip:4400@a.example>", "redirections"),
        ("history-info: <sip:4400@a.example?Reason=SIP>, <sip:4300@a.example>", "redirections"),
        ("p-asserted-identity: <sip:4400@a.example>", "identities"),
        ("remote-PARTY-id: <sip:4400@a.example>", "identities"),
        ("x-cisco-recording-participant: <sip:4400@a.example>", "talkers"),
        ("session-id: 0123456789abcdef", "correlations"),
        ("X-Cid: 77", "correlations"),
    ],
)
def test_fields_are_found_in_any_spelling_of_their_names(field, where):
    assert getattr(read_headers(invite(*BASE, field)), where)


def test_history_without_a_redirection_names_nobody_reached():
    ends_here = "History-Info: <sip:4400@a.example>;index=1, <sip:rec@192.0.2.200;cause=302>;index=1.1"
    assert [who.role for who in read_headers(invite(*BASE, ends_here)).redirections] == [Role.REDIRECTED_BY]
    plain = "History-Info: <sip:4400@a.example>;index=1, <sip:4401@a.example>;index=1.1"
    assert read_headers(invite(*BASE, plain)).redirections == ()


def test_cisco_headers_name_participants_and_their_lines():
    facts = read_headers(
        invite(
            "From: <sip:192.0.2.1>;tag=1",
            "To: <sip:8000@192.0.2.200>",
            'X-Cisco-Recording-Participant: sip:4401@a.example;media-index="0 2"',
            'X-Cisco-Recording-Participant: sip:4402@a.example;media-index="1"',
        )
    )
    assert [(plain(who.uri), who.lines) for who in facts.talkers] == [
        ("sip:4401@a.example", (0, 2)),
        ("sip:4402@a.example", (1,)),
    ]
    assert plain(facts.fallback) == ()


def test_built_in_bridge_headers_name_both_ends_and_the_speaker():
    ends = "x-farend;x-refci=82;x-nearendaddr=4062;x-farendrefci=83;x-farendaddr=493055"
    sender = f'From: "Dora" <sip:4062@192.0.2.1;{ends}>;tag=1'
    facts = read_headers(invite(sender, "To: <sip:7777@192.0.2.200>"))
    assert plain(facts.talkers) == (
        PlainPerson("sip:4062@192.0.2.1", "Dora", Role.PARTICIPANT, ()),
        PlainPerson("493055", None, Role.PARTICIPANT, (0,)),
    )
    assert ("x-refci", "82") in plain(facts.correlations)


@pytest.mark.parametrize(
    ("header", "pair"),
    [
        ("Cisco-Guid: 1-2-3-4", ("cisco-guid", "1-2-3-4")),
        ("Session-ID: ab ;remote=00", ("session-id", "ab;remote=00")),
        ("User-to-User: 00FA080017001A2B3C4D5E;encoding=hex", ("ucid", "0017001A2B3C4D5E")),
        ("X-Genesys-CallUUID: G1", ("genesys-uuid", "G1")),
        ("X-BroadWorks-Correlation-Info: b-1", ("broadworks-correlation", "b-1")),
        ("x-audc-call-id: a1", ("audiocodes-call-id", "a1")),
    ],
)
def test_names_of_the_call_in_other_systems_are_collected(header, pair):
    """Duty S30."""
    assert pair in plain(read_headers(invite(*BASE, header)).correlations)


def test_a_call_id_of_avaya_is_found_in_all_its_spellings():
    for text in ("04FA080017001A2B3C4D5EC8140000;encoding=hex", " FA080017001A2B3C4D5E", "0017001A2B3C4D5E"):
        assert plain(list(ucid(Personal(text)))) == [("ucid", "0017001A2B3C4D5E")]
    assert plain(list(ucid(Personal("hello;encoding=ascii")))) == [("user-to-user", "hello")]
    assert list(ucid(Personal(""))) == []


def test_values_that_cannot_be_read_say_nothing():
    assert person('"open <sip:a@b>', Role.CALLER) is None
    assert person("", Role.CALLER) is None
    facts = read_headers(
        invite('From: "x <sip:a@b>', "To:", "Diversion: <<>>,,;", 'History-Info: "', "P-Asserted-Identity: <>")
    )
    assert facts == HeaderFacts()


def test_an_address_in_xml_keeps_its_parameters():
    assert plain(written_person(Personal(" sip:+491@a.example;user=phone "), Role.CALLER)) == PlainPerson(
        "sip:+491@a.example;user=phone", None, Role.CALLER
    )
    assert plain(written_person(Personal('"Al" <sip:al@a.example>;tag=1'), Role.CALLER)) == PlainPerson(
        "sip:al@a.example", "Al", Role.CALLER
    )
    assert written_person(Personal(" "), Role.CALLER) is None


@pytest.mark.parametrize(
    ("written", "address", "name"),
    [
        ('"Anna W" <sip:anna@x.example;user=phone>;tag=1', "sip:anna@x.example;user=phone", "Anna W"),
        ("Anna W <sip:anna@x.example>", "sip:anna@x.example", "Anna W"),
        ("<tel:+4930555>", "tel:+4930555", None),
        ("sip:anna@x.example", "sip:anna@x.example", None),
        ('"Anna <sip:anna@x.example>', '"Anna <sip:anna@x.example>', None),
        ("+4930555 <+4930555>", "+4930555", "+4930555"),
        ("sip:anna@x.example <sip:+4930555@x.example>", "sip:+4930555@x.example", "sip:anna@x.example"),
        ("sip:anna@x.example<br>", "sip:anna@x.example<br>", None),
        ("Anna <3 <sip:anna@x.example>", "Anna <3 <sip:anna@x.example>", None),
    ],
)
def test_an_address_of_record_is_extracted_x6(written, address, name):
    assert plain(unwritten(Identity(Personal(written), None))) == PlainIdentity(address, name)
    assert plain(unwritten(Identity(Personal(written), Personal("Known")))) == PlainIdentity(address, "Known")


def test_a_thousand_redirections_are_cut_short():
    many = ", ".join(f"<sip:{n}@a.example>;reason=x" for n in range(1_000))
    assert len(read_headers(invite(*BASE, f"Diversion: {many}")).redirections) == 32


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        ["From", "To", "Diversion", "History-Info", "X-Cisco-Recording-Participant", "Remote-Party-ID", "User-to-User"]
    ),
    st.text("<>@:;,\"\\ =?%+sip012a.[]'é", max_size=80),
)
def test_any_header_value_is_taken_without_exception(name, value):
    facts = read_headers(invite(*BASE, f"{name}: {value}"))
    assert isinstance(facts, HeaderFacts)
