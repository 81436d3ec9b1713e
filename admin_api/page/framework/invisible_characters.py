"""Characters that nobody sees, in a form that everybody does: `⟨U+202E⟩`; pure.

A name comes from outside. One that turns the direction of writing shows itself and what stands beside it as something
else; one with characters of no width looks like another name (Unicode TR 36, TR 39).
"""

from __future__ import annotations

import re

_NEVER = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls but tab and ends of lines
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # soft hyphen, fillers, selectors
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction (UAX 9)
    "\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f\ufeff\ufff0-\ufffb"  # no width, ends of lines of other kinds
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # of notes, tags, further selectors
)
_JOINERS = "\u200c\u200d"  # between letters of Persian or Indic scripts, or emoji, they belong to the spelling
_HIDDEN = re.compile(f"[{_NEVER}]|(?<![^\x00-\x7f])[{_JOINERS}]|[{_JOINERS}](?![^\x00-\x7f])")


def visible(text: str) -> str:
    """Return a text with what cannot be seen named by its number."""
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)
