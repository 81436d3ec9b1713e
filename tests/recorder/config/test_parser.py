"""A configuration becomes one frozen tree, or a list of everything that is wrong with it."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.config.default_path import DEFAULT_CONFIG
from recorder.config.faults import Fault, SettingsError
from recorder.config.model import SECTIONS, TABLES, Settings
from recorder.config.parser import MAX_FILE, key_lines, parse, suggestion
from recorder.config.value_readers import Srtp
from recorder.persist.customers import storage_settings

SMALL = """
[sip]
listen = ["udp:127.0.0.1:5060"]

[[customer]]
name = "acme"
sources = ["192.0.2.0/24"]
"""

FULL = """
[node]
name = "rec7"
data_dir = "/data"
runtime_dir = "/run/rec"
[log]
level = "debug"
[sip]
listen = ["udp:0.0.0.0:5060", "tls:[::]:5061"]
certificate = "/etc/a.crt"
private_key = "/etc/a.key"
client_ca = "/etc/ca.crt"
max_calls = 10
[media]
bind = "127.0.0.1"
advertise = "192.0.2.10"
ports = "30000-30999"
workers = 3
srtp = "preferred"
[admin_api]
listen = "[::1]:9443"
[keys]
root = "file:/keys/root.key"
[retention]
sweep_seconds = 60
brake_percent = 10
[storage]
database = "postgresql+asyncpg://recorder@db/recorder_{customer}"
media = "file"
[[customer]]
name = "acme"
sources = ["192.0.2.0/24", "2001:db8::1"]
certificates = ["SBC1.acme.example"]
extension_digits = 4
purge_users = true
country = "DE"
retention_days = 30
[[customer]]
name = "globex"
domains = ["globex.rec.example"]
digest = "/etc/recorder/globex.digest"
srtp = "off"
"""


def faults_of(text: str) -> list[Fault]:
    """Return what is wrong with a configuration."""
    with pytest.raises(SettingsError) as caught:
        parse(text.encode())
    return list(caught.value.faults)


def fault_of(text: str) -> Fault:
    """Return the one thing that is wrong."""
    (fault,) = faults_of(text)
    return fault


def with_line(section: str, line: str) -> str:
    """Return the small configuration with one more line in a section."""
    if f"[{section}]" in SMALL:
        return SMALL.replace(f"[{section}]\n", f"[{section}]\n{line}\n")
    return f"[{section}]\n{line}\n{SMALL}"


def test_everything_written_arrives() -> None:
    settings = parse(FULL.encode())
    assert settings.node.data_dir == Path("/data")
    assert [str(item) for item in settings.sip.listen] == ["udp:0.0.0.0:5060", "tls:[::]:5061"]
    assert (settings.media.ports.first, settings.media.ports.last, settings.media.ports.pairs) == (30000, 30999, 500)
    assert (str(settings.admin_api.listen), settings.keys.root) == ("[::1]:9443", "file:/keys/root.key")
    acme, globex = settings.customers
    assert acme.sources == (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::1"))
    assert acme.certificates == ("sbc1.acme.example",)
    assert (settings.srtp_of(acme), settings.srtp_of(globex)) == (Srtp.PREFERRED, Srtp.OFF)
    assert settings.customer("globex") is globex and settings.customer("nobody") is None
    kept = storage_settings(acme)
    assert (kept.extension_digits, kept.purge_users, globex.extension_digits, globex.purge_users) == (4, True, 0, False)


def test_the_defaults_are_safe() -> None:
    settings = parse(SMALL.encode())
    assert settings.media.srtp is Srtp.REQUIRED
    assert settings.admin_api.listen.loopback
    assert (settings.log.level, settings.customers[0].retention_days) == ("info", 180)
    assert str(DEFAULT_CONFIG) == "/etc/recorder/recorder.toml"
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.sip.max_calls = 1  # type: ignore[misc]  # what is tested


def test_every_field_is_documented() -> None:
    for section in dataclasses.fields(Settings):
        kind = TABLES.get(section.name) or SECTIONS.get(section.name)
        assert kind or section.name == "source"
        for item in dataclasses.fields(kind) if kind else ():
            assert len(item.metadata["doc"]) > 8, f"{section.name}.{item.name}"


def test_all_faults_come_at_once_with_their_lines() -> None:
    text = '[media]\nports = "20001-30000"\nsrtp = true\n[log]\nlevel = "loud"\n' + SMALL.replace("acme", "Acme")
    found = {(fault.key, fault.line) for fault in faults_of(text)}
    assert found == {("media.ports", 2), ("media.srtp", 3), ("log.level", 5), ("customer[0].name", 11)}


def test_a_fault_says_key_line_value_and_what_would_be_right() -> None:
    fault = fault_of(with_line("log", 'level = "loud"'))
    assert str(fault) == 'log.level (line 2): found "loud"; should be one of "debug", "info", "warning", "error"'
    assert "did you mean max_calls?" in fault_of(with_line("sip", "max_cals = 3")).right
    assert "did you mean retention?" in fault_of("[retenton]\n" + SMALL).right


def test_each_wrong_entry_of_a_list_is_named() -> None:
    found = faults_of(SMALL.replace('["192.0.2.0/24"]', '["192.0.2.0/24", "192.0.2.1/24", "SBC"]'))
    assert [fault.key for fault in found] == ["customer[0].sources[1]", "customer[0].sources[2]"]
    assert '"192.0.2.0/24"' in found[0].right


@pytest.mark.parametrize(
    ("section", "line", "key"),
    [
        ("node", 'name = "Rec 1"', "node.name"),
        ("node", 'data_dir = "data"', "node.data_dir"),
        ("node", 'data_dir = "/data/../etc"', "node.data_dir"),
        ("media", 'bind = "localhost"', "media.bind"),
        ("media", 'bind = "127.0.0.1:5"', "media.bind"),
        ("media", 'advertise = ""', "media.advertise"),
        ("sip", 'advertise = "0.0.0.0"', "sip.advertise"),
        ("media", 'ports = "20000"', "media.ports"),
        ("media", 'ports = "30000-20001"', "media.ports"),
        ("media", 'ports = "20000-20001"', "media.ports"),
        ("media", 'ports = "20000-70001"', "media.ports"),
        ("media", "workers = -1", "media.workers"),
        ("media", 'workers = "2"', "media.workers"),
        ("media", "workers = true", "media.workers"),
        ("sip", "max_calls = 0", "sip.max_calls"),
        ("sip", 'client_ca = "ca.crt"', "sip.client_ca"),
        ("admin_api", 'listen = "127.0.0.1"', "admin_api.listen"),
        ("admin_api", 'listen = "::1:8443"', "admin_api.listen"),
        ("admin_api", 'listen = "127.0.0.1:0"', "admin_api.listen"),
        ("retention", "brake_percent = 101", "retention.brake_percent"),
        ("storage", 'media = "s3://bucket/x"', "storage.media"),
        ("storage", 'database = "mysql://h/d_{customer}"', "storage.database"),
        ("storage", 'database = "postgresql+asyncpg://u@h/recorder"', "storage.database"),
        ("keys", 'root = "pkcs11:token=x"', "keys.root"),
        ("keys", 'root = "file:root.key"', "keys.root"),
        ("keys", 'root = "credential:../x"', "keys.root"),
    ],
)
def test_a_wrong_value_is_refused_under_its_key(section: str, line: str, key: str) -> None:
    fault = fault_of(with_line(section, line))
    assert fault.key == key and fault.line


@pytest.mark.parametrize("line", ["extension_digits = 9", 'extension_digits = "4"', "purge_users = 1"])
def test_a_wrong_value_of_a_customer_is_refused(line: str) -> None:
    assert fault_of(SMALL + line).key == f"customer[0].{line.split()[0]}"


def test_a_secret_in_the_file_is_refused_and_not_repeated() -> None:
    text = with_line("storage", 'database = "postgresql+asyncpg://recorder:hunter2@db/recorder_{customer}"')
    assert "password" in str(fault_of(text))
    assert "hunter2" not in str(fault_of(text))
    assert "c2VjcmV0" not in str(fault_of(with_line("keys", 'root = "c2VjcmV0c2VjcmV0"')))


@pytest.mark.parametrize(
    "text", [b"[sip", b"sip = ", b"a = 1\na = 2", b"x = 99-99", b'[sip]\nlisten = "udp', b"# fine\n# M\xfcller\n"]
)
def test_a_toml_error_names_its_line(text: bytes) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert caught.value.faults[0].line == len(text.splitlines())


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(SettingsError):
        parse(b"#" * (MAX_FILE + 1))


def test_tables_in_the_wrong_shape_are_faults() -> None:
    assert {fault.key for fault in faults_of('sip = 3\ncustomer = "acme"')} >= {"sip", "customer"}
    assert "customer" in {fault.key for fault in faults_of("[customer]\nname = 'acme'\n")}


def settings_or_faults(data: bytes) -> tuple[Fault, ...]:
    try:
        assert parse(data).customers
    except SettingsError as error:
        assert error.faults and error.sentence()
        return error.faults
    return ()


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_any_bytes_give_settings_or_faults(data: bytes) -> None:
    settings_or_faults(data)


@given(st.data())
def test_any_value_under_any_key_gives_settings_or_faults(data: st.DataObject) -> None:
    tables = ["node", "log", "sip", "media", "admin_api", "keys", "retention", "storage"]
    section = data.draw(st.sampled_from(tables))
    key = data.draw(st.sampled_from([item.name for item in dataclasses.fields(SECTIONS[section])]))
    values = ["1", "-1", "1.5", "true", '""', "[]", "[[]]", "[1]", "{}", '"a:b"', '"//"', "nan"]
    line = f"{key} = {data.draw(st.sampled_from(values))}"
    text = SMALL if (section, key) == ("sip", "listen") else with_line(section, line)
    named = (section, "customer", "sip", "admin_api", "storage")
    assert all(fault.key.startswith(named) for fault in settings_or_faults(text.encode()))


def test_every_key_and_table_has_its_line() -> None:
    text = '[sip]\nlisten = [\n  "udp:a",\n]\n# x = 1\n[[customer]]\nname = "a"\n[[customer]] # second\nname = "b"\n'
    assert key_lines(text) == {
        "sip": 1,
        "sip.listen": 2,
        "customer[0]": 6,
        "customer[0].name": 7,
        "customer[1]": 8,
        "customer[1].name": 9,
    }


def test_a_missing_key_is_on_the_line_of_its_table() -> None:
    lines = {"customer[1]": 8, "sip": 1, "sip.listen": 2}
    assert Fault("customer[1].name", "nothing", "x").at(lines).line == 8
    assert Fault("sip.listen[3]", "x", "y").at(lines).line == 2
    assert Fault("media.ports", "x", "y").at(lines).line is None


def test_the_sentence_has_one_fault_a_line() -> None:
    error = SettingsError((Fault("a", "1", "2"), Fault("b", "", "no such key")), "/etc/x.toml")
    assert error.sentence() == "/etc/x.toml has 2 faults:\n  a: found 1; should be 2\n  b: no such key"
    assert error.status == 2


def test_only_a_similar_key_is_suggested() -> None:
    assert suggestion("certifcate", ["certificate", "listen"]) == "; did you mean certificate?"
    assert suggestion("zzz", ["certificate", "listen"]) == ""


@given(st.text(alphabet='[]a."=\n# ', max_size=60))
def test_any_bytes_of_text_have_lines(text: str) -> None:
    assert all(1 <= line <= len(text.splitlines()) for line in key_lines(text).values())
