"""A QR code is drawn inside the page, without anything that the content security policy forbids."""

from admin_api.page.sign_in import qr


def test_hostile_text_stays_a_picture() -> None:
    assert "<script" not in str(qr.code('"><script>alert(1)</script>'))
