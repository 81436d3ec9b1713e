"""Where plain RTP may come from, and what a payload type is."""

from dataclasses import replace

import pytest

from media.spec import Allowed, Dtls, StreamSpec, pack_ip


@pytest.mark.parametrize(
    ("source", "networks", "address", "allowed"),
    [
        (("192.0.2.1", 4000), (), "192.0.2.1", True),
        (("192.0.2.1", 4000), (), "192.0.2.2", False),
        (("192.0.2.1", 4000), (), "::ffff:192.0.2.1", True),
        (None, (), "192.0.2.1", False),
        (("192.0.2.1", 4000), ("198.51.100.0/24",), "198.51.100.9", True),
        (("192.0.2.1", 4000), ("198.51.100.0/24",), "198.51.101.9", False),
        (("2001:db8::1", 4000), ("2001:db8:1::/48",), "2001:db8:1::9", True),
        (("2001:db8::1", 4000), ("10.0.0.0/8",), "2001:db8::2", False),
        (("[2001:db8::1]", 4000), (), "2001:db8::1", True),
    ],
)
def test_only_the_offered_address_and_configured_networks_count(
    source: tuple[str, int] | None, networks: tuple[str, ...], address: str, allowed: bool
) -> None:
    assert (pack_ip(address) in Allowed.of(StreamSpec(0, source=source, networks=networks))) is allowed


def test_an_unknown_payload_type_counts_8000_a_second() -> None:
    spec = StreamSpec(0, payloads=((111, "opus", 48000), (9, "G722", 0)))
    assert [spec.codec(n) for n in (111, 9, 77)] == [("opus", 48000), ("G722", 8000), ("", 8000)]
    assert StreamSpec(1, payloads=(*spec.payloads[:1], *spec.payloads[1:])).payloads is spec.payloads  # kept once


def test_an_association_is_known_by_fingerprints_id_and_role_d6() -> None:
    one = Dtls(("sha-256 AA", "sha-1 BB"), "x", True)
    assert one.same(replace(one, fingerprints=("sha-1 BB", "sha-256 AA"), rtp=False, renews=True))
    others: list[dict[str, object]] = [
        {"tls_id": "y"}, {"active": False}, {"identity": b"another key of ours"}, {"fingerprints": ("sha-256 AA",)},
    ]  # fmt: skip
    assert not any(one.same(replace(one, **other)) for other in others)  # type: ignore[arg-type]  # fields of each kind
    assert "secret" not in repr(replace(one, identity=b"secret"))
