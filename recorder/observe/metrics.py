"""Counters and gauges of the daemon (docs/operations.md, "Watch"); labels never hold personal data."""

from __future__ import annotations

from collections.abc import Callable
from math import nan

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from recorder.runtime.version import VERSION, commit

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, which nobody asks for

SETUP_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Limits of the set-up histogram: T1 of SIP is half a second, after which a client sends its INVITE again."""

RTP_RESULTS = ("stored", "rejected", "foreign", "late", "duplicate")


class Metrics:
    """All metrics of one daemon.

    Calls are counted twice: for the listener that everybody may read, and by customer for the one of [metrics].
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._public, self._by_customer = CollectorRegistry(), CollectorRegistry()
        self.calls_active = Gauge("recorder_calls_active", "Calls being recorded", registry=self._public)
        self._calls = Counter("recorder_calls", "Calls by how they ended", ["result"], registry=self._public)
        self.customer_calls_active = Gauge(
            "recorder_calls_active", "Calls being recorded", ["customer"], registry=self._by_customer
        )
        self._customer_calls = Counter(
            "recorder_calls", "Calls by how they ended", ["customer", "result"], registry=self._by_customer
        )
        self.setup = Histogram(
            "recorder_setup_seconds", "Time from INVITE to its first success", buckets=SETUP_SECONDS, registry=registry
        )
        self.certificate_expiry = Gauge(
            "recorder_certificate_expiry_seconds", "Time until a certificate expires", ["use"], registry=registry
        )
        self.disk_free = Gauge("recorder_disk_free_bytes", "Free bytes of a folder", ["folder"], registry=registry)
        self.disk_inodes = Gauge("recorder_disk_free_inodes", "Free inodes of a folder", ["folder"], registry=registry)
        self.key_backup_age = Gauge(
            "recorder_key_backup_age_seconds", "Time since the keys were backed up; NaN if never", registry=registry
        )
        self.verify_age = Gauge(
            "recorder_verify_age_seconds",
            "Time since recorder verify read everything and found no defect; NaN if never",
            registry=registry,
        )
        for age in (self.key_backup_age, self.verify_age):
            age.set(nan)  # until somebody has looked
        build = Gauge("recorder_build_info", "The version that runs", ["version", "commit"], registry=registry)
        build.labels(VERSION, commit() or "").set(1)
        ProcessCollector(registry=registry)  # of the main process
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
        self.parts_waiting = Gauge(
            "recorder_parts_waiting", "Finished parts that the object store does not have yet", registry=registry
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
        self.incidents = Counter("recorder_incidents", "Incidents by their kind", ["kind"], registry=registry)
        self.erased = Counter("recorder_erased_calls", "Calls that were erased and verified so", registry=registry)
        self.retention_age = Gauge(
            "recorder_retention_age_seconds", "Time since retention ran for every customer", registry=registry
        )
        self.retention_age.set(nan)  # until the jobs have begun
        self.log_suppressed = Counter(
            "recorder_log_suppressed", "Log lines held back by the rate limit", registry=registry
        )
        for result in RTP_RESULTS:
            self.rtp.labels(result)
        for result in ("complete", "interrupted", "refused"):
            self._calls.labels(result)
        self.storage_state.set(1)

    def watch(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Read a gauge at each scrape."""
        gauge.set_function(value)

    def call(self, result: str, customer: str | None) -> None:
        """Count a call that has ended or was refused; `customer` None: a call of no customer."""
        self._calls.labels(result).inc()
        self._customer_calls.labels(customer or "", result).inc()

    def page(self, *, by_customer: bool = False) -> bytes:
        """Return the text for a scrape."""
        return generate_latest(self.registry) + generate_latest(self._by_customer if by_customer else self._public)
