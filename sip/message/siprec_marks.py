"""Recognise a recording session by any of its three marks (RFC 7866 sections 6.1 and 6.2)."""

from __future__ import annotations

import re

from sip.message.headers import Headers

# Option tags we know; siprec, timer and the others by RFC 7866, 4028, 3262, 3891. 100rel costs nothing: no 18x is sent.
KNOWN_TAGS = frozenset({"siprec", "timer", "100rel", "replaces"})
# A published trace of a large gateway glues two tags together.
GLUED_TAGS = frozenset({"100relsiprec", "siprec100rel"})
_SERVED_TAGS = KNOWN_TAGS | GLUED_TAGS
_RECORDING_TAGS = GLUED_TAGS | {"siprec"}
# Feature tag of RFC 7866, its old form, and two misspelt ones; in or behind the angle brackets.
FEATURE = re.compile(r";\s*(?:\+sip\.src|\+sip-src|\+sip-rec|src)\s*(?=[;,>=]|$)", re.IGNORECASE)


def unknown_tags(headers: Headers) -> tuple[str, ...]:
    """Give the tokens of Require that 420 has to list, as sent (RFC 3261 section 8.2.2.3)."""
    return tuple([tag for tag in headers.values("Require") if tag.lower() not in _SERVED_TAGS])


def has_option_tag(headers: Headers) -> bool:
    """Tell whether Require asks for recording."""
    return not _RECORDING_TAGS.isdisjoint(headers.tokens("Require"))


def has_feature_tag(headers: Headers) -> bool:
    """Tell whether the Contact says that a recording client calls."""
    return any(FEATURE.search(value) for value in headers.all("Contact"))


def marks(headers: Headers, metadata: bytes | None) -> str:
    """Name the marks an INVITE carries, for a counter: `both` is the letter of RFC 7866, `none` a plain call."""
    option, feature = has_option_tag(headers), has_feature_tag(headers)
    if option and feature:
        return "both"
    if option or feature:
        return "option-tag" if option else "feature-tag"
    return "metadata" if metadata is not None else "none"


def is_recording(headers: Headers, metadata: bytes | None, *, strict: bool) -> bool:
    """Tell whether an INVITE begins a recording session: any mark, or in strict mode both of RFC 7866."""
    if strict:
        return has_option_tag(headers) and has_feature_tag(headers)
    return has_option_tag(headers) or has_feature_tag(headers) or metadata is not None
