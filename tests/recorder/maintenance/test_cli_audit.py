"""Acts from a shell stand in the audit log with the user's name and nothing of a party, also beside a daemon."""

from __future__ import annotations

import os
import pwd

from recorder.maintenance.cli_audit import actor, shown


def test_the_actor_is_the_user_of_the_operating_system() -> None:
    assert actor().name == f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    assert shown("01234567-89ab-4cde-8f01-23456789abcd")
    assert shown("+49 30 901820101") == "", "only an id is repeated"
