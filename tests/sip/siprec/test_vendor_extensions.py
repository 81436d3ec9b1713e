from hypothesis import given, settings
from hypothesis import strategies as st

from personal import Personal
from sip.siprec.document import Document, Extension, parse
from sip.siprec.parties import Role
from sip.siprec.vendor_extensions import WORDS, VendorFacts, read_extensions
from tests.plain_values import plain
from tests.sip import metadata_documents as documents


def hints(document: bytes) -> VendorFacts:
    """What a document says; leaving out elements without our words loses nothing."""
    found = read_extensions(parse(document, WORDS))
    assert found == read_extensions(parse(document))
    return found


def test_oracle_marks_both_sides():
    found = hints(documents.ORACLE)
    assert found.roles == {"or-1": Role.CALLER, "or-2": Role.CALLEE}
    assert plain(found.correlations) == [("ucid", "0017001A2B3C4D5E")]


def test_oracle_copies_headers_of_the_call():
    assert [(plain(who.uri), plain(who.name), who.role) for who in hints(documents.ORACLE).people] == [
        ("sip:4400@203.0.113.8", "Desk", Role.REDIRECTED_BY)
    ]
    assert [(participant, plain(who.uri)) for participant, who in hints(documents.ORACLE_UNESCAPED).aliases] == [
        ("ou-1", "sip:4401@203.0.113.8")
    ]


def test_broadworks_says_on_which_side_the_recorded_user_is():
    found = hints(documents.BROADWORKS)
    assert found.side is Role.CALLEE
    assert set(plain(found.recorded)) == {"sip:frieda@voice.example.org", "frieda@voice.example.org"}
    assert [(plain(who.uri), who.role) for who in found.people] == [
        ("sip:+493055577@198.51.100.7;user=phone", Role.CALLER),
        ("sip:+493055500@198.51.100.7", Role.CALLEE),
        ("sip:8105@198.51.100.7", Role.REDIRECTED_BY),
    ]
    assert plain(found.correlations) == [("ext-tracking-id", "4711:1")]


def test_metaswitch_extensions_are_read():
    found = hints(documents.METASWITCH)
    assert (found.side, plain(found.recorded)) == (Role.CALLER, ["+13055502"])
    assert [(plain(who.uri), who.role) for who in found.people] == [("3055501", Role.CALLEE)]


def test_netsapiens_names_the_ids_of_both_sides():
    assert hints(documents.NETSAPIENS).roles == {"n2": Role.CALLER, "ng": Role.CALLEE}
    assert hints(documents.NETSAPIENS).side is None


def test_ribbon_and_jambonz_name_addresses():
    assert [(plain(who.uri), plain(who.name), who.role) for who in hints(documents.RIBBON).people] == [
        ("sip:5551001@192.0.2.66", "Olga", Role.CALLER),
        ("sip:5551002@192.0.2.66", None, Role.CALLEE),
    ]
    assert plain(hints(documents.RIBBON).correlations) == [("gcid", "1003")]
    assert [(plain(who.uri), who.role) for who in hints(documents.JAMBONZ).people] == [
        ("+4930100", Role.CALLEE),
        ("+4930200", Role.CALLER),
    ]


def test_twilio_names_tracks_and_people_by_parameters():
    found = hints(documents.TWILIO)
    assert found.tracks == {"inbound": Role.CALLER, "outbound": Role.CALLEE}
    assert plain(found.names) == {Role.CALLER: "Karla K", Role.CALLEE: "Ole O"}


def test_the_direction_is_stated_and_never_guessed():
    assert hints(documents.BROADWORKS).direction == "inbound"
    assert hints(documents.METASWITCH).direction == "outbound"
    assert hints(documents.TWILIO).direction in ("inbound", "outbound")
    assert hints(documents.ORACLE).direction is None
    for said, way in (("inbound", "inbound"), (" Outbound ", "outbound"), ("sideways", None), ("", None)):
        assert hints(jambonz(f"<jb:direction>{said}</jb:direction>")).direction == way
    assert hints(jambonz("<x:direction xmlns:x='http://other.example'>inbound</x:direction>")).direction is None


def jambonz(extension: str) -> bytes:
    """Return a document of jambonz with one more element in its extension data."""
    callid = b"<jb:callsid>c-1</jb:callsid>"
    assert callid in documents.JAMBONZ
    return documents.JAMBONZ.replace(callid, callid + extension.encode())


def test_audiocodes_copies_call_ids():
    assert plain(hints(documents.AUDIOCODES).correlations) == [("ucid", "0017001A2B3C4D5E")]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.builds(
            Extension,
            st.sampled_from(["session", "participant"]),
            st.text(max_size=3),
            st.text("{}/@aheder callingpartyuserid", max_size=30),
            st.text(min_size=1, max_size=20).map(Personal),
        ),
        max_size=6,
    )
)
def test_any_extension_data_is_taken_without_exception(extensions):
    assert isinstance(read_extensions(Document(extensions=tuple(extensions))), VendorFacts)
