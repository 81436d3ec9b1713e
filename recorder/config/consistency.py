"""Rules between configured values; each is a function that yields the faults it finds."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from recorder.config.faults import Fault
from recorder.config.model import Settings, Storage
from recorder.config.value_readers import Listener, Transport

_UNREACHABLE = "this customer needs sources, certificates or domains, or no call is recorded for it"

_ANYBODY = (
    "a file of users, or add sources or certificates: anybody can send a call to a domain, so a domain alone needs "
    "passwords"
)


def faults(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that shows only in several values together."""
    for rule in _RULES:
        yield from rule(settings)


def _folders(settings: Settings) -> Iterator[Fault]:
    data, runtime = settings.node.data_dir, settings.node.runtime_dir
    if data == runtime or data in runtime.parents or runtime in data.parents:
        yield Fault("node.runtime_dir", str(runtime), "a folder apart from data_dir, on a tmpfs")


def _root_key_apart(settings: Settings) -> Iterator[Fault]:
    """Keep the root secret off the data disk; data_dir/keys is acceptable, because backups leave it out."""
    scheme, _, path = settings.keys.root.partition(":")
    data = str(settings.node.data_dir)
    if scheme == "file" and path.startswith(data + "/") and not path.startswith(data + "/keys/"):
        yield Fault("keys.root", path, "a file outside data_dir, or every backup opens every recording")


def _listeners_once(settings: Settings) -> Iterator[Fault]:
    """Refuse a listener that could not be bound beside one above; IPv6 sockets take no IPv4 (IPV6_V6ONLY)."""
    for index, item in enumerate(settings.sip.listen):
        for above in settings.sip.listen[:index]:
            alike = _kind(item) == _kind(above) and item.port == above.port
            if alike and _overlap(item.host, above.host):
                yield Fault(f"sip.listen[{index}]", str(item), f"another port: {above} above takes this one")
                break


def _kind(item: Listener) -> tuple[bool, bool]:
    """Return what tells the ports of two sockets apart: UDP or TCP, IPv6 or IPv4."""
    return item.transport is Transport.UDP, ":" in item.host


def _tls_certificate(settings: Settings) -> Iterator[Fault]:
    sip = settings.sip
    tls = any(item.transport is Transport.TLS for item in sip.listen)
    if tls and sip.certificate is None:
        yield Fault("sip.certificate", "nothing", "the path of a certificate, because sip.listen has a tls entry")
    if tls and sip.private_key is None:
        yield Fault("sip.private_key", "nothing", "the path of a private key, because sip.listen has a tls entry")


def _admin_certificate(settings: Settings) -> Iterator[Fault]:
    api = settings.admin_api
    if (api.certificate is None) != (api.private_key is None):
        missing = "certificate" if api.certificate is None else "private_key"
        yield Fault(f"admin_api.{missing}", "nothing", "set as well: certificate and private_key go together")
    elif api.certificate is None and not api.listen.loopback:
        yield Fault("admin_api.listen", str(api.listen), "a loopback address, or give certificate and private_key")


def _admin_port(settings: Settings) -> Iterator[Fault]:
    api = settings.admin_api.listen
    for item in settings.sip.listen:
        if item.transport is not Transport.UDP and item.port == api.port and _overlap(item.host, api.host):
            yield Fault("admin_api.listen", str(api), f"another port: {item} in sip.listen uses this one")


def _metrics_listener(settings: Settings) -> Iterator[Fault]:
    listen, api = settings.metrics.listen, settings.admin_api
    if listen is None:
        return
    if not listen.loopback and api.certificate is None:
        yield Fault(
            "metrics.listen", str(listen), "a loopback address, or give [admin_api] certificate and private_key"
        )
    others = [each for each in settings.sip.listen if each.transport is not Transport.UDP]
    taken = [("sip.listen", each.host) for each in others if each.port == listen.port]
    taken += [("admin_api.listen", api.listen.host)] if api.listen.port == listen.port else []
    for key, host in taken:
        if _overlap(host, listen.host):
            yield Fault("metrics.listen", str(listen), f"another port: {key} uses this one")


def _media_ports(settings: Settings) -> Iterator[Fault]:
    media = settings.media
    for item in settings.sip.listen:
        if item.transport is Transport.UDP and item.port in media.ports and _overlap(item.host, media.bind):
            yield Fault("media.ports", str(media.ports), f"a range without {item.port}, which sip.listen uses")


def _overlap(one: str, other: str) -> bool:
    """Return whether two sockets on one port would conflict."""
    return one == other or any(ipaddress.ip_address(host).is_unspecified for host in (one, other))


def _customers_there(settings: Settings) -> Iterator[Fault]:
    if not settings.customers:
        yield Fault("customer", "nothing", "at least one [[customer]]: without one every call is refused")


def _customers_reachable(settings: Settings) -> Iterator[Fault]:
    tls = any(item.transport is Transport.TLS for item in settings.sip.listen)
    for index, customer in enumerate(settings.customers):
        key = f"customer[{index}]"
        if not (customer.sources or customer.certificates or customer.domains):
            yield Fault(f"{key}.sources", "nothing", _UNREACHABLE)
        if customer.domains and not (customer.sources or customer.certificates) and customer.digest is None:
            yield Fault(f"{key}.digest", "nothing", _ANYBODY)
        if customer.certificates and ((customer.client_ca or settings.sip.client_ca) is None or not tls):
            yield Fault(f"{key}.certificates", "", "needs a client_ca and a tls entry in sip.listen")
        if customer.client_ca and not customer.certificates:
            yield Fault(f"{key}.client_ca", "", "needs certificates: the names that this authority may vouch for")


