"""Checks of the SBCs: whether each answers OPTIONS and, with `--listen`, whether each sends anything."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

from recorder.config.installation import Installation
from recorder.config.model import Settings
from recorder.config.value_readers import Transport
from recorder.diagnosis.check import Check, ok, unchecked, warn
from recorder.errors import NotPossible
from recorder.simulate.agent import Agent
from recorder.simulate.dialog import AGENT, Dialog
from recorder.simulate.link import Unreachable
from recorder.simulate.plan import Plan
from recorder.trace.client import follow

ANSWER_SECONDS = 3.0
"""Time for an answer to OPTIONS: three transmissions over UDP."""
MAX_SBCS = 200
"""SBCs that are asked at most; a node has some dozens."""
AT_ONCE = 32
PORTS = {Transport.UDP: 5060, Transport.TCP: 5060, Transport.TLS: 5061}
"""Where an SBC listens if its URI has no port (RFC 3261 section 19.1.2)."""


def addresses(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the addresses that the configuration names one by one, and the networks whose SBCs it does not name."""
    single: list[str] = []
    networks: list[str] = []
    for source in dict.fromkeys(source for customer in settings.customers for source in customer.sources):
        if source.num_addresses > 1:
            networks.append(str(source))
        elif not _ours(str(source.network_address)):
            single.append(str(source.network_address))
    return single, networks


def _ours(host: str) -> bool:
    """Return whether an address belongs to this machine, whose own recorder would answer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def to_sbcs(settings: Settings, named: tuple[str, ...]) -> Iterator[Check]:
    """Send OPTIONS to each SBC over the transports that the recorder offers; `named`: SIP URIs to ask instead."""
    if named:
        yield from asyncio.run(_ask_each([(f"sbc.{_shown(uri)}.to", [uri]) for uri in named], settings))
        return
    how = Installation.of(settings.source)
    single, networks = addresses(settings)
    transports = list(dict.fromkeys(each.transport for each in settings.sip.listen))
    wanted = [
        (f"sbc.{host}.to", [f"sip:{_bracketed(host)}:{PORTS[each]};transport={each.value}" for each in transports])
        for host in single[:MAX_SBCS]
    ]
    yield from asyncio.run(_ask_each(wanted, settings))
    for network in networks:
        remedy = how.command("doctor --sbc 'sip:ADDRESS:5060;transport=udp'")
        detail = "a network: the configuration does not say which of its addresses are SBCs"
        yield unchecked(f"sbc.{network}.to", detail, remedy)
    for customer in settings.customers:
        if not customer.sources:
            remedy = how.command("doctor --sbc 'sip:ADDRESS:5061;transport=tls'")
            detail = "its SBCs are known by certificate or password; their addresses are not configured"
            yield unchecked(f"sbc.{customer.name}.to", detail, remedy)
    if not single and not networks:
        detail = "no customer has another machine among its sources"
        yield unchecked("sbc.to", detail, "Add the SBC to sources of its customer.")


async def _ask_each(wanted: list[tuple[str, list[str]]], settings: Settings) -> list[Check]:
    turn, how = asyncio.Semaphore(AT_ONCE), Installation.of(settings.source)

    async def ask(name: str, uris: list[str]) -> Check:
        async with turn:
            answers = await asyncio.gather(*(_options(uri, settings) for uri in uris))
        answered = [each for each in answers if each]
        if answered:
            return ok(name, "; ".join(answered))
        asked = how.command("doctor --sbc 'sip:ADDRESS:PORT;transport=tcp'")
        tried = " nor ".join(uri.partition(":")[2].replace(";transport=", " over ") for uri in uris)
        remedy = (
            "If calls arrive, there is nothing to do: many SBCs do not answer OPTIONS. Otherwise ping it, look at its "
            f"access list, and try another port: {asked}"
        )
        return warn(name, f"no answer to OPTIONS at {tried}", remedy)

    return await asyncio.gather(*(ask(name, uris) for name, uris in wanted))


async def _options(uri: str, settings: Settings) -> str | None:
    """Return the answer to OPTIONS and its time as text, None if there was no answer."""
    sip = settings.sip
    plan = Plan(
        uri, setup_timeout=ANSWER_SECONDS, insecure=True, certificate=sip.certificate, private_key=sip.private_key
    )
    agent = Agent(plan)
    try:
        async with asyncio.timeout(2 * ANSWER_SECONDS):
            await agent.start()
            me = agent.me
            sender = f"<sip:{AGENT}@{me.host}>;tag={secrets.token_hex(6)}"
            dialog = Dialog(uri, f"<{uri.partition(';')[0]}>", sender, f"{secrets.token_hex(12)}@{me.host}")
            answer, took = await agent.ask(dialog.request("OPTIONS", me, agent.branch()), ANSWER_SECONDS)
    except (Unreachable, TimeoutError, OSError):
        return None
    finally:
        await agent.close()
    return f"{answer.status} over {plan.carrier} after {took * 1000:.0f} ms" if answer else None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _shown(uri: str) -> str:
    return uri.partition(":")[2].partition(";")[0].rpartition("@")[2]


# ---- from SBCs ----
def from_sbcs(settings: Settings, seconds: float) -> Iterator[Check]:
    """Count by source the messages that arrive within this many seconds; 0: do not watch."""
    single, networks = addresses(settings)
    if not seconds:
        how = Installation.of(settings.source)
        remedy = f"{how.command('doctor --listen 60s')}; most SBCs send OPTIONS every 30 to 60 s."
        yield unchecked("sbc.from", "not watched: to see whether SBCs send anything takes a minute", remedy)
        return
    came: Counter[str] = Counter()
    unwanted: Counter[str] = Counter()

    def take(line: dict[str, Any]) -> None:
        host = _host(line["peer"])
        if line["way"] == "received":
            came[host] += 1
        elif line["way"] == "note":
            unwanted[f"{host}: {line['text'].strip()}"] += 1

    try:
        follow(settings, seconds, None, take)
    except NotPossible as problem:
        yield unchecked("sbc.from", str(problem), problem.hint)
        return
    known = [ipaddress.ip_network(each) for each in networks]
    found = [host for host in came if host not in single and any(_within(host, each) for each in known)]
    for host in [*single, *found][:MAX_SBCS]:
        if came[host]:
            yield ok(f"sbc.{host}.from", f"{came[host]} messages in {seconds:g} s")
        else:
            remedy = "At the SBC: is OPTIONS (keep-alive) on, and the recorder's address right? Is there a firewall?"
            yield warn(f"sbc.{host}.from", f"nothing in {seconds:g} s", remedy)
    for what, count in unwanted.most_common(20):
        remedy = "docs/sbc.md explains each refusal. If no customer has this source yet, add it to sources."
        yield warn("sbc.refused", f"{what} ({count} times)", remedy)


def _host(peer: str) -> str:
    """Return the address of a peer without its port."""
    return peer.partition("]")[0].strip("[") if peer.startswith("[") else peer.partition(":")[0]


def _within(host: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False
