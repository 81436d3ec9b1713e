"""The marks of a recording session."""

import pytest

from sip.message.headers import Headers
from sip.message.siprec_marks import has_feature_tag, is_recording, marks, unknown_tags


def test_only_the_unknown_tags_are_listed_as_sent():
    """Duties 8.5, R5."""
    headers = Headers([("Require", "SIPREC, Foo"), ("Require", "timer, 100rel, replaces, 100relsiprec, bar")])
    assert unknown_tags(headers) == ("Foo", "bar")


@pytest.mark.parametrize(
    ("contact", "marked"),
    [
        ("<sip:a@b>;+sip.src", True),
        ('<sip:a@b>;+SIP.SRC="TRUE";x=1', True),
        ("<sip:a@b;+sip.src>", True),
        ("<sip:a@b> ; src", True),
        ("<sip:a@b>;+sip-src", True),
        ("<sip:a@b>;+sip.srs", False),
        ("<sip:src@b>", False),
        ("<sip:a@b>;srcset=1", False),
    ],
)
def test_the_feature_tag_in_all_its_spellings(contact, marked):
    assert has_feature_tag(Headers([("Contact", contact)])) is marked


def test_strict_mode_wants_both_marks():
    """Duty R2."""
    both = Headers([("Require", "siprec"), ("Contact", "<sip:a@b>;+sip.src")])
    assert is_recording(both, None, strict=True)
    assert not is_recording(Headers([("Require", "siprec")]), b"<recording/>", strict=True)
    assert is_recording(Headers(), b"<recording/>", strict=False)
    assert not is_recording(Headers(), None, strict=False)


@pytest.mark.parametrize(
    ("fields", "metadata", "name"),
    [
        ([("Require", "siprec"), ("Contact", "<sip:a@b>;+sip.src")], None, "both"),
        ([("Require", "siprec"), ("Contact", "<sip:a@b>")], None, "option-tag"),
        ([("Require", "100relsiprec")], None, "option-tag"),
        ([("Supported", "siprec")], None, "none"),
        ([("Contact", "<sip:a@b>;src")], None, "feature-tag"),
        ([("Contact", "<sip:a@b>")], b"<recording/>", "metadata"),
        ([("Contact", "<sip:a@b>")], None, "none"),
    ],
)
def test_the_marks_have_a_name_for_the_counter_r1_r2(fields, metadata, name):
    """Duty R6."""
    assert marks(Headers(fields), metadata) == name
