"""Recognise a recording session by any of its three marks (RFC 7866 sections 6.1 and 6.2)."""

from __future__ import annotations

import re

from sip.message.headers import Headers

# Option tags that we accept in Require (RFC 7866, 4028, 3262, 3891). 100rel costs nothing, since we send no 18x.
KNOWN_TAGS = frozenset({"siprec", "timer", "100rel", "replaces"})
# In a published trace of a large gateway, two tags are joined without a comma.
GLUED_TAGS = frozenset({"100relsiprec", "siprec100rel"})
_SERVED_TAGS = KNOWN_TAGS | GLUED_TAGS
_RECORDING_TAGS = GLUED_TAGS | {"siprec"}
# Feature tag of RFC 7866, its old form, and two misspellings; inside or after the angle brackets.
FEATURE = re.compile(r";\s*(?:\+sip\.src|\+sip-src|\+sip-rec|src)\s*(?=[;,>=]|$)", re.IGNORECASE)


def unknown_tags(headers: Headers) -> tuple[str, ...]:
    """Return the tokens of Require that a 420 must list, as sent (RFC 3261 section 8.2.2.3)."""
    return tuple([tag for tag in headers.values("Require") if tag.lower() not in _SERVED_TAGS])


def has_option_tag(headers: Headers) -> bool:
    """Return whether Require asks for recording."""
    return not _RECORDING_TAGS.isdisjoint(headers.tokens("Require"))


def has_feature_tag(headers: Headers) -> bool:
    """Return whether the Contact says that the caller is a recording client."""
    return any(FEATURE.search(value) for value in headers.all("Contact"))


def marks(headers: Headers, metadata: bytes | None) -> str:
    """Return which marks an INVITE carries, for a metric: `both` conforms to RFC 7866, `none` is an ordinary call."""
    option, feature = headers.once(has_option_tag), headers.once(has_feature_tag)
    if option and feature:
        return "both"
    if option or feature:
        return "option-tag" if option else "feature-tag"
    return "metadata" if metadata is not None else "none"


def is_recording(headers: Headers, metadata: bytes | None, *, strict: bool) -> bool:
    """Return whether an INVITE starts a recording session: by any mark, or with `strict` by both of RFC 7866."""
    if strict:
        return headers.once(has_option_tag) and headers.once(has_feature_tag)
    return headers.once(has_option_tag) or headers.once(has_feature_tag) or metadata is not None
