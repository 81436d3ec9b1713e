"""What is made once is whole, private, and never overwritten."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from cryptography import x509

from recorder.maintenance import bootstrap


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    key = tmp_path / "a" / "key"
    assert bootstrap.write_new(key, b"mine") and not bootstrap.write_new(key, b"2")
    assert not bootstrap.pair(tmp_path / "crt", key, ["localhost"])
    assert key.read_bytes() == b"mine" and key.stat().st_mode & 0o777 == 0o600
    assert bootstrap.root_key(tmp_path / "root") and len((tmp_path / "root").read_bytes()) == 32


def test_a_full_disk_leaves_no_half_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes, offset: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(bootstrap, "write_all", full)
    with pytest.raises(OSError, match="full"):
        bootstrap.root_key(tmp_path / "root.key")
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_names_hosts_and_addresses_however_long() -> None:
    long = "a" * 60 + ".example.example"
    public, _ = bootstrap.certificate([long, "127.0.0.1"])
    names = x509.load_pem_x509_certificate(public).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [long]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
