"""TLS contexts: strong only, and renewed when the files are."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from recorder.errors import NotPossible
from recorder.maintenance import bootstrap
from recorder.runtime.tls import Certificates, client_context, context


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key."""
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    bootstrap.pair(certificate, key, ["localhost"])
    return certificate, key


def test_old_protocols_and_weak_suites_are_not_spoken(files: tuple[Path, Path]) -> None:
    """Duty S24."""
    made = context(*files, None)
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2
    assert all("GCM" in c["name"] or "CHACHA20" in c["name"] for c in made.get_ciphers())


def test_new_files_are_taken_and_broken_ones_are_not(files: tuple[Path, Path]) -> None:
    certificate, key = files
    one = Certificates(certificate, key, None)
    first = one.current()
    assert one.current() is first
    certificate.write_text("broken")
    os.utime(certificate, (1, 1))
    assert one.current() is first
    for path in files:
        path.unlink()
    assert one.current() is first
    bootstrap.pair(certificate, key, ["localhost"])
    assert one.current() is not first


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotPossible, match=r"tls\.crt"):
        context(tmp_path / "tls.crt", tmp_path / "tls.key", None)


def test_a_client_connection_shows_and_checks_certificates(files: tuple[Path, Path]) -> None:
    """Duty S23."""
    certificate, key = files
    made = client_context(certificate, key, certificate)
    assert (made.verify_mode, made.check_hostname) == (ssl.CERT_REQUIRED, False)  # names are compared with the dialog's
    assert client_context(certificate, key, None).check_hostname
    with pytest.raises(OSError, match="no certificate"):
        client_context(None, None, None)


def test_customer_cas_make_client_certificates_optional_s24(files: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = files
    assert context(certificate, key, certificate).verify_mode is ssl.CERT_REQUIRED
    more = tmp_path / "more.crt"
    more.write_bytes(certificate.read_bytes())
    assert context(certificate, key, None, [more]).verify_mode is ssl.CERT_OPTIONAL
    assert context(certificate, key, certificate, [more]).verify_mode is ssl.CERT_REQUIRED
    one = Certificates(certificate, key, None, [more])
    first = one.current()
    os.utime(more, (1, 1))
    assert one.current() is not first
    assert client_context(certificate, key, None, [more]).check_hostname is False
