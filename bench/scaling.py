"""The needs of many nodes and calls, computed from the measured cost of one call: `python -m bench.scaling`.

docs/scaling.md contains the output; a test compares them. `--nodes`, `--calls` and others change the assumptions.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

DAY, MONTH = 86_400, 30 * 86_400
PORTS = 65_536 - 1_024
"""Unprivileged UDP ports of one address."""
SOCKETS_A_STREAM = 2
"""Sockets of a stream, RTP and RTCP; the recorder opens both."""
PARTITION_PUTS, PARTITION_GETS = 3_500, 5_500
"""Requests a second that S3 promises for each prefix."""
TIERS = ((50e3, 0.023), (500e3, 0.022), (float("inf"), 0.021))
"""List prices of S3 Standard, us-east-1: up to this many GB in total, US dollars per GB and month."""
PUT_PRICE, GET_PRICE = 0.005 / 1000, 0.0004 / 1000
"""US dollars per PUT or LIST, and per GET or HEAD; a DELETE costs nothing."""


@dataclass(frozen=True)
class Wanted:
    """The load that the nodes must carry."""

    nodes: int = 100
    """Nodes."""
    calls: int = 2_000_000
    """Simultaneous calls in the busiest hour."""
    call_seconds: float = 180.0
    """Mean length of a call."""
    average: float = 1 / 3
    """Mean load of a month, as a share of the load of the busiest hour."""
    holders: int = 4
    """Nodes that record for one customer: 2 to 5."""
    customers: int = 1_000
    """Customers of the same size."""
    retention_days: int = 180
    """Days for which a call is kept."""
    part_seconds: float = 300.0
    """Seconds after which a live call begins a new part."""


@dataclass(frozen=True)
class Costs:
    """The measured costs, each with its section of docs/performance.md, or from `make bench BENCH=cluster`."""

    packet_us: float = 3.31
    """CPU microseconds per packet (Capacity, 200 calls)."""
    upload_us: float = 0.0
    """CPU microseconds per packet for the upload."""
    setup_ms: float = 3.3
    """CPU ms per call, INVITE to BYE (Set-up, 300 a second)."""
    memory_kib: float = 27.6
    """KiB per call (Capacity)."""
    wire_bytes: float = 228.0
    """Bytes of the Ethernet frame of a packet: 160 of G.711, RTP, SRTP's tag, UDP, IPv4."""
    kept_bytes: float = 160 * 1.022
    """Bytes on disk per packet (By codec and suite)."""
    rows: float = 2.0
    """Writes of a call's row: one while it is live, one at its end."""
    wal_bytes: float = 7_054.0
    """Bytes of the write-ahead log per call, without page images."""
    row_bytes: float = 3_430.0
    """Bytes of the index per call, in PostgreSQL."""
    server_ms: float = 0.75
    """CPU ms of the database server per call."""
    lock_ms: float = 9.3
    """CPU ms of node and server while an index transaction holds its database's lock."""
    lock_row_ms: float = 0.31
    """The same for each call in the transaction."""
    sync_ms: float = 2.0
    """The same for network and sync of the commit; not measured: assumes a write cache and 0.2 ms of network."""
    poll_ms: float = 0.83
    """CPU ms of the database server for the polls of one of several nodes in a second, for a customer without calls."""
    polls: float = 2.1
    """Transactions of those polls."""
    node_ms: float = 5.67
    """CPU ms of the node for those polls."""
    puts: float = 1.0
    """PUTs per part."""
    heads: float = 0.6
    """HEADs per part, before the local copy is deleted."""
    lists: float = 6.0
    """LISTs per erased call: of objects and of versions, before, after and once more."""
    connections: int = 4
    """Connections of a node to a customer's database."""


@dataclass(frozen=True)
class Line:
    """One figure."""

    what: str
    value: str
    limit: str = ""
    share: float = 0.0
    """Share of its limit; above 1, the limit is exceeded."""


def a_node(want: Wanted, cost: Costs) -> Iterator[Line]:
    """Compute one node."""
    calls = want.calls / want.nodes
    packets = 100 * calls
    yield Line("simultaneous calls", f"{calls:,.0f}")
    media = packets * (cost.packet_us + cost.upload_us) / 1e6
    yield Line("packets a second", f"{packets:,.0f}")
    yield Line("cores for media and upload", f"{media:.1f}", "16 cores", media / 16)
    bits = packets * cost.wire_bytes * 8 / 1e9
    yield Line("received, Gbit/s", f"{bits:.1f}", "10", bits / 10)
    written = packets * cost.kept_bytes
    yield Line("written to disk and to the store, MB/s", f"{written / 1e6:,.0f}", "1,000", written / 1e9)
    setups = calls / want.call_seconds
    main = setups * cost.setup_ms / 1000
    yield Line("set-ups a second", f"{setups:,.0f}", "300, measured", setups / 300)
    yield Line("of the main process's one thread: set-ups", f"{main:.0%}", "100 %", main)
    mine = want.customers * want.holders / want.nodes
    looking = mine * cost.node_ms / 1000
    yield Line(f"of the same thread: looking after {mine:.0f} customers", f"{looking:.0%}", "100 %", looking)
    yield Line("memory for calls, MiB", f"{calls * cost.memory_kib / 1024:,.0f}")
    ports = calls * 2 * SOCKETS_A_STREAM
    yield Line("UDP ports", f"{ports:,.0f}", f"{PORTS:,} of one address", ports / PORTS)


