"""Counters and gauges of the daemon (docs/operations.md, "Watch"); labels never hold personal data."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

RTP_RESULTS = ("stored", "rejected", "foreign", "late", "duplicate")


class Metrics:
    """All metrics of one daemon, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.calls_active = Gauge("recorder_calls_active", "Calls being recorded", registry=registry)
        self.calls = Counter("recorder_calls", "Calls by how they ended", ["result"], registry=registry)
        self.rtp = Counter("recorder_rtp_packets", "RTP packets by what became of them", ["result"], registry=registry)
        self.rtp_lost = Counter("recorder_rtp_lost", "RTP packets that never arrived", registry=registry)
        self.gaps = Counter("recorder_gap_seconds", "Seconds of audio that are missing", registry=registry)
        self.storage_state = Gauge("recorder_storage_state", "1 while recordings can be stored", registry=registry)
        self.worker_busy = Gauge(
            "recorder_worker_busy_ratio", "Busy share of each media worker", ["worker"], registry=registry
        )
        self.oldest_unindexed = Gauge(
            "recorder_oldest_unindexed_seconds", "Age of the oldest change that is not in the index", registry=registry
        )
        self.customers_away = Gauge(
            "recorder_customers_away", "Customers that cannot be served, or their data", registry=registry
        )
        self.index_refused = Counter(
            "recorder_index_refused", "Calls that the index refused while it took others", registry=registry
        )
        self.sip_refused = Counter(
            "recorder_sip_refused", "Requests refused", ["method", "status", "reason"], registry=registry
        )
        self.sip_dropped = Counter("recorder_sip_dropped", "Input that got no answer", ["reason"], registry=registry)
        self.api_dropped = Counter(
            "recorder_api_dropped", "Connections to the API that failed", ["reason"], registry=registry
        )
        self.sip_marks = Counter("recorder_sip_marks", "INVITEs by the marks they carry", ["marks"], registry=registry)
        self.inferred_owners = Counter(
            "recorder_inferred_owners", "Streams whose owner was inferred, not stated", registry=registry
        )
        self.dtls = Counter("recorder_dtls_handshakes", "DTLS-SRTP handshakes by result", ["result"], registry=registry)
        self.dtls.labels("keyed")
        self.worker_restarts = Counter("recorder_worker_restarts", "Media workers replaced", registry=registry)
        self.log_suppressed = Counter(
            "recorder_log_suppressed", "Log lines held back by the rate limit", registry=registry
        )
        for result in RTP_RESULTS:
            self.rtp.labels(result)
        for result in ("complete", "interrupted", "refused"):
            self.calls.labels(result)
        self.storage_state.set(1)

    def watch(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Read a gauge at each scrape."""
        gauge.set_function(value)

    def page(self) -> bytes:
        """Return the text for a scrape."""
        return generate_latest(self.registry)
