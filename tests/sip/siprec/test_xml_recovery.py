import pytest

from sip.siprec.xml_reader import Damage, Node
from sip.siprec.xml_recovery import MAX_TYPOS, repair


def outline(node: Node | None) -> object:
    if node is None:
        return None
    return (node.name, node.text.strip(), [outline(child) for child in node.children])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<r><u><sip:record=x@h;a=b></u></r>", ("r", "", [("u", "<sip:record=x@h;a=b>", [])])),
        ("<r><u>Al <sip:al> end</u></r>", ("r", "", [("u", "Al <sip:al> end", [])])),
        ("<r><n>Cut & Dry &amp; &#65;</n></r>", ("r", "", [("n", "Cut & Dry & A", [])])),
        ("<r><n>1 < 2</n></r>", ("r", "", [("n", "1 < 2", [])])),
        ("<r><naame>Al</name></r>", ("r", "", [("name", "Al", [])])),
        ("<r><name>Al</nmae><x/></r>", ("r", "", [("name", "Al", []), ("x", "", [])])),
        ("<r><name>Al</br></name><x/></r>", ("r", "", [("name", "Al", []), ("x", "", [])])),
        ("<r><a><b>open</a><c/></r>", ("r", "", [("a", "", [("b", "open", [])]), ("c", "", [])])),
        ("<r><a>half a te", ("r", "", [("a", "", [])])),
        ("<r><a>cut</a><b at", ("r", "", [("a", "cut", [])])),
        ("<r><!-- <no> --><![CDATA[<raw&amp;>]]><?pi <x> ?></r>", ("r", "<raw&amp;>", [])),
        ("<r><n>a <!b</n></r>", ("r", "", [("n", "a <!b", [])])),
        ("nothing", None),
        ("", None),
    ],
)
def test_tags_and_text_are_distinguished(text, expected):
    """Duty X14."""
    assert outline(repair(text)[0]) == expected


def test_attributes_without_quotes_are_read():
    root, _ = repair("""<r a=one b='two'c="t&amp;h" d=/x/ a="again" e=></r>""")
    assert root is None or "e" not in root.attributes
    root, _ = repair("""<r a=one b='two'c="t&amp;h" d=/x/ a="again"/>""")
    assert root is not None
    assert root.attributes == {"a": "one", "b": "two", "c": "t&h", "d": "/x/"}


def test_an_address_in_brackets_may_stand_in_an_attribute():
    root, damage = repair("""<r a="Al <sip:al@x>" b='<tel:1>'><n/></r>""")
    assert root is not None and damage is Damage.UNESCAPED
    assert root.attributes == {"a": "Al <sip:al@x>", "b": "<tel:1>"}
    root, damage = repair("""<r><n a="sip:al@x><o>Al</o><p b="c"/></r>""")
    assert outline(root) == ("r", '<n a="sip:al@x>', [("o", "Al", []), ("p", "", [])])
    assert damage is Damage.REPAIRED


def test_prefixes_are_resolved_where_they_are_declared():
    root, _ = repair('<r xmlns="urn:d" xmlns:p="urn:p"><p:a/><q:b/><c xmlns="urn:c"/><d/></r>')
    assert root is not None
    assert [(node.space, node.name) for node in root.children] == [
        ("urn:p", "a"),
        ("q", "b"),
        ("urn:c", "c"),
        ("urn:d", "d"),
    ]


def test_a_declared_prefix_like_a_scheme_is_a_prefix():
    root, _ = repair('<r xmlns:sip="urn:s"><sip:a>x</sip:a></r>')
    assert root is not None
    assert (root.children[0].space, root.children[0].name) == ("urn:s", "a")


def test_a_prefix_like_a_scheme_counts_where_it_is_declared():
    root, _ = repair("<sip:r xmlns:sip='urn:s'><sip:a>Cut & Dry</sip:a></sip:r>")
    assert root is not None
    assert [(each.space, each.name) for each in (root, *root.children)] == [("urn:s", "r"), ("urn:s", "a")]


def test_only_so_many_typos_are_set_right():
    wrong = "<name>a</naem>" * (MAX_TYPOS + 2)
    root, _ = repair(f"<r>{wrong}</r>")
    assert root is not None
    assert len(root.children) < MAX_TYPOS + 2


def test_a_missing_end_is_detected_r21():
    whole = "<r><a x=1>t</a></r>"
    assert repair(whole)[1] is not Damage.CUT
    assert repair("<r><a>t</a></rr>")[1] is not Damage.CUT
    assert {repair(whole[:length])[1] for length in range(len(whole))} == {Damage.CUT}


@pytest.mark.parametrize(
    ("text", "damage"),
    [
        ("<r><n>Cut & Dry</n><a x=1/><u>1 < 2 <sip:al@h;x> <sip:4711@h></u></r>", Damage.UNESCAPED),
        ("<r><a><b>open</a></r>", Damage.REPAIRED),
        ("<r><a>t</aa></r>", Damage.REPAIRED),
        ("<r><a x='1/><b/></r>", Damage.REPAIRED),
        ("<r><a x='1'>t</r>", Damage.REPAIRED),
        ("<r>t</a></r>", Damage.REPAIRED),
        ("<r><a/></r><r><b/></r>", Damage.REPAIRED),
        ("<r>t</r> 1 < 2", Damage.UNESCAPED),
        ("<r><sip:a x='1'><b/></sip:a></r>", Damage.REPAIRED),
        ("<r><sip:a></sip:a></r>", Damage.REPAIRED),
        ("<r><a:1 x='1'></a:1></r>", Damage.REPAIRED),
        ("<r>Cut & Dry<sip:a xmlns:sip='urn:s'/></r>", Damage.UNESCAPED),
    ],
)
def test_a_possibly_missing_element_is_detected(text, damage):
    assert repair(text)[1] is damage
