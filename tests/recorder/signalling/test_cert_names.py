"""Which names of a client certificate count where customers have authorities of their own."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from recorder.config.model import Customer
from recorder.signalling.cert_names import CertificateNames
from tests.in_process.certificates import Authority


def der(pem: Path) -> bytes:
    text = pem.read_text()
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE") :])


@pytest.fixture
def authorities(tmp_path: Path) -> dict[str, Authority]:
    return {name: Authority(tmp_path, name) for name in ("common", "own")}


def test_without_authorities_of_customers_tls_alone_decides(authorities: dict[str, Authority]) -> None:
    """Duty S24."""
    vouching = CertificateNames([Customer(name="a", certificates=("a.example",))], authorities["common"].file)
    assert vouching.names(b"anything", ("a.example", "b.example")) == ("a.example", "b.example")


def test_a_name_needs_the_authority_of_its_customer_s24(authorities: dict[str, Authority]) -> None:
    common, own = authorities["common"], authorities["own"]
    customers = [
        Customer(name="a", certificates=("a.example",)),
        Customer(name="b", certificates=("b.example",), client_ca=own.file),
    ]
    vouching = CertificateNames(customers, common.file)
    both = ("a.example", "b.example", "c.example")
    assert vouching.names(der(common.issue("x")), both) == ("a.example",)
    assert vouching.names(der(own.issue("x")), both) == ("b.example",)
    assert vouching.names(b"no certificate", both) == ()
    second = der(own.issue("x")).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01", 1)  # X.509 version 2
    assert vouching.names(second, both) == ()
    assert CertificateNames(customers, None).names(der(common.issue("x")), both) == ()


def test_a_changed_ca_file_is_read_again_s24(authorities: dict[str, Authority]) -> None:
    common, own = authorities["common"], authorities["own"]
    vouching = CertificateNames([Customer(name="b", certificates=("b.example",), client_ca=own.file)], None)
    leaf = der(common.issue("b.example"))
    assert vouching.names(leaf, ("b.example",)) == ()
    own.file.write_bytes(own.file.read_bytes() + common.file.read_bytes())
    assert vouching.names(leaf, ("b.example",)) == ("b.example",)
    own.file.unlink()
    assert vouching.names(leaf, ("b.example",)) == ()
