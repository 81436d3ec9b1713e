import pytest

from sip.siprec.xml_reader import MAX_ATTRIBUTES, MAX_DEPTH, MAX_DOCUMENT, MAX_TEXT, Damage, Node, Reading, read
from sip.siprec.xml_recovery import repair


def reading(raw: bytes) -> Reading:
    return read(raw, repair)


def names(node: Node | None) -> list[str]:
    return [] if node is None else [node.name, *(name for child in node.children for name in names(child))]


def test_a_well_formed_document_becomes_a_tree():
    found = reading(b'<?xml version="1.0"?><a:r xmlns:a="urn:x" n="1" a:m="2"><s>text</s><a:e/></a:r>--boundary--\0')
    assert found.damage is Damage.NONE
    assert found.root is not None
    assert (found.root.space, found.root.name, found.root.attributes) == ("urn:x", "r", {"n": "1", "m": "2"})
    assert [(child.space, child.name, child.text) for child in found.root.children] == [
        ("", "s", "text"),
        ("urn:x", "e", ""),
    ]


@pytest.mark.parametrize("before", [b"\r\n\r\n", b"\xef\xbb\xbf", b"\n\xef\xbb\xbf ", b"\0\0"])
def test_blanks_before_the_xml_declaration_do_no_harm(before):
    """Duty X16."""
    assert reading(before + b'<?xml version="1.0"?><r/>').damage is Damage.NONE


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>',
        b'<!DOCTYPE r SYSTEM "http://192.0.2.1/x.dtd"><r/>',
        b'<?xml version="1.0"?>\n<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>',
        b'junk <!doctype r [<!ENTITY x "y">]><r>&x;',
        '<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>'.encode("utf-16"),
    ],
)
def test_a_document_with_a_doctype_is_not_read_at_all(document):
    """Duty X15."""
    assert reading(document) == Reading(None, Damage.REFUSED)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<r>Jörg</r>".encode("utf-16"), "Jörg"),
        ("<r>Jörg & Co</r>".encode("utf-16"), "Jörg & Co"),  # damaged as well
        ("<r>Jörg & Co</r>".encode("utf-16-le"), "Jörg & Co"),
        ("<r>Jörg & Co</r>".encode("utf-16-be"), "Jörg & Co"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><r>Jörg</r>".encode("latin-1"), "Jörg"),
        ("<?xml version='1.0' encoding='windows-1252'?><r>Jörg €</r>".encode("cp1252"), "Jörg €"),
        ("<?xml version='1.0' encoding='UTF-8'?><r>Jörg</r>".encode("latin-1"), "Jörg"),
        (b"<?xml version='1.0' encoding='UTF-16'?><r>plain</r>", "plain"),
        (b"<?xml version='1.0' encoding='no-such'?><r>plain</r>", "plain"),
        (b'<?xml version="1.0" encoding="utf-7"?><r>+AGE-</r>', "+AGE-"),  # a codec that is not allowed
        (b"<r>a\x01b</r>", "ab"),
    ],
)
def test_other_encodings_are_read(raw, text):
    """Duty X16."""
    found = reading(raw)
    assert found.root is not None
    assert found.root.text == text


def test_xml_beyond_the_depth_limit_is_skipped():
    found = reading(b"<r>" + b"<x>" * 500 + b"deep" + b"</x>" * 500 + b"<after/></r>")
    assert found.damage is Damage.NONE
    assert found.root is not None
    assert found.root.children[-1].name == "after"
    assert len(names(found.root)) == MAX_DEPTH + 1


def test_the_text_of_levels_beyond_the_limit_is_nobodys():
    node = reading(b"<x>" * (MAX_DEPTH + 2) + b"deep" + b"</x>" * 2 + b"kept" + b"</x>" * MAX_DEPTH).root
    texts = []
    while node is not None:
        texts.append(node.text)
        node = node.children[0] if node.children else None
    assert texts == [""] * (MAX_DEPTH - 1) + ["kept"]


def test_too_many_elements_and_too_many_bytes_are_cut():
    many = reading(b"<r><first/>" + b"<a/>" * 60_000 + b"</r>")
    assert many.damage is Damage.CUT
    assert names(many.root)[1] == "first"
    long = reading(b"<r><first/><t>" + b"x" * MAX_DOCUMENT + b"</t></r>")
    assert long.damage is Damage.CUT
    assert names(long.root) == ["r", "first", "t"]


def test_attributes_and_texts_are_bounded():
    """Duty X15."""
    attributes = b" ".join(b'a%d="1"' % i for i in range(3_000))
    found = reading(b"<r %s><t>%s</t></r>" % (attributes, b"y" * 50_000)).root
    assert found is not None
    assert len(found.attributes) == MAX_ATTRIBUTES
    assert len(found.children[0].text) == MAX_TEXT
