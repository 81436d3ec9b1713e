"""`recorder init`: make everything that a first start needs; never change anything that exists."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from recorder.config import template, value_readers
from recorder.config.installation import SYSTEM_FOLDER, program
from recorder.config.loader import check_made, load
from recorder.config.model import Settings
from recorder.errors import WrongUse
from recorder.maintenance import bootstrap
from recorder.maintenance.cli_audit import note
from recorder.persist.customers import check_keys, create_customer, customer_exists, open_credentials
from recorder.runtime.folders import memory_folder
from storage.errors import KeysWrong
from storage.keys.root_secret import load_root, make_token_root

FIRST_TOKEN = "first-admin"


@dataclass(slots=True)
class Made:
    """What was made and what existed already."""

    config: Path
    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    token: str | None = field(default=None, repr=False)
    customer: str | None = None

    def note(self, what: str, fresh: bool) -> None:
        """Note one thing as made (`fresh`) or kept."""
        (self.made if fresh else self.kept).append(what)

    def as_dict(self) -> dict[str, object]:
        """Return the result for --json."""
        return {
            "config": str(self.config),
            "made": self.made,
            "kept": self.kept,
            "token": self.token,
            "customer": self.customer,
        }

    def sentences(self) -> list[str]:
        """Return the result for a person, the next step last."""
        out = [f"made  {what}" for what in self.made] + [f"kept  {what}" for what in self.kept]
        if self.token:
            out += ["", f"Token of the first administrator of {self.customer}, shown once:", self.token]
        if self.customer:
            words = f"{program()} admin create NAME --customer {self.customer} --role admin --config {self.config}"
            out += ["", f"To sign in to the admin page: {words}"]
        sources = f"Next: check that sources in {self.config} are the addresses of your SBC"
        return [*out, "", f"{sources}, then: {program()} serve --config {self.config}"]


def initialise(config: Path, first: str | None = None) -> Made:
    """Make the configuration, certificates, root secret, customers' keys and the first token if they are missing.

    `first` is the name of the customer in a configuration that is written now.

    Raises WrongUse if one of them exists but is unusable, and is not replaced, or if a configuration that exists has no
    such customer.
    """
    config = config.absolute()
    made = Made(config)
    made.note(str(config), write_config(config, first))
    settings = load(config, files=False)
    if first is not None and settings.customer(first) is None:
        hint = f"Add it: {program()} customer add {first} --source ADDRESS --config {config}"
        raise WrongUse(f"{config} exists and has no customer {first}.", hint)
    _certificates(settings, made)
    check_made(settings)
    _root(settings, made)
    settings.node.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for customer in settings.customers:
        fresh = not customer_exists(settings, customer)
        if fresh:
            create_customer(settings, customer)
        made.note(f"keys of customer {customer.name}", fresh)
    _first_token(settings, made)
    return made


def write_config(config: Path, customer: str | None = None) -> bool:
    """Write the commented example as configuration; outside /etc everything is beside it, except runtime_dir.

    `customer` takes the place of the example's name. Raises WrongUse if it is not a valid name.
    """
    if config.exists():
        return False
    name: dict[str, object] = {} if customer is None else {"customer.name": _customer_name(customer)}
    folder = config.parent
    if SYSTEM_FOLDER in config.parents and os.geteuid() == 0:
        changes: dict[str, object] = {"keys.root": f"file:{folder / 'root.key'}"}
    else:
        memory = memory_folder(config, os.geteuid())
        runtime: dict[str, object] = {"node.runtime_dir": memory} if memory else {}
        changes = trial_places(folder) | runtime | {"node.trial": memory is None}
    return bootstrap.write_new(config, template.render(changes | name).encode())


def _customer_name(text: str) -> str:
    try:
        return value_readers.name(text)
    except value_readers.Wrong as problem:
        raise WrongUse(f"{text!r} cannot be the name of a customer.", f"It has {problem}.") from None


def trial_places(folder: Path) -> dict[str, object]:
    """Return settings that keep everything in one folder: for trials, not for a server."""
    return {
        "node.trial": True,
        "node.data_dir": folder / "data",
        "node.runtime_dir": folder / "run",
        "sip.certificate": folder / "tls.crt",
        "sip.private_key": folder / "tls.key",
        "admin_api.certificate": folder / "admin.crt",
        "admin_api.private_key": folder / "admin.key",
        "keys.root": f"file:{folder / 'root.key'}",
    }


def _certificates(settings: Settings, made: Made) -> None:
    hosts = [socket.gethostname(), "localhost", "127.0.0.1"]
    for name, certificate, key in (
        ("SIP", settings.sip.certificate, settings.sip.private_key),
        ("admin API", settings.admin_api.certificate, settings.admin_api.private_key),
    ):
        if certificate and key:
            made.note(
                f"certificate of the {name}, {certificate} (self-signed)", bootstrap.pair(certificate, key, hosts)
            )


def _root(settings: Settings, made: Made) -> None:
    """Make the root secret, but never a second one if keys depend on the first; raises KeysError, WrongUse."""
    scheme, _, rest = settings.keys.root.partition(":")
    if scheme not in ("file", "pkcs11"):
        return
    known = [customer for customer in settings.customers if customer_exists(settings, customer)]
    fresh = not known
    if not fresh:
        load_root(settings.keys.root)  # a new one would open nothing, and would take the place of the right one
    try:
        for customer in known:
            check_keys(settings, customer)
    except KeysWrong as problem:
        raise WrongUse(f"{settings.keys.root}: {problem}.", f"{problem.hint[:1].upper()}{problem.hint[1:]}.") from None
    if scheme == "file":
        made.note(rest, fresh and bootstrap.root_key(Path(rest)))
    else:
        made.note("key of the root secret in its token", fresh and make_token_root(settings.keys.root))


def _first_token(settings: Settings, made: Made) -> None:
    if not settings.customers:
        return
    first = settings.customers[0].name
    credentials = open_credentials(settings, first, alone=True)
    if credentials.list():
        return
    now = datetime.now(UTC)
    token, kept = credentials.create(FIRST_TOKEN, ["admin"], now)
    note(settings, first, "token.create", kept.id, reason="admin")
    made.token, made.customer = token, first
    made.note(f"token {FIRST_TOKEN} of customer {first}", True)
