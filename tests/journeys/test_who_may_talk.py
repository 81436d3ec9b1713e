"""Whom a running recorder listens to: by address, certificate, authority, domain, password; strangers get nothing."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.maintenance import bootstrap
from tests.daemon.sbc_link import Authority, Link, client
from tests.daemon.server import Server, server

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
    with server(tmp_path_factory.mktemp("server"), sources="127.0.0.2") as made:
        made.config.write_text(made.config.read_text() + CUSTOMERS.format(folder=folder))
        made.init()
        made.start()
        yield made


def settled(one: Server, customer: str, count: int) -> bool:
    """Tell whether the customer has so many calls, by the command, as soon as they are indexed."""
    end = time.monotonic() + 20
    while True:
        made = one.run("calls", "--customer", customer, "--json")
        assert made.returncode == 0, made.stderr
        found = len(json.loads(made.stdout)["items"])
        if found >= count or time.monotonic() > end:
            return found == count
        time.sleep(0.2)


def test_an_unknown_source_gets_an_answer_only_on_tcp_s29(one: Server) -> None:
    udp = Link("udp", one.udp)
    udp.socket.settimeout(0.5)
    for method in ("OPTIONS", "INVITE", "REGISTER"):
        udp.say(method)
    with pytest.raises(TimeoutError):
        udp.hear()
    udp.close()
    for transport, port, tls in (("tcp", one.udp, None), ("tls", one.tls, client())):
        link = Link(transport, port, tls=tls)
        answer = link.invite()
        assert answer is not None
        assert answer.status == 403
        link.say("OPTIONS")
        assert link.hear() is None
        link.close()
    silent = Link("tcp", one.udp)
    silent.socket.settimeout(30)
    assert silent.hear() is None
    silent.close()


def test_an_address_is_its_customers_on_every_transport(one: Server) -> None:
    for transport, port, tls in (("udp", one.udp, None), ("tcp", one.udp, None), ("tls", one.tls, client())):
        link = Link(transport, port, source="127.0.0.2", tls=tls)
        answer = link.invite()
        assert answer is not None
        assert answer.status == 200
        link.say("OPTIONS")
        assert link.hear() is not None
        link.close()


def test_a_certificate_of_the_customers_own_ca_counts_r31_s24(one: Server, authorities: dict[str, Authority]) -> None:
    good = authorities["beta-ca"].issue("sbc.beta.example")
    link = Link("tls", one.tls, tls=client(good))
    answer = link.invite()
    assert answer is not None
    assert answer.status == 200
    for forged in (
        authorities["gamma-ca"].issue("sbc.beta.example"),
        authorities["beta-ca"].issue("sbc.gamma.example"),
        authorities["beta-ca"].issue("sbc.other.example"),
    ):
        other = Link("tls", one.tls, tls=client(forged))
        refused = other.invite()
        assert refused is not None
        assert refused.status == 403
        assert other.hear() is None
        other.close()
    unknown = client(authorities["nobody-ca"].issue("sbc.beta.example"))
    unknown.maximum_version = ssl.TLSVersion.TLSv1_2  # with 1.3 the refusal of a certificate comes behind the handshake
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Link("tls", one.tls, tls=unknown)
    assert settled(one, "beta", 1)
    assert settled(one, "gamma", 0)
    link.close()


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
        Link("tls", one.tls, source="127.0.0.2", tls=context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_use_authenticated_encryption_s24(one: Server, version: ssl.TLSVersion) -> None:
    link = Link("tls", one.tls, source="127.0.0.2", tls=client(minimum_version=version, maximum_version=version))
    assert isinstance(link.socket, ssl.SSLSocket)
    name = (link.socket.cipher() or ("",))[0]
    assert "GCM" in name or "CHACHA20" in name
    link.say("OPTIONS")
    assert link.hear() is not None
    link.close()


def test_a_renewed_certificate_drops_no_connection_s24(one: Server) -> None:
    def shown(link: Link) -> bytes | None:
        assert isinstance(link.socket, ssl.SSLSocket)
        return link.socket.getpeercert(binary_form=True)

    old = Link("tls", one.tls, source="127.0.0.2", tls=client())
    certificate, key = one.folder / "tls.crt", one.folder / "tls.key"
    public, private = bootstrap.certificate(["renewed.example"])
    certificate.write_bytes(public)
    broken = Link("tls", one.tls, source="127.0.0.2", tls=client())
    assert shown(broken) == shown(old)  # half of the pair is new: it stays as it was
    key.write_bytes(private)
    new = Link("tls", one.tls, source="127.0.0.2", tls=client())
    assert shown(new) == ssl.PEM_cert_to_DER_cert(public.decode())
    for link in (old, broken, new):
        link.say("OPTIONS")
        answer = link.hear()
        assert answer is not None
        assert answer.status == 200
        link.close()


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
    with server(tmp_path, sources="127.0.0.2", more=DOMAIN.format(folder=tmp_path)) as one:
        one.init()
        one.start()
        host, uri = "delta.rec.example", "sip:rec@delta.rec.example"
        for transport, port, tls in (("udp", one.udp, None), ("tls", one.tls, client())):
            link = Link(transport, port, tls=tls)
            elsewhere = link.invite(host="other.example")
            assert elsewhere is not None
            assert elsewhere.status == 403
            challenged = link.invite(host=host)
            assert challenged is not None
            asked = challenged.headers.all("WWW-Authenticate")
            assert (challenged.status, len(asked)) == (401, 2)
            assert ["SHA-256" in asked[0], "MD5" in asked[1]] == [True, True]
            wrong = link.invite(credentials(asked[0], "simsim", "SHA-256", uri), host=host)
            assert wrong is not None
            assert wrong.status == 401
            for algorithm, challenge in zip(("SHA-256", "MD5"), asked, strict=True):
                right = link.invite(credentials(challenge, "sesame", algorithm, uri), host=host)
                assert right is not None
                assert right.status == 200
            link.close()
        assert settled(one, "delta", 4)
