from datetime import UTC, datetime
from typing import Any

import pytest

from sip.siprec.document import MAX_EXTENSIONS, Document, Group, Identity, clean_name, parse
from sip.siprec.xml_reader import Damage
from tests.plain_values import plain
from tests.sip import metadata_documents as documents
from tests.sip.metadata_documents import FAMILIES, rfc7865

PlainIdentity: Any = Identity
"""With its values in the clear, as `plain` returns them."""

# Family: (damage, sessions, people as id, uri, name, streams as id and label, send sets as participant and streams)
EXPECTED = {
    "rfc7865": (
        "",
        ["sess=="],
        [("pA==", "sip:anna@example.org", "Anna"), ("pB==", "sip:+4930555@example.org", "Ben")],
        [("s1==", "1"), ("s2==", "2")],
        [("pA==", "s1=="), ("pB==", "s2==")],
    ),
    "audiocodes": (
        "",
        ["0000-s1"],
        [("+498955501", "+498955501@sbc.example.org", None), ("+498955502", "+498955502", None)],
        [("0000-t1", "1"), ("0000-t2", "2")],
        [("+498955501", "0000-t1"), ("+498955502", "0000-t2")],
    ),
    "oracle": (
        "",
        ["or-s"],
        [("or-2", "sip:4402@203.0.113.8", "Ward 7"), ("or-1", "sip:+4315550@203.0.113.9", "+4315550")],
        [("or-t1", "335544321"), ("or-t2", "335544322")],
        [("or-2", "or-t2"), ("or-1", "or-t1")],
    ),
    "oracle unescaped": (
        "unescaped",
        ["ou-s"],
        [("ou-1", "sip:4401@203.0.113.8", "Support & Sales"), ("ou-2", "sip:4402@203.0.113.8", None)],
        [("ou-t1", "11"), ("ou-t2", "12")],
        [("ou-1", "ou-t1"), ("ou-2", "ou-t2")],
    ),
    "broadworks": (
        "",
        ["urn:uuid:s1"],
        [
            ("urn:uuid:p1", "sip:frieda@voice.example.org", None),
            ("urn:uuid:p2", "sip:+493055577@198.51.100.7;user=phone", None),
        ],
        [("urn:uuid:t1", "1")],
        [("urn:uuid:p1", "urn:uuid:t1"), ("urn:uuid:p2", "urn:uuid:t1")],
    ),
    "ribbon": (
        "",
        ["rs"],
        [("AAAAAAAAAAAAAAAA", "5551001", None), ("BBBBBBBBBBBBBBBB", "5551002", None)],
        [("x1", "1"), ("x2", "2")],
        [("AAAAAAAAAAAAAAAA", "x2"), ("BBBBBBBBBBBBBBBB", "x1")],
    ),
    "metaswitch": (
        "",
        ["ms=="],
        [("m1==", "3055501", "3055501"), ("m2==", "3055502", "3055502")],
        [("mt==", "1")],
        [("m1==", "mt=="), ("m2==", "mt==")],
    ),
    "netsapiens": (
        "",
        ["20260301"],
        [("ng", "sip:201@t.example.org", "Grete"), ("n2", "sip:202@t.example.org", "Hans")],
        [("k1", "1"), ("k2", "2")],
        [("ng", "k1"), ("n2", "k2")],
    ),
    "google": (
        "",
        ["gs"],
        [("src_p", "sip:kim@client.example.org", None), ("dst_p", "sip:lou@client.example.org", None)],
        [("g1", "1"), ("g2", "2")],
        [],
    ),
    "opensips 2": (
        "",
        ["sess=="],
        [("o1", "sip:@192.0.2.5", "x;lang=en"), ("o2", "sip:551@192.0.2.5;noa=int", None)],
        [("s1==", "1"), ("s2==", "2")],
        [],
    ),
}


@pytest.mark.parametrize("family", EXPECTED)
def test_each_dialect_says_the_same_things(family):
    """Duties X1, X13."""
    damage, sessions, people, streams, sends = EXPECTED[family]
    found = parse(FAMILIES[family])
    assert found.damaged == damage
    assert not found.partial
    assert [session.id for session in found.sessions] == sessions
    assert [(p.id, plain(p.identities[0].uri), plain(p.identities[0].name)) for p in found.participants] == people
    assert [(stream.id, stream.label) for stream in found.streams] == streams
    assert [(link.participant, *link.send) for link in found.stream_links if link.send] == sends