def _countries(settings: Settings) -> Iterator[Fault]:
    """Refuse a country without telephone numbers: no national number could be read."""
    from storage.search_forms import is_country  # loads the world's numbering plans: only if a country is given

    for index, customer in enumerate(settings.customers):
        if customer.country and not is_country(customer.country):
            right = 'a country of ISO 3166-1 with telephone numbers, such as "DE" or "GB"'
            yield Fault(f"customer[{index}].country", f'"{customer.country}"', right)


def _customers_apart(settings: Settings) -> Iterator[Fault]:
    """Refuse a name, domain, certificate or (without domains) network that two customers have."""
    taken: dict[tuple[str, object], str] = {}
    for index, customer in enumerate(settings.customers):
        claims: list[tuple[str, object]] = [("name", customer.name)] if customer.name else []
        claims += [("certificates", value) for value in dict.fromkeys(customer.certificates)]
        claims += [("domains", value) for value in dict.fromkeys(customer.domains)]
        if not customer.domains:
            claims += [("sources", value) for value in dict.fromkeys(customer.sources)]
        for claim in claims:
            if claim in taken:
                right = f"the same as in {taken[claim]}; each customer needs its own"
                yield Fault(f"customer[{index}].{claim[0]}", f'"{claim[1]}"', right)
            taken.setdefault(claim, f"customer[{index}]")


def _directories(settings: Settings) -> Iterator[Fault]:
    """Check that each directory belongs to one known customer and has one credential."""
    names = [customer.name for customer in settings.customers]
    owners = [directory.customer for directory in settings.directories]
    for index, directory in enumerate(settings.directories):
        key = f"directory[{index}]"
        if directory.customer not in names:
            yield Fault(f"{key}.customer", f'"{directory.customer}"', "the name of a [[customer]]")
        elif directory.customer in owners[:index]:
            yield Fault(f"{key}.customer", f'"{directory.customer}"', "a customer without a [[directory]] above")
        if (directory.certificate is None) == (directory.secret is None):
            found = "nothing" if directory.secret is None else "both"
            yield Fault(f"{key}.certificate", found, "either certificate or secret, not both")
        if directory.secret_expires and directory.secret is None:
            yield Fault(f"{key}.secret_expires", "", "needs secret; for a certificate the date is known")
        if (directory.login is None) != (directory.graph is None):
            missing = "login" if directory.login is None else "graph"
            yield Fault(f"{key}.{missing}", "nothing", "set as well: login and graph go together")


def _sign_ins(settings: Settings) -> Iterator[Fault]:
    """Check that each provider belongs to a known customer, and that the address people return to is set."""
    names = [customer.name for customer in settings.customers]
    for index, sign_in in enumerate(settings.sign_ins):
        if sign_in.customer not in names:
            yield Fault(f"sign_in[{index}].customer", f'"{sign_in.customer}"', "the name of a [[customer]]")
        if sign_in.issuer and "openid" not in sign_in.scopes:
            yield Fault(f"sign_in[{index}].scopes", str(list(sign_in.scopes)), 'a list with "openid" in it')
    api = settings.admin_api
    if settings.sign_ins and api.address is None:
        right = 'the page\'s address, such as "https://rec.example:8443": [[sign_in]] sends people back to it'
        yield Fault("admin_api.address", "nothing", right)
    if api.address and api.address.startswith("http:") and not api.listen.loopback:
        yield Fault("admin_api.address", api.address, "an https address: only loopback is served without a certificate")


def _object_store(settings: Settings) -> Iterator[Fault]:
    """Check that an object store is described whole, and that recordings do not cross a network in the clear."""
    common = list(_described(settings.storage, "storage"))
    yield from common
    shared_names = {_name(fault) for fault in common}
    for index, customer in enumerate(settings.customers):
        own = customer.store
        for fault in _described(settings.storage_of(customer), f"customer[{index}]"):
            if own and (_name(fault) in own or _name(fault) not in shared_names):
                yield fault


def _name(fault: Fault) -> str:
    """Return the last part of a key."""
    return fault.key.rpartition(".")[2]


def _described(storage: Storage, place: str) -> Iterator[Fault]:
    """Check one description of an object store."""
    if storage.media == "s3" or storage.endpoint is not None:
        for name in ("endpoint", "bucket", "access_key", "secret_key"):
            if getattr(storage, name) is None:
                yield Fault(f"{place}.{name}", "nothing", "set as well: an object store needs it")
    if storage.lock != "off" and storage.endpoint is None:
        yield Fault(f"{place}.lock", f'"{storage.lock}"', '"off": only an object store locks')
    if storage.endpoint and storage.endpoint.startswith("http:") and not _is_loopback(storage.endpoint):
        yield Fault(f"{place}.endpoint", storage.endpoint, "an https address: http is for an object store on loopback")


def _several_nodes(settings: Settings) -> Iterator[Fault]:
    """Check that nodes which share databases share what they record, too."""
    number, storage = settings.node.number, settings.storage
    if number == 0:
        return
    because = f"because [node] number = {number} says that several nodes share the databases"
    if not storage.database.startswith("postgresql"):
        yield Fault("storage.database", storage.database, f"the URL of a PostgreSQL database, {because}")
    if storage.media != "s3":
        yield Fault("storage.media", f'"{storage.media}"', f'"s3", {because}')


def _is_loopback(origin: str) -> bool:
    """Return whether only this machine can be meant."""
    host = urlsplit(origin).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_RULES = (
    _folders,
    _root_key_apart,
    _listeners_once,
    _tls_certificate,
    _admin_certificate,
    _admin_port,
    _metrics_listener,
    _media_ports,
    _customers_there,
    _customers_reachable,
    _countries,
    _customers_apart,
    _directories,
    _sign_ins,
    _object_store,
    _several_nodes,
)
