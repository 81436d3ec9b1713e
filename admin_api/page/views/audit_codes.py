"""Codes of the audit log whose words are in the catalogues."""

from __future__ import annotations

from admin_api.http.permissions import Action

OTHERS = (
    "export.done export.fail retention.sweep retention.brake erasure.cut erasure.wait erasure.done users.import "
    "audit.repair audit.broken audit.accept data.backup data.restore customer.add customer.title customer.close "
    "customer.remove keys.rotate keys.backup keys.restore session.open session.close account.create account.reset "
    "account.roles account.disable account.enable account.remove account.password account.app account.passkey "
    "account.recovery account.drop token.create token.revoke audit.node journal.accept"
).split()
"""Actions that are none of the API: of the recorder itself, of signing in and of commands."""


def _subject(action: str) -> str:
    return action.partition(".")[0].removesuffix("s")


_SUBJECTS = list(dict.fromkeys(map(_subject, (*Action, *OTHERS))))
ACTIONS = sorted((*Action, *OTHERS), key=lambda action: (action == Action.UNKNOWN, _SUBJECTS.index(_subject(action))))
"""All actions, those about one thing together."""

LABELS = ("media", "erasure", "node", "the request is", "provider:")
"""Words in a detail that a value follows."""
