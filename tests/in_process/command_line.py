"""A configuration with a customer in it, for the tests of commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from recorder.cli.main import run
from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.persist.customers import open_customer
from storage.audit.audit_files import AuditFiles
from storage.customer.customers import KEYS, Customer, customer_folder, open_keys
from storage.keys.root_secret import load_root

Answer = Callable[..., Any]
"""Runs a command with --json, checks its exit status and returns its document."""

Printed = Callable[..., tuple[str, str]]
"""Runs a command, checks its exit status and returns its standard output and standard error."""

CONFIG = """
[node]
data_dir = "{folder}/data"
runtime_dir = "{folder}/run"
trial = true
[keys]
root = "file:{folder}/{root}"
[sip]
listen = ["udp:127.0.0.1:5999"]
[media]
srtp = "off"
"""
CUSTOMER = """
[[customer]]
name = "{name}"
sources = ["192.0.2.0/24"]
domains = ["{name}.example"]
"""


class Place:
    """A data directory with customers and their keys, and the command line for it."""

    def __init__(self, folder: Path, customers: tuple[str, ...] = ("acme",)) -> None:
        self.folder, self.data, self.keys = folder, folder / "data", folder / "data" / KEYS
        self.customers = customers
        self.config = folder / "recorder.toml"
        for name in ("data", "run"):
            (folder / name).mkdir()
        (folder / "root.key").write_bytes(bytes(range(32)))
        (folder / "root.key").chmod(0o600)
        self.configure()
        for name in customers:
            open_keys(self.data, name, self.root(), create=True)

    def configure(self, root: str = "root.key", more: str = "") -> None:
        """Write the configuration with the file of the root secret and more sections."""
        text = CONFIG.format(folder=self.folder, root=root) + more
        self.config.write_text(text + "".join(CUSTOMER.format(name=name) for name in self.customers))

    def settings(self) -> Settings:
        return load(self.config)

    def settings_unchecked(self) -> Settings:
        """Load the configuration even if files that it names are missing."""
        return load(self.config, files=False)

    def root(self, name: str = "root.key") -> Any:
        return load_root(f"file:{self.folder / name}")

    def open(self, customer: str = "acme", root: str = "root.key") -> Any:
        return open_keys(self.data, customer, self.root(root))

    def run(self, *words: str) -> int:
        return run([*words, "--config", str(self.config)])

    def do(self, work: Callable[[Customer], Awaitable[Any]], number: int = 0) -> Any:
        """Open a customer, by default the first, as a daemon does, and run a function with it."""

        async def opened() -> Any:
            acme = await open_customer(self.settings(), self.settings().customers[number])
            try:
                return await work(acme)
            finally:
                await acme.close()

        return asyncio.run(opened())

    def acts(self, customer: str = "acme") -> list[dict[str, Any]]:
        """Return the entries of the audit log, oldest first."""
        files = AuditFiles(customer_folder(self.data, customer), self.keys, customer)
        return list(reversed(files.read(None, None, 1000).items))