def test_groups_ids_times_and_session_ids_are_read():
    """Duties X3, X4."""
    found = parse(documents.NETSAPIENS)
    assert found.groups == (Group("ng"),)
    assert found.sessions[0].sip_session_ids == ("ng;remote=other",)
    times = parse(documents.BROADWORKS).sessions[0].started
    assert times is not None
    assert (times.raw, times.at) == ("2026-03-01T09:00:00+01:00", datetime(2026, 3, 1, 8, tzinfo=UTC))


@pytest.mark.parametrize("mode", ["<datamode>partial</datamode>", "<dataMode> Partial </dataMode>"])
def test_an_update_says_so_in_an_element(mode):
    """Duty X2."""
    assert parse(f"<recording>{mode}</recording>".encode()).partial


def test_a_document_without_data_mode_is_a_snapshot():
    """Duty X2."""
    assert parse(b'<recording dataMode="partial"/>').partial
    assert not parse(b"<recording/>").partial


def test_several_addresses_of_one_participant_are_kept():
    """Duty X6."""
    document = rfc7865().replace(b"</nameID></participant>", b'</nameID><nameID aor="tel:+49307"/></participant>', 1)
    assert plain(parse(document).participants[0].identities[1]) == PlainIdentity("tel:+49307", None)


def test_an_extension_that_names_its_parent_belongs_to_it():
    found = parse(documents.BROADWORKS).extensions
    tracking = next(one for one in found if one.path.endswith("/extTrackingID"))
    assert (tracking.kind, tracking.parent, plain(tracking.value)) == ("session", "urn:uuid:s1", "4711:1")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('"Ward 7"', "Ward 7"),
        (" ", None),
        ('""', None),
        ("Jean\r\n   Luc", "Jean Luc"),
        ("d'Arc", "d'Arc"),
        ("' x '", "x"),
        ('"', None),
        ('Hans "Hal" Jordan', 'Hans "Hal" Jordan'),
    ],
)
def test_names_lose_quotes_and_blanks_around_them(text, name):
    assert plain(clean_name(text)) == name


@pytest.mark.parametrize(
    ("raw", "damage"),
    [
        (b"", Damage.UNREADABLE),
        (b"v=0\r\n", Damage.UNREADABLE),
        (b"<html/>", Damage.UNREADABLE),
        (b'<!DOCTYPE recording><recording xmlns="urn:ietf:params:xml:ns:recording:1"/>', Damage.REFUSED),
    ],
)
def test_an_unreadable_document_reports_its_damage(raw, damage):
    assert parse(raw) == Document(damaged=damage)


def test_a_wrapped_document_or_unknown_namespace_is_read():
    raw = b'<x><recording xmlns="urn:future"><session session_id="a"/></recording></x>'
    assert [session.id for session in parse(raw).sessions] == ["a"]
    assert [session.id for session in parse(b"<Envelope><Body>" + raw + b"</Body></Envelope>").sessions] == ["a"]


def test_a_document_that_was_cut_off_gives_what_it_has():
    """Duty X14."""
    document = rfc7865()
    found = parse(document[: document.index(b"<participantstreamassoc")])
    assert found.damaged is Damage.CUT
    assert [plain(p.identities[0].name) for p in found.participants] == ["Anna", "Ben"]
    assert len(found.streams) == 2


def test_the_amount_of_extension_data_is_bounded():
    extra = "<x xmlns='urn:x' z=' '>" + "<y>1</y>" * 1_000 + "</x>"
    assert len(parse(rfc7865(extra=extra)).extensions) == MAX_EXTENSIONS


def test_foreign_elements_without_a_requested_name_are_left_out():
    told, untold = "<x xmlns='urn:x'><y z='1'>2</y></x>", "<x xmlns='urn:x'><w>3</w></x>"
    found = parse(rfc7865(extra=told + untold), {"y"}).extensions
    assert [plain(one.value) for one in found] == ["1", "2"]
    assert parse(rfc7865(extra=told + untold), frozenset()).extensions == ()


def test_the_times_of_an_association_are_no_extension():
    link = "<sessionrecordingassoc session_id='sess=='><associate-time>2026-03-01T09:00:00Z</associate-time>"
    assert parse(rfc7865(extra=f"{link}</sessionrecordingassoc>")).extensions == ()
