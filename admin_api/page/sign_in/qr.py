"""A QR code as SVG inside a page: no picture is asked for anywhere, so nobody else learns the secret."""

from __future__ import annotations

import segno
from markupsafe import Markup


def code(text: str) -> Markup:
    """Return a QR code that fills the place it is put into; dark on light also where the page is dark."""
    made = segno.make(text, error="m", micro=False)
    return Markup(made.svg_inline(border=4, dark="#000", light="#fff", omitsize=True))  # noqa: S704 - drawn, not written
