from __future__ import annotations

import gc
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip.siprec.xml_reader import MAX_ATTRIBUTES, MAX_DEPTH, MAX_DOCUMENT, MAX_TEXT, Damage, Node, Reading, decode, read
from sip.siprec.xml_recovery import repair
from tests.sip.cpu_cost import cost
from tests.sip.metadata_documents import FAMILIES


def reading(raw: bytes) -> Reading:
    return read(raw, repair)


def names(node: Node | None) -> list[str]:
    return [] if node is None else [node.name, *(name for child in node.children for name in names(child))]


def test_a_well_formed_document_becomes_a_tree():
    found = reading(b'<?xml version="1.0"?><a:r xmlns:a="urn:x" n="1"><s>text</s><a:e/></a:r>')
    assert found.damage is Damage.NONE
    assert found.root is not None
    assert (found.root.space, found.root.name, found.root.attributes) == ("urn:x", "r", {"n": "1"})
    assert [(child.space, child.name, child.text) for child in found.root.children] == [
        ("", "s", "text"),
        ("urn:x", "e", ""),
    ]


@pytest.mark.parametrize("before", [b"\r\n\r\n", b"\xef\xbb\xbf", b"\n\xef\xbb\xbf ", b"\0\0"])
def test_blanks_before_the_xml_declaration_do_no_harm(before):
    """Duty X16."""
    assert reading(before + b'<?xml version="1.0"?><r/>').damage is Damage.NONE


def test_data_after_the_root_element_is_ignored():
    found = reading(b"<r><a/></r>--boundary--\0")
    assert (names(found.root), found.damage) == (["r", "a"], Damage.NONE)


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


def test_entity_bombs_cost_nothing():
    bomb = b'<!DOCTYPE r [<!ENTITY a0 "ha">' + b"".join(
        b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 12)
    )
    document = bomb + b"]><r>&a11;</r>"
    assert reading(document).damage is Damage.REFUSED
    assert cost(lambda: reading(document), 0.05) < 0.05


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<r>Jörg</r>".encode("utf-16"), "Jörg"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><r>Jörg</r>".encode("latin-1"), "Jörg"),
        ("<?xml version='1.0' encoding='windows-1252'?><r>Jörg €</r>".encode("cp1252"), "Jörg €"),
        ("<?xml version='1.0' encoding='UTF-8'?><r>Jörg</r>".encode("latin-1"), "Jörg"),
        (b"<?xml version='1.0' encoding='UTF-16'?><r>plain</r>", "plain"),
        (b"<?xml version='1.0' encoding='no-such'?><r>plain</r>", "plain"),
        (b"<r>a\x01b</r>", "ab"),
    ],
)
def test_other_encodings_are_read(raw, text):
    """Duty X16."""
    found = reading(raw)
    assert found.root is not None
    assert found.root.text == text


def test_a_declared_encoding_cannot_choose_a_dangerous_codec():
    assert decode(b'<?xml version="1.0" encoding="utf-7"?><r>+AGE-</r>').endswith("<r>+AGE-</r>")


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


def test_names_of_attributes_come_without_their_namespaces():
    found = reading(b"<r xmlns:a='urn:x' n='1' a:m='2'/>").root
    assert found is not None
    assert found.attributes == {"n": "1", "m": "2"}


@pytest.mark.parametrize("document", [b"<r><a>text</a></r>", b"<r><a>", b"<!DOCTYPE r><r/>", b"<a/>" * 9_000])
def test_nothing_of_a_document_waits_for_the_garbage_collector(document):
    reading(document)
    gc.collect()
    gc.disable()
    try:
        reading(document)
        assert gc.collect() == 0
    finally:
        gc.enable()


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


@pytest.mark.parametrize("family", FAMILIES)
def test_every_truncation_is_read_without_exception(family):
    document = FAMILIES[family]
    for length in range(len(document)):
        reading(document[:length])


HOSTILE = {
    "deep": b"<a>" * 21_845,
    "deep and closed": b"<a>" * 9_362 + b"</a>" * 9_362,
    "wide": b"<a/>" * 16_384,
    "wide in a root": b"<r>" + b"<a/>" * 16_000,
    "attributes": b"<r " + b" ".join(b'a%d="1"' % i for i in range(6_500)) + b"/>",
    "one attribute": b'<r a="' + b"x" * 65_000 + b'"/>',
    "open quote": b'<r a="' * 10_000,
    "blanks": b"<r" + b" " * 65_000,
    "blanks and signs": b"<r " * 21_000,
    "names": b"<" + b"n" * 65_000,
    "comments": b"<r>" + b"<!--" * 16_000,
    "sections": b"<r>" + b"<![CDATA[" * 7_000,
    "instructions": b"<r>" + b"<?" * 32_000,
    "end tags": b"<r><b>" + b"</c>" * 16_000,
    "similar end tags": b"<participant><participand>" * 15 + b"</participont>" * 4_500,
    "ampersands": b"<r>" + b"&" * 65_000,
    "references": b"<r>" + b"&#x41;" * 10_900,
    "prefixes": b"<r>" + b"".join(b'<a xmlns:p%d="u"><p%d:b/></a>' % (i, i) for i in range(2_000)),
    "namespaces inside": b"<r>" + b"".join(b'<a xmlns:p%d="u">' % i for i in range(3_300)),
    "bad bytes": b"<r>" + b"\xff\xfe\x80" * 21_000,
    "equals": b"<r a=" + b"=" * 65_000,
    "slashes": b"<r a=" + b"/" * 65_000,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_64_kib_of_malice_cost_neither_time_nor_memory(case):
    document = HOSTILE[case][:65_536]
    # In time of this process, and once is enough: on a busy machine the same work takes three times as long.
    spent = [1.0]
    while min(spent) >= 0.05 and len(spent) < 12:
        started = time.process_time()
        reading(document)
        spent.append(time.process_time() - started)
    assert min(spent) < 0.05
    tracemalloc.start()
    reading(document)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400) | st.text("<>/&;!-[]?='\"abc: \n", max_size=200).map(str.encode))
def test_any_bytes_give_a_reading(raw):
    found = reading(raw)
    assert found.root is not None or found.damage in (Damage.REFUSED, Damage.UNREADABLE)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FAMILIES)), st.data())
def test_flipped_bits_give_a_reading(family, data):
    document = bytearray(FAMILIES[family])
    for _ in range(data.draw(st.integers(1, 6))):
        document[data.draw(st.integers(0, len(document) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert isinstance(reading(bytes(document)), Reading)
