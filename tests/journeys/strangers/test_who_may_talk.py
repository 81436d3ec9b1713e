"""Whom a running recorder listens to: by address, certificate, authority, domain, password; strangers get nothing."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.maintenance import bootstrap
from tests.daemon.api import running, until
from tests.daemon.sbc import OFFER, Sbc, client
from tests.daemon.server import Server
from tests.in_process.certificates import Authority

CUSTOMERS = """
[[customer]]
name = "beta"
certificates = ["sbc.beta.example"]
client_ca = "{folder}/beta-ca.crt"
[[customer]]
name = "gamma"
certificates = ["sbc.gamma.example"]
client_ca = "{folder}/gamma-ca.crt"
"""


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Authority]:
    folder = tmp_path_factory.mktemp("authorities")
    return {name: Authority(folder, name) for name in ("beta-ca", "gamma-ca", "nobody-ca")}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, authorities: dict[str, Authority]) -> Iterator[Server]:
    """A recorder whose customers are told apart by address and certificate."""
    folder = authorities["beta-ca"].folder
    with running(tmp_path_factory.mktemp("server"), sources="127.0.0.2", more=CUSTOMERS.format(folder=folder)) as it:
        yield it.one


def settled(one: Server, customer: str, count: int) -> bool:
    """Return whether the customer has so many calls, by the command, as soon as they are indexed."""

    def found() -> int:
        return len(json.loads(one.run("calls", "--customer", customer, "--json").stdout)["items"])

    until(lambda: found() >= count)
    return found() == count


def secure(one: Server, source: str = "127.0.0.2", certificate: Path | None = None, **limits: object) -> Sbc:
    return one.sbc("tls", source=source, tls=client(certificate, **limits))


def test_an_unknown_source_gets_an_answer_only_on_tcp_s29(one: Server) -> None:
    with one.sbc("udp") as udp:
        udp.patience = 0.3
        for method in ("OPTIONS", "INVITE", "REGISTER"):
            with pytest.raises(TimeoutError):
                udp.ask(method)
    for transport in ("tcp", "tls"):
        with one.sbc(transport) as sbc:
            assert sbc.ask("INVITE", OFFER).status == 403
            with pytest.raises(ConnectionError):
                sbc.ask("OPTIONS")
    with one.sbc("tcp") as silent, pytest.raises(ConnectionError):
        silent.asked()


def test_a_certificate_of_the_customers_own_ca_counts_r31_s24(one: Server, authorities: dict[str, Authority]) -> None:
    with secure(one, "127.0.0.1", authorities["beta-ca"].issue("sbc.beta.example")) as sbc:
        assert sbc.ask("INVITE", OFFER).status == 200
        for issuer, name in (("gamma", "beta"), ("beta", "gamma"), ("beta", "other")):
            with secure(one, "127.0.0.1", authorities[f"{issuer}-ca"].issue(f"sbc.{name}.example")) as other:
                assert other.ask("INVITE", OFFER).status == 403
                with pytest.raises(ConnectionError):
                    other.asked()
        unknown = authorities["nobody-ca"].issue("sbc.beta.example")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            # with TLS 1.3 the refusal of a certificate comes behind the handshake
            secure(one, "127.0.0.1", unknown, maximum_version=ssl.TLSVersion.TLSv1_2)
        assert settled(one, "beta", 1)
        assert settled(one, "gamma", 0)


@pytest.mark.parametrize(
    ("ciphers", "least", "most"),
    [
        ("ALL:@SECLEVEL=0", ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1),
        ("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0", *[ssl.TLSVersion.TLSv1_2] * 2),
        ("AES128-GCM-SHA256:AES256-SHA:@SECLEVEL=0", *[ssl.TLSVersion.TLSv1_2] * 2),
        ("DHE-RSA-AES128-GCM-SHA256:ADH:@SECLEVEL=0", *[ssl.TLSVersion.TLSv1_2] * 2),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_versions_and_weak_ciphers_are_refused_s24(
    one: Server, ciphers: str, least: ssl.TLSVersion, most: ssl.TLSVersion
) -> None:
    context = client(minimum_version=least, maximum_version=most)
    context.set_ciphers(ciphers)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        one.sbc("tls", source="127.0.0.2", tls=context)


def session_of(sbc: Sbc) -> ssl.SSLSocket:
    assert isinstance(sbc.socket, ssl.SSLSocket)
    return sbc.socket


def test_a_renewed_certificate_drops_no_connection_s24(one: Server) -> None:
    def shown(sbc: Sbc) -> bytes | None:
        return session_of(sbc).getpeercert(binary_form=True)

    with secure(one) as old:
        public, private = bootstrap.certificate(["renewed.example"])
        (one.folder / "tls.crt").write_bytes(public)
        with secure(one) as broken:
            assert shown(broken) == shown(old)  # half of the pair is new: it stays as it was
            (one.folder / "tls.key").write_bytes(private)
            with secure(one) as new:
                assert shown(new) == ssl.PEM_cert_to_DER_cert(public.decode())
                assert [sbc.ask("OPTIONS").status for sbc in (old, broken, new)] == [200] * 3


DOMAIN = """
[[customer]]
name = "delta"
domains = ["delta.rec.example"]
digest = "{folder}/users"
"""


def credentials(challenge: str, password: str, algorithm: str, uri: str, number: int = 1) -> str:
    """Answer a challenge as RFC 2617 and RFC 8760 have it."""

    def digest(text: str) -> str:
        return hashlib.new(algorithm.replace("-", ""), text.encode()).hexdigest()

    found = re.search(r'nonce="([^"]+)"', challenge)
    assert found is not None
    ha1, ha2 = digest(f"sbc:rec:{password}"), digest(f"INVITE:{uri}")
    response = digest(f"{ha1}:{found[1]}:{number:08x}:c:auth:{ha2}")
    return (
        f'Authorization: Digest username="sbc", realm="rec", nonce="{found[1]}", uri="{uri}", response="{response}", '
        f'algorithm={algorithm}, qop=auth, nc={number:08x}, cnonce="c"'
    )


def test_a_domain_and_password_admit_a_client_s28(tmp_path: Path) -> None:
    (tmp_path / "users").write_text(
        "".join(
            f"sbc:rec:{hashlib.new(name, b'sbc:rec:sesame').hexdigest()}\n"
            for name in ("md5", "sha256")  # devices mostly answer with the first
        )
    )
    with running(tmp_path, sources="127.0.0.2", more=DOMAIN.format(folder=tmp_path)) as it:
        uri = "sip:rec@delta.rec.example"
        for transport in ("udp", "tls"):
            with it.one.sbc(transport) as sbc:
                sbc.domain = "other.example"
                assert sbc.ask("INVITE", OFFER).status == 403
                sbc.anew()
                sbc.domain = "delta.rec.example"
                challenged = sbc.ask("INVITE", OFFER)
                asked = challenged.headers.all("WWW-Authenticate")
                assert (challenged.status, len(asked)) == (401, 2)
                assert ["SHA-256" in asked[0], "MD5" in asked[1]] == [True, True]
                assert sbc.ask("INVITE", OFFER, credentials(asked[0], "simsim", "SHA-256", uri)).status == 401
                for number, algorithm in enumerate(("SHA-256", "MD5"), 1):
                    sbc.anew()
                    given = credentials(asked[number - 1], "sesame", algorithm, uri, number)
                    assert sbc.ask("INVITE", OFFER, given).status == 200
        assert settled(it.one, "delta", 4)
