"""Find the customer of a call from its source, its certificate and its destination; pure.

A customer is a candidate if one of its certificates authenticates the connection, if its sources cover the address, or,
for a customer that has neither, if the Request-URI names one of its domains (anybody can write a domain; such a
customer must require a password, `digest`). Of several candidates the one named by domain wins, then the one with a
certificate, then the one with the narrowest network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from recorder.config.model import Customer

_MAPPED = "::ffff:"
_MAPPED_BITS = 0xFFFF  # the upper 96 bits of an IPv4 address written as IPv6
# addresses parsed once for all their datagrams; a node has some dozens of SBCs, a flood any number
MAX_NUMBERS = 10_000


@dataclass(frozen=True, slots=True, order=True)
class _Claim:
    """How well a customer matches; a greater value wins."""

    by_domain: bool
    by_certificate: bool
    prefix: int  # bits of the network that covers the source, IPv4 counted as IPv6; -1: none does


class CustomerLookup:
    """The customers of a configuration, indexed for a look-up with every datagram and INVITE."""

    def __init__(self, customers: Iterable[Customer]) -> None:
        self.customers = tuple(customers)
        self._open = any(_domains_only(customer) for customer in self.customers)
        self._networks = _index(self.customers)
        self._lengths = tuple(sorted({length for length, _ in self._networks}))
        self._domains = {customer.name: customer.domains for customer in self.customers}
        self._judged: dict[tuple[str, str, tuple[str, ...]], bool] = {}
        self._covered: dict[str, tuple[tuple[str, int], ...]] = {}

    def customer_of(
        self, source: str, certificate_names: Iterable[str] = (), request_domain: str | None = None
    ) -> str | None:
        """Return the name of the customer whose call comes from the address `source`; None: refuse it with 403."""
        covering = dict(self._covering(source))
        names = [name.lower().rstrip(".") for name in certificate_names]
        domain = (request_domain or "").lower().rstrip(".").strip("[]")
        best: tuple[_Claim, Customer] | None = None
        for customer in self.customers:
            claim = _claim(customer, covering.get(customer.name, -1), names, domain)
            if claim is not None and (best is None or claim > best[0]):
                best = (claim, customer)
        return best[1].name if best else None

    def may_be(self, owner: str, source: str, certificate_names: Iterable[str] = ()) -> bool:
        """Return whether an INVITE from there could be this customer's call, given a domain of that customer.

        Later requests in a dialog are checked with this: their Request-URI is our address and names no domain.
        """
        key = (owner, source, tuple(certificate_names))
        found = self._judged.get(key)
        if found is None:
            if len(self._judged) >= MAX_NUMBERS:
                self._judged.clear()
            domains = (None, *self._domains[owner]) if owner in self._domains else ()
            found = any(self.customer_of(source, key[2], domain) == owner for domain in domains)
            self._judged[key] = found
        return found

    def only(self, source: str, certificate_names: Iterable[str] = ()) -> str | None:
        """Return the one customer whose request can come from there, whatever domain it names; None: not just one."""
        covering = dict(self._covering(source))
        names = [name.lower().rstrip(".") for name in certificate_names]
        found = [c for c in self.customers if _claim(c, covering.get(c.name, -1), names, "") is not None]
        if len(found) > 1 and not any(customer.domains for customer in found):
            return self.customer_of(source, names)  # certificate and narrowest network decide
        return found[0].name if len(found) == 1 else None

    def knows(self, source: str, certificate_names: Iterable[str] = ()) -> bool:
        """Return whether any customer's call can come from there; an unknown peer gets one answer on a connection."""
        names = {name.lower().rstrip(".") for name in certificate_names}
        vouched = bool(names) and any(names.intersection(customer.certificates) for customer in self.customers)
        return self._open or vouched or self.covers(source)

    def covers(self, source: str) -> bool:
        """Return whether an address is among any customer's sources."""
        return bool(self._covering(source))

    def elsewhere(self, owner: str, source: str, certificate_names: Iterable[str] = ()) -> bool:
        """Return whether an address is among other customers' sources and no call of this customer can come from it."""
        return self.covers(source) and not self.may_be(owner, source, certificate_names)

    def admits(self, transport: str, source: str) -> bool:
        """Return whether to answer a source at all: over UDP, strangers get no answer.

        On a connection the peer has proven its address, so it gets one proper refusal. A customer known only by domain
        may call from anywhere; if there is one, every source is admitted.
        """
        return transport != "udp" or self._open or self.covers(source)

    def _covering(self, source: str) -> tuple[tuple[str, int], ...]:
        """Return (customer, prefix length) of every network that contains an address, the widest first."""
        found = self._covered.get(source)
        if found is None:
            if len(self._covered) >= MAX_NUMBERS:
                self._covered.clear()
            found = self._covered[source] = tuple(self._containing(_number(source)))
        return found

    def _containing(self, value: int | None) -> Iterator[tuple[str, int]]:
        if value is None:
            return
        least = 96 if value >> 32 == _MAPPED_BITS else 0  # ::/0 means all of IPv6, not IPv4 as well
        for length in self._lengths:
            if length < least:
                continue
            for name in self._networks.get((length, value >> (128 - length)), ()):
                yield name, length


def normal_address(source: str) -> str:
    """Return an address without its zone and without the `::ffff:` that IPv4 has on an IPv6 socket."""
    bare = source.partition("%")[0].strip("[]").lower()
    if not bare.startswith(_MAPPED):
        return bare
    try:
        return str(ipaddress.IPv6Address(bare).ipv4_mapped or bare)
    except ValueError:
        return bare


def _domains_only(customer: Customer) -> bool:
    return bool(customer.domains) and not (customer.sources or customer.certificates)


def _claim(customer: Customer, prefix: int, names: list[str], domain: str) -> _Claim | None:
    """Return how the customer matches; None if it is not a candidate."""
    by_domain = domain in customer.domains
    by_certificate = any(name in customer.certificates for name in names)
    if by_certificate or prefix >= 0 or (by_domain and _domains_only(customer)):
        return _Claim(by_domain, by_certificate, prefix)
    return None


def _index(customers: Iterable[Customer]) -> dict[tuple[int, int], tuple[str, ...]]:
    """Return (prefix length, network bits) -> names of customers; one look-up per length, however many networks."""
    networks: dict[tuple[int, int], tuple[str, ...]] = {}
    for customer in customers:
        for network in customer.sources:
            length = network.prefixlen + (96 if network.version == 4 else 0)
            value = _number(str(network.network_address)) or 0
            key = (length, value >> (128 - length))
            networks[key] = (*networks.get(key, ()), customer.name)
    return networks


@lru_cache(MAX_NUMBERS)
def _number(source: str) -> int | None:
    """Return an address as 128 bits, IPv4 as `::ffff:a.b.c.d`; None if it is invalid."""
    try:
        address = ipaddress.ip_address(normal_address(source))
    except ValueError:
        return None
    return int(address) + (_MAPPED_BITS << 32 if address.version == 4 else 0)