def a_database(want: Wanted, cost: Costs) -> Iterator[Line]:
    """Compute the database of one customer, and the server of one group of nodes."""
    groups = want.nodes / want.holders
    setups = want.calls / want.call_seconds
    mine = setups / want.customers
    few = [1, want.customers]
    for customers in few:
        rate = setups / customers * cost.rows
        batches = min(want.holders / 0.6, rate)  # it pauses for 0.5 s and collects for 0.1 s
        busy = (batches * (cost.lock_ms + cost.sync_ms) + rate * cost.lock_row_ms) / 1000
        name = "one customer with all calls" if customers == 1 else f"one of {customers:,} customers"
        yield Line(f"lock of {name}: rows a second", f"{rate:,.0f}")
        yield Line(f"lock of {name}: held", f"{busy:.1%}", "100 %", busy)
    most = (1 - want.holders / 2.1 * (cost.lock_ms + cost.sync_ms) / 1000) / cost.lock_row_ms * 1000 / cost.rows
    yield Line("calls a second until the lock of a customer is always held", f"{most:,.0f}", "", mine / most)
    yield Line("so many simultaneous calls", f"{most * want.call_seconds:,.0f}")
    yield Line(f"servers, one for {want.holders} nodes", f"{groups:,.0f}")
    here = want.customers / groups
    yield Line("of one server: calls a second", f"{setups / groups:,.0f}")
    cores = setups / groups * cost.server_ms / 1000
    yield Line("of one server: cores for calls", f"{cores:.1f}", "16 cores", cores / 16)
    polls = here * want.holders
    yield Line("of one server: transactions of idle customers a second", f"{polls * cost.polls:,.0f}")
    yield Line("of one server: cores for them", f"{polls * cost.poll_ms / 1000:.2f}")
    yield Line("of one server: connections", f"{polls * cost.connections:,.0f}", "500", polls * cost.connections / 500)
    yield Line("of one server: write-ahead log, MB/s", f"{setups / groups * cost.wal_bytes / 1e6:.1f}")
    kept = setups * want.average * DAY * want.retention_days / groups
    yield Line("of one server: calls in the index", f"{kept / 1e6:,.0f} M")
    yield Line("of one server: index, TB", f"{kept * cost.row_bytes / 1e12:.2f}", "4", kept * cost.row_bytes / 4e12)
    everywhere = want.nodes * want.customers
    yield Line("if every node served every customer: polls a second", f"{everywhere * cost.polls:,.0f}")
    yield Line("if every node served every customer: connections", f"{everywhere * cost.connections:,.0f}")


def a_store(want: Wanted, cost: Costs) -> Iterator[Line]:
    """Compute the object store of all nodes, and its price."""
    setups = want.calls / want.call_seconds
    parts = 1 + max(1.0, want.call_seconds / want.part_seconds)
    puts = setups * parts * cost.puts
    yield Line("parts a call", f"{parts:.1f}")
    yield Line(
        "PUTs a second", f"{puts:,.0f}", f"{PARTITION_PUTS:,} a prefix: {math.ceil(puts / PARTITION_PUTS)} prefixes"
    )
    gets = setups * parts * cost.heads
    yield Line("HEADs and GETs a second", f"{gets:,.0f}", f"{PARTITION_GETS:,} a prefix")
    written = 100 * want.calls * cost.kept_bytes
    yield Line("bytes a second", f"{written / 1e9:.1f} GB")
    kept = written * want.average * DAY * want.retention_days
    yield Line(f"kept for {want.retention_days} days", f"{kept / 1e15:,.1f} PB")
    storage = _tiered(kept / 1e9)
    calls = setups * want.average * MONTH
    requests = calls * (parts * (cost.puts * PUT_PRICE + cost.heads * GET_PRICE) + cost.lists * PUT_PRICE)
    yield Line("calls a month", f"{calls / 1e9:.1f} G")
    yield Line("storage a month", f"${storage:,.0f}")
    yield Line("requests a month", f"${requests:,.0f}")
    yield Line("a call, its storage included", f"${(storage + requests) / calls:.6f}")
    short = 1 + max(1.0, want.call_seconds / 60)
    more = calls * (short - parts) * (cost.puts * PUT_PRICE + cost.heads * GET_PRICE)
    yield Line("requests a month with part_seconds = 60", f"${requests + more:,.0f}")


def _tiered(gigabytes: float) -> float:
    total, begin = 0.0, 0.0
    for end, price in TIERS:
        total += max(0.0, min(gigabytes, end) - begin) * price
        begin = end
    return total


def table(title: str, lines: Sequence[Line]) -> str:
    """Return a Markdown table."""
    rows = [f"| {line.what} | {line.value} | {_share(line)} |" for line in lines]
    return "\n".join([f"| {title} | | limit |", "|---|---|---|", *rows])


def _share(line: Line) -> str:
    if not line.share or not line.limit:
        return line.limit
    return f"{line.limit}: {'**' if line.share > 1 else ''}{line.share:.0%}{'**' if line.share > 1 else ''}"


def tables(want: Wanted, cost: Costs) -> list[str]:
    """Return all tables."""
    made = (("one node", a_node), ("databases", a_database), ("object store", a_store))
    return [table(title, list(each(want, cost))) for title, each in made]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="bench.scaling", description=__doc__.partition("\n")[0])
    for kind in (Wanted, Costs):
        for each in fields(kind):
            parser.add_argument(f"--{each.name.replace('_', '-')}", type=float, help=f"default {each.default}")
    given = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    want = replace(Wanted(), **{each.name: given[each.name] for each in fields(Wanted) if each.name in given})
    cost = replace(Costs(), **{each.name: given[each.name] for each in fields(Costs) if each.name in given})
    print("\n\n".join(tables(want, cost)))


if __name__ == "__main__":
    main()
