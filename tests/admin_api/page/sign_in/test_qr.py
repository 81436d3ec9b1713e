"""A QR code is drawn inside the page, without anything that the content security policy forbids."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from admin_api.page.sign_in import qr

LINK = "otpauth://totp/Recorder:anna?secret=JBSWY3DPEHPK3PXP&issuer=Recorder"


def test_it_is_an_svg_without_styles_and_links() -> None:
    drawn = str(qr.code(LINK))
    root = ElementTree.fromstring(drawn)  # noqa: S314 - our own
    assert root.tag.endswith("svg")
    assert root.get("viewBox")
    assert "style" not in drawn
    assert not re.search(r"href|url\(|<script", drawn)
    assert "JBSWY3DP" not in drawn


def test_hostile_text_stays_a_picture() -> None:
    assert "<script" not in str(qr.code('"><script>alert(1)</script>'))
