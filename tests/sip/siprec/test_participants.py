from personal import Personal
from sip.siprec.participants import (
    HEADERS,
    MAX_ALSO,
    MAX_PEOPLE,
    MAX_SESSIONS,
    VENDOR,
    OriginOfName,
    ParticipantEntry,
    Participants,
)
from sip.siprec.parties import Person, Role
from tests.plain_values import plain
from tests.sip.metadata_documents import T0, T1, T2


def known(*uris: str) -> Participants:
    people = Participants()
    for uri in uris:
        people.add(ParticipantEntry(Personal(uri), None, OriginOfName.METADATA, T0))
    return people


def test_people_are_found_by_address_or_unambiguous_number():
    people = known("sip:+493055501@a.example", "sip:anna@a.example", "sip:201@a.example", "sip:201@b.example")
    assert people.find(Personal("sip:ANNA@a.example")) is None
    assert people.find(Personal("SIP:anna@A.example;x=1")) == 1
    assert people.find(Personal("tel:+493055501")) == 0
    assert people.find(Personal("tel:+493055501"), exact=True) is None
    assert people.find(Personal("tel:201")) is None
    assert people.find(Personal("")) is None


def test_a_surer_role_stands():
    entry = ParticipantEntry(Personal("sip:a@b"), None, OriginOfName.METADATA, T0)
    entry.set_role(Role.REDIRECTED_BY, HEADERS)
    entry.set_role(Role.CALLER, VENDOR)
    entry.set_role(Role.CALLEE, VENDOR)
    entry.set_role(Role.REDIRECTED_TO, HEADERS)
    assert entry.role is Role.CALLER


def test_a_stated_leave_time_overrides_an_inferred_one():
    entry = ParticipantEntry(Personal("sip:a@b"), None, OriginOfName.METADATA, T0)
    entry.leave(T1, inferred=True)
    entry.leave(T2, inferred=False)
    assert (entry.left, entry.inferred) == (T1, False)
    entry.come()
    assert entry.left is None


def test_further_addresses_are_kept_once_and_bounded():
    entry = ParticipantEntry(Personal("sip:201@b.example"), None, OriginOfName.METADATA, T0)
    for n in range(20):
        entry.know(Personal(f"sip:x{n}@b.example"))
        entry.know(Personal("sip:201@B.example;user=phone"))
        entry.know(Personal("tel:201"))
    assert len(entry.also) == MAX_ALSO
    assert plain(entry.also[0]) == "sip:x0@b.example"


def test_from_and_to_are_shown_only_while_nobody_else_is_known():
    people = Participants()
    people.fall_back([Person(Personal("sip:a@b"), Personal("A"), Role.CALLER)], T0)
    people.fall_back([Person(Personal("sip:c@b"), Personal("C"), Role.CALLER)], T0)
    assert [plain(people[i].uri) for i in people.visible()] == ["sip:a@b"]
    people.add(ParticipantEntry(Personal("sip:x@y"), None, OriginOfName.METADATA, T1))
    assert [plain(people[i].uri) for i in people.visible()] == ["sip:x@y"]


def test_those_who_stayed_longest_are_present_after_all_left():
    people = known("sip:a@b", "sip:c@b", "sip:d@b")
    people[1].leave(T1, inferred=False)
    people[0].leave(T2, inferred=True)
    people[2].leave(T2, inferred=True)
    assert people.present() == [0, 2]
    assert (people.staying([0, 1]), people.staying([1]), people.staying([])) == ([0], [1], [])


def test_the_number_of_participants_is_limited():
    people = known(*(f"sip:u{n}@b" for n in range(MAX_PEOPLE)))
    assert people.add(ParticipantEntry(Personal("sip:more@b"), None, OriginOfName.METADATA, T0)) is None
    people.redirect(Person(Personal("sip:more@b"), None, Role.REDIRECTED_BY), HEADERS, T0)
    people.talk([Person(Personal("sip:more@b"), None, Role.PARTICIPANT)], T0)
    assert len(people) == MAX_PEOPLE


def test_only_the_newest_memberships_of_a_person_are_kept():
    entry = ParticipantEntry(Personal("sip:anonymous@anonymous.invalid"), None, OriginOfName.METADATA, T0)
    for session in range(48):
        assert entry.attend([((f"s{session}", f"p{n}"), True) for n in range(512)])
    assert entry.sessions == tuple(("s47", f"p{n}") for n in range(512 - MAX_SESSIONS, 512))
    assert not entry.attend([(each, False) for each in entry.sessions])
    assert entry.quit == ("s47",)
