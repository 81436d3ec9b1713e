"""What codes become in words has German too: texts that no template spells out."""

from __future__ import annotations

from itertools import chain

from admin_api.exports.columns import COLUMNS
from admin_api.page.framework.translations import catalogue
from admin_api.page.views import call_actions, call_summary, calls, export_new, exports, timeline_svg, users
from storage.attachments.attachments import KINDS

TEXTS = chain(
    call_summary.ROLES.values(),
    (word for _, word in call_summary.STATES.values()),
    (f"sound {word}" for *_, word in call_summary.GRADES),
    ("paused", "{seconds} s missing", "video", "legal hold", "audio", "text", "application", "inbound", "outbound"),
    ("in the call", "recorded", "paused or on hold", *timeline_svg.REASONS.values(), *KINDS),
    (mark.text for mark in (*exports.STATES.values(), *users.STATES.values())),
    (*users.SOURCES.values(), *users.KINDS.values()),
    (words for _, words in export_new.GROUPS),
    (column.means for column in COLUMNS.values()),
    *(said.values() for said in (call_actions.NOT_TYPED, calls.NO_DAY, export_new.NOTHING, export_new.NO_NAME)),
)


def test_every_code_has_a_german_text():
    assert [text for text in TEXTS if text not in catalogue("de")] == []
