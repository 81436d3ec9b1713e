"""The configuration on disk, and the files it names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recorder.config.faults import SettingsError
from recorder.config.loader import check_made, load, load_for_start
from recorder.errors import WrongUse
from storage import extras
from tests.in_process.certificates import application

TEXT = """\
[node]
data_dir = "{here}/data"
[sip]
listen = ["tls:127.0.0.1:5061"]
certificate = "{here}/tls.crt"
private_key = "{here}/tls.key"
[keys]
root = "file:{here}/root.key"
[[customer]]
name = "acme"
sources = ["127.0.0.1"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a configuration whose files are all there."""
    certificate(tmp_path, "tls")
    (tmp_path / "root.key").write_bytes(bytes(32))
    (tmp_path / "root.key").chmod(0o600)
    path = tmp_path / "recorder.toml"
    path.write_text(TEXT.format(here=tmp_path))
    return path


def certificate(folder: Path, name: str) -> None:
    """Make a self-signed certificate and its key."""
    both, public = application()
    (folder / f"{name}.key").write_bytes(both.removeprefix(public))
    (folder / f"{name}.crt").write_bytes(public)


def fault_of(config: Path) -> tuple[str, int | None, str]:
    """Return the only fault as key, line and sentence."""
    with pytest.raises(SettingsError) as caught:
        load(config)
    (fault,) = caught.value.faults
    return fault.key, fault.line, str(fault)


def test_a_configuration_with_all_its_files_loads(config: Path) -> None:
    assert load(config).sip.listen[0].port == 5061
    for name in ("tls.crt", "tls.key", "root.key"):
        (config.parent / name).unlink()
    assert load(config, files=False).keys.root.startswith("file:"), "as `init` does, before there are any"
    config.write_text("[sip]\nx = 1\n")
    with pytest.raises(SettingsError, match=str(config)):
        load(config)


def test_a_missing_configuration_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WrongUse) as caught:
        load(tmp_path / "none.toml")
    assert "recorder init" in caught.value.sentence()
    with pytest.raises(WrongUse, match="cannot be read"):
        load(tmp_path)


def test_the_certificate_must_be_there_and_fit_its_key(config: Path) -> None:
    certificate(config.parent, "other")
    (config.parent / "other.key").rename(config.parent / "tls.key")
    assert fault_of(config)[0] == "sip.certificate"
    (config.parent / "tls.crt").unlink()
    key, line, sentence = fault_of(config)
    assert (key, line) == ("sip.certificate", 5) and "No such file" in sentence


def test_the_root_key_must_be_there_whole_and_private(config: Path) -> None:
    root = config.parent / "root.key"
    root.chmod(0o644)
    assert "chmod 600" in fault_of(config)[2]
    root.chmod(0o600)
    root.write_bytes(b"short")
    assert "32 random bytes" in fault_of(config)[2]
    root.unlink()
    assert "recorder init" in fault_of(config)[2]


def test_authorities_must_be_certificates(config: Path) -> None:
    (config.parent / "ca.crt").write_text("not a certificate")
    text = config.read_text()
    config.write_text(text.replace("[keys]", f'client_ca = "{config.parent}/ca.crt"\n[keys]'))
    assert fault_of(config)[0] == "sip.client_ca"
    more = f'certificates = ["sbc.example"]\nclient_ca = "{config.parent}/ca.crt"\n'
    config.write_text(text + more)
    assert fault_of(config)[0] == "customer[0].client_ca"


@pytest.mark.parametrize("users", [None, "", "anna:rec.example\n", "a:one:" + "0" * 32 + "\nb:two:" + "0" * 32])
def test_users_who_authenticate_must_be_readable(config: Path, users: str | None) -> None:
    file = config.parent / "acme.digest"
    config.write_text(config.read_text() + f'digest = "{file}"\n')
    if users is not None:
        file.write_text(users)
    assert fault_of(config)[0] == "customer[0].digest"
    file.write_text("anna:rec.example:" + "0" * 32 + "\n")
    assert load(config).customers[0].digest == file


@pytest.mark.parametrize("key", ["client_secret", "ca"])
def test_the_files_of_a_provider_must_be_there(config: Path, key: str) -> None:
    missing = config.parent / "missing"
    value = f"file:{missing}" if key == "client_secret" else str(missing)
    address = '[admin_api]\naddress = "https://rec.example"\n'
    provider = '[[sign_in]]\ncustomer = "acme"\nissuer = "https://id.example"\nclient_id = "rec"\ntitle = "Desk"\n'
    config.write_text(
        config.read_text() + address + provider + f'{key} = "{value}"\nroles = {{ "desk" = ["listener"] }}\n'
    )
    assert fault_of(config)[0] == f"sign_in[0].{key}"


@pytest.mark.parametrize("key", ["access_key", "secret_key", "ca"])
def test_the_files_of_an_object_store_must_be_there(config: Path, key: str) -> None:
    missing = f"{config.parent}/missing"
    keys = {"access_key": "credential:id", "secret_key": "credential:secret"}
    keys[key] = missing if key == "ca" else f"file:{missing}"
    told = "".join(f'{name} = "{value}"\n' for name, value in keys.items())
    store = '[storage]\nendpoint = "https://s3.example"\nbucket = "recordings"\n' + told
    config.write_text(config.read_text() + store)
    assert fault_of(config)[0] == f"storage.{key}"


@pytest.mark.parametrize("place", ["root.key", "root.key/data"])
def test_a_file_where_a_folder_should_be_is_noticed(config: Path, place: str) -> None:
    config.write_text(config.read_text().replace("/data", f"/{place}"))
    key, line, said = fault_of(config)
    assert (key, line) == ("node.data_dir", 2)
    assert "root.key is not a folder" in said


def test_a_credential_needs_systemd(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(config.read_text().replace(f"file:{config.parent}/root.key", "credential:root"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert fault_of(config)[0] == "keys.root"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(config.parent))
    assert load(config).keys.root == "credential:root"


def test_a_missing_half_of_a_key_pair_is_a_fault(config: Path) -> None:
    settings = load(config)
    check_made(settings)
    (config.parent / "root.key").unlink()
    check_made(settings)
    (config.parent / "root.key").write_bytes(b"short")
    (config.parent / "tls.key").unlink()
    with pytest.raises(SettingsError) as told:
        check_made(settings)
    assert {(fault.key, fault.line) for fault in told.value.faults} == {("sip.private_key", 6), ("keys.root", 8)}


@pytest.mark.parametrize(
    ("extra", "old", "new"),
    [
        ("postgresql", "[keys]", '[storage]\ndatabase = "postgresql+asyncpg://rec@db/rec_{{customer}}"\n[keys]'),
        ("hsm", "file:{here}/root.key", "pkcs11:token=t;object=o?module-path={here}/root.key&pin-source=file:/pin"),
    ],
)
def test_a_setting_without_its_package_says_what_to_install(
    config: Path, monkeypatch: pytest.MonkeyPatch, extra: str, old: str, new: str
) -> None:
    config.write_text(TEXT.replace(old, new).format(here=config.parent))
    load(config)
    monkeypatch.setitem(sys.modules, extras.PACKAGES[extra], None)
    for start in (load, load_for_start):
        with pytest.raises(SettingsError, match=f"{extras.PACKAGES[extra]} is not installed") as caught:
            start(config)
        (fault,) = (each for each in caught.value.faults if "not installed" in each.found)
        assert fault.status == 3 and extras.how_to_install(extra) in fault.right
    monkeypatch.setattr(extras, "_FOLDER", config.parent)
    assert f"pip install 'siprec-recorder[{extra}]'" in extras.how_to_install(extra)
