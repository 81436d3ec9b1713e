"""What an archive for support shows of configuration, log, metrics, incidents and checks: lists, not patterns."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recorder.config import parser, template
from recorder.config.model import SECTIONS, TABLES, Settings
from recorder.diagnosis import shareable
from storage.audit.incidents import Incident
from tests.journeys.privacy.canaries import Canaries

FULL = """
# {name: comment}
[node]
name = "rec1"
data_dir = "/srv/{word: data folder}"
runtime_dir = "/run/recorder"
[sip]
listen = ["udp:192.0.2.10:5060", "tls:[2001:db8::1]:5061"]
advertise = "192.0.2.11"
certificate = "/etc/recorder/{word: certificate file}.crt"
private_key = "/home/{word: home}/tls.key"
client_ca = "/etc/recorder/sbc-ca.crt"
[admin_api]
address = "https://{word: page}.example:8443"
certificate = "/etc/recorder/admin.crt"
private_key = "/etc/recorder/admin.key"
[keys]
root = "pkcs11:token={word: token};object=x?module-path=/l.so&pin-source=file:/{word: pin}"
[audit]
witnesses = ["file:/mnt/{word: witness}", "syslog:192.0.2.9:514"]
[storage]
database = "postgresql+asyncpg://{word: database user}@{word: database host}.example/recorder_{customer}"
[[customer]]
name = "acme"
sources = ["192.0.2.5/32"]
certificates = ["{word: sbc name}.example"]
domains = ["{word: domain}.example"]
digest = "/etc/recorder/{word: users file}"
[[directory]]
customer = "acme"
tenant = "{word: tenant}.example"
client = "66666666-7777-8888-9999-000000000000"
secret = "file:/etc/recorder/{word: directory secret}"
[[sign_in]]
customer = "acme"
title = "{name: title}"
issuer = "https://{word: issuer}.example/x"
client_id = "{word: client id}"
client_secret = "credential:{word: sign-in secret}"
name_claim = "{word: claim}"
roles = { "{word: group}" = ["admin"] }
"""


def test_no_free_text_of_a_configuration_is_shown() -> None:
    plants = Canaries()
    text = plants.plant(FULL.replace("{customer}", "CUSTOMER")).replace("CUSTOMER", "{customer}")
    settings, faults = parser.examine(text.encode())
    assert len(plants.places) >= 20
    assert faults == ()
    said = json.dumps(shareable.configuration(settings), ensure_ascii=False)
    assert plants.found(said.encode()) == []
    assert "66666666-7777" not in said
    for shown in ("rec1", "acme", "udp:192.0.2.10:5060", "192.0.2.5/32", "/etc/recorder/sbc-ca.crt", "/run/recorder"):
        assert shown in said, shown


def test_defaults_are_shown_without_the_names_of_credentials() -> None:
    settings, _ = parser.examine(template.render({}).encode())
    said = shareable.configuration(settings)
    assert said["sip"]["max_calls"] == 2000 and said["log"]["level"] == "info"
    assert said["keys"]["root"] == "credential:***" and said["storage"]["database"] == "sqlite"
    assert said["node"]["data_dir"] == "/var/lib/recorder"


def filled(kind: type[Any], value: object) -> Any:
    """Make a section all of whose settings have a value."""
    made = object.__new__(kind)
    for each in dataclasses.fields(kind):
        object.__setattr__(made, each.name, value)
    return made


def test_every_text_of_the_model_is_masked_unless_it_is_listed() -> None:
    """A setting that is added later is masked until somebody lists it."""
    sections = {**SECTIONS, **TABLES}
    listed = shareable.SHOWN_TEXTS | shareable.SCHEMES | shareable.ADDRESSES
    assert {key.split(".")[0] for key in listed} <= sections.keys()
    for key in listed:
        section, _, name = key.partition(".")
        assert name in {each.name for each in dataclasses.fields(sections[section])}, key
    for secret, masked in (("Anna Canary", "***"), (Path("/home/anna/x"), "***"), (("Anna Canary",), ["***"])):
        full = {name: filled(kind, secret) for name, kind in SECTIONS.items()}
        many: Any = {name: [filled(kind, secret)] for name, kind in TABLES.items()}
        told = shareable.configuration(SimpleNamespace(**full, **many))  # type: ignore[arg-type]  # each kind of section
        shown = {**told, **{name: told[name][0] for name in TABLES}}
        assert {f"{name}.{key}" for name in shown for key, value in shown[name].items() if value != masked} <= listed


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('{"event": "a.b", "customer": "acme", "peer": "192.0.2.5"}',
         {"event": "a.b", "customer": "acme", "peer": "192.0.2.5"}),
        ('<6>{"event": "recorder.ready", "calls": 3}', {"event": "recorder.ready", "calls": 3}),
        ('{"event": "x.y", "hint": "/home/anna/tls.key: Permission denied"}', {"event": "x.y"}),
        ('{"event": "x.y", "name": "Anna Canary"}', {"event": "x.y", "masked_fields": 1}),
        ('{"event": "Anna Canary"}', {"event": "***"}),
        ("Anna Canary", {"event": "another.line", "bytes": 11}),
        ('{"name": "Anna Canary"}', {"event": "another.line", "bytes": 23}),
        ('["Anna Canary"]', {"event": "another.line", "bytes": 15}),
    ],
)  # fmt: skip
def test_lines_of_the_log_are_masked_once_more(said: str, shown: dict[str, Any]) -> None:
    assert shareable.log_line(said) == shown


def test_lines_of_the_service_manager_are_scrubbed() -> None:
    said = "recorder.service: Main process exited, code=exited, status=3"
    assert shareable.log_line(said, manager=True) == {"event": "manager.said", "text": said}
    assert "+4930123456" not in str(shareable.log_line("Started by +4930123456", manager=True))


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("# HELP recorder_calls_active Calls", True),
        ("recorder_calls_active 3.0", True),
        ('recorder_calls_total{result="complete"} 3.0', True),
        ('recorder_calls_total{customer="acme",result="complete"} 3.0', True),
        ('recorder_build_info{commit="1234567890123456789012345678901234567890",version="0.1.0"} 1.0', True),
        ('recorder_setup_seconds_bucket{le="+Inf"} 3.0', True),
        ("recorder_key_backup_age_seconds NaN", True),
        ('recorder_calls_total{person="anna"} 3.0', False),
        ('recorder_calls_total{result="+4930123456"} 3.0', False),
        ('recorder_calls_total{result="Anna Canary"} 3.0', False),
        ('recorder_calls_total{result="a",x} 3.0', False),
        ("recorder_calls_active anna", False),
        ("anna_canary 3.0", False),
        ("# HELP anna Anna", False),
    ],
)
def test_metrics_have_the_shape_of_ours(line: str, kept: bool) -> None:
    assert list(shareable.metrics(line)) == ([line] if kept else [])


def test_incidents_hold_codes_and_counts() -> None:
    now = datetime(2026, 11, 30, tzinfo=UTC)
    facts = {"status": 403, "reason": "no-customer", "name": "Anna", "call": "+4930123456"}
    said = shareable.incident(Incident("x-1", "call-refused", now, now, 2, facts), "acme")
    assert said["kind"] == "call-refused" and said["status"] == 403 and said["reason"] == "no-customer"
    assert "Anna" not in str(said) and "4930123456" not in str(said)


def test_findings_of_the_doctor_show_no_configured_values() -> None:
    found = [
        {"name": "start.node.data_dir", "state": "fail", "detail": "/home/anna", "remedy": "chown anna"},
        {"name": "start.customer[0].Anna Canary", "state": "fail", "detail": "anna", "remedy": ""},
        {"name": "certificate.sip", "state": "ok", "detail": "valid for 9 days", "remedy": ""},
        {"name": "certificate.sip.name", "state": "warn", "detail": "it is not for anna.example", "remedy": ""},
        {"name": "database", "state": "fail", "detail": "anna cannot be reached", "remedy": ""},
        {"name": "disk.data", "state": "ok", "detail": "1 GB of 2 GB free", "remedy": ""},
    ]
    said = shareable.checks(found)
    assert "anna" not in str(said).lower()
    assert [each.get("detail") for each in said] == [None, None, "valid for 9 days", None, None, "1 GB of 2 GB free"]
    assert said[0]["name"] == "start.node.data_dir" and said[1]["name"] == "start.***"


def test_empty_settings_can_be_shown() -> None:
    assert json.dumps(shareable.configuration(Settings()))
