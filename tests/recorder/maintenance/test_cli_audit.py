"""Acts from a shell stand in the audit log with the user's name and nothing of a party, also beside a daemon."""

from __future__ import annotations

import os
import pwd
import threading
from datetime import UTC, datetime
from pathlib import Path

from recorder.maintenance.cli_audit import actor, note, shown
from storage.audit.audit_log import Audit
from storage.audit.hash_chain import Act
from storage.customer.customers import audit_key, customer_folder
from tests.in_process.command_line import Place


def test_the_actor_is_the_user_of_the_operating_system() -> None:
    assert actor().name == f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    assert shown("01234567-89ab-4cde-8f01-23456789abcd")
    assert shown("+49 30 901820101") == "", "only an id is repeated"


def test_entries_of_concurrent_writers_form_one_chain(tmp_path: Path) -> None:
    place = Place(tmp_path)
    settings, folder = place.settings(), customer_folder(place.data, "acme")
    daemon = Audit(folder, place.keys, "acme", audit_key(place.open()), lambda: datetime.now(UTC))
    try:
        shells = [
            threading.Thread(target=lambda: [note(settings, "acme", "token.create", "7") for _ in range(5)])
            for _ in range(3)
        ]
        for shell in shells:
            shell.start()
        for _ in range(20):
            daemon.append(Act("anna", "listener", "call.view")).result()
        for shell in shells:
            shell.join()
        verdict = daemon.verify()
    finally:
        daemon.close()
    assert (verdict.good, verdict.entries) == (True, 35)
