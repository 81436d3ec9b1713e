"""The emulator of systemd's descriptor store does what the journeys take it for."""

from __future__ import annotations

import socket
from pathlib import Path

from recorder.runtime.sd_notify import Notifier
from tests.daemon.descriptor_store import DescriptorStore, descriptor_store

STARTS = 10


def handed(store: DescriptorStore, folder: Path) -> str:
    """Start a service and return the names of what it was handed."""
    told = folder / "told"
    with told.open("wb") as log:
        store.start(["/bin/sh", "-c", "echo $LISTEN_FDNAMES"], log).wait()
    return told.read_text().strip()


def test_a_services_last_messages_are_read_before_a_restart(tmp_path: Path) -> None:
    """Else a socket that was stored right before a kill is handed to nobody, and nobody can bind its port."""
    with descriptor_store(tmp_path) as store:
        notifier = Notifier(str(tmp_path / "notify"))
        for number in range(STARTS):
            with socket.socket() as fresh:
                assert notifier.store(f"m{number}", [fresh.fileno()])
            assert handed(store, tmp_path).split(":")[-1] == f"m{number}"
        notifier.close()


def test_a_name_is_dropped_whole_and_a_socket_is_kept_once(tmp_path: Path) -> None:
    with descriptor_store(tmp_path) as store, socket.socket() as one, socket.socket() as other:
        notifier = Notifier(str(tmp_path / "notify"))
        notifier.store("m1", [one.fileno(), other.fileno()])
        notifier.store("m2", [one.fileno()])
        assert handed(store, tmp_path) == "m1:m1"
        notifier.remove("m1")
        assert handed(store, tmp_path) == ""
        notifier.close()
