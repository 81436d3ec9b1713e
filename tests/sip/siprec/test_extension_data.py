"""Extension data of a call: found by its path, once each, within limits."""

from personal import Personal
from sip.siprec.document import MAX_PATH, Extension
from sip.siprec.extension_data import MAX_PIECES, MAX_TEXT, shown, with_more
from tests.plain_values import plain
from tests.sip import metadata_documents as documents
from tests.sip.call_models import seen
from tests.sip.metadata_documents import rfc7865


def test_extension_data_is_kept_within_limits():
    picture = seen(documents.TWILIO)
    assert (
        "session[sess==]/{http://provider.example/siprec}ExtensionParameters/Parameter@value",
        "Karla K",
    ) in plain(picture.extensions)
    long = "".join(f"<y>{n:0200}</y>" for n in range(100))
    full = seen(rfc7865(extra=f"<x xmlns='urn:x'>{long}</x>"))
    assert sum(len(plain(value)) for _, value in full.extensions) <= MAX_TEXT


def test_empty_extension_data_give_no_pieces():
    assert shown(b"") == ()


def test_each_extension_is_kept_once_and_in_order():
    first, second = (
        Extension("recording", "", "{urn:x}a", Personal("1")),
        Extension("session", "s1", "{urn:x}a/b@c", Personal("2")),
    )
    packed = with_more(with_more(b"", [first, second]), [second, first])
    assert plain(shown(packed)) == (("recording/{urn:x}a", "1"), ("session[s1]/{urn:x}a/b@c", "2"))


def test_half_a_character_is_kept():
    half = Extension("recording", "", "{urn:x}a", Personal("1\ud83d"))
    packed = with_more(b"", [half])
    assert plain(shown(packed)) == (("recording/{urn:x}a", "1\ud83d"),)
    assert with_more(packed, [half]) is packed


def test_a_known_extension_is_not_packed_again():
    packed = with_more(b"", [Extension("recording", "", "{urn:x}a", Personal("1"))])
    assert with_more(packed, [Extension("recording", "", "{urn:x}a", Personal("1"))]) is packed


def test_a_full_extension_list_keeps_its_entries():
    packed = with_more(b"", [Extension("recording", "", "a", Personal("x" * (MAX_TEXT - 1)))])
    assert with_more(packed, [Extension("recording", "", "b", Personal("yy"))]) == packed
    many = with_more(b"", [Extension("recording", "", "a", Personal(str(n))) for n in range(2 * MAX_PIECES)])
    assert [plain(value) for _, value in shown(many)] == [str(n) for n in range(MAX_PIECES)]


def test_a_path_longer_than_any_vendors_is_not_kept():
    fits = Extension("recording", "", "{" + "u" * (MAX_PATH - 3) + "}a", Personal("1"))
    longer = Extension("recording", "", "{" + "u" * (MAX_PATH - 2) + "}a", Personal("1"))
    assert plain(shown(with_more(b"", [longer, fits]))) == ((f"recording/{fits.path}", "1"),)
