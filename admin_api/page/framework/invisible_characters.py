"""Replacement of invisible characters by their number: `⟨U+202E⟩`; pure.

Names come from outside. One that changes the writing direction disguises itself and the text beside it; one with
zero-width characters looks like another name (Unicode TR 36, TR 39).
"""

from __future__ import annotations

import re

_NEVER = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls except tab and line ends
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # soft hyphen, fillers, selectors
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction controls (UAX 9)
    "\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f\ufeff\ufff0-\ufffb"  # zero width, other line ends
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # of notes, tags, further selectors
)
_JOINERS = "\u200c\u200d"  # between letters of Persian or Indic scripts, or emoji, they belong to the spelling
_HIDDEN = re.compile(f"[{_NEVER}]|(?<![^\x00-\x7f])[{_JOINERS}]|[{_JOINERS}](?![^\x00-\x7f])")


def visible(text: str) -> str:
    """Return a text with each invisible character replaced by its number."""
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)
