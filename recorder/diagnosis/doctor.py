"""`recorder doctor`: all checks, in the order in which one looks for a fault: machine, recorder, SBCs, a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from recorder.config.installation import Installation
from recorder.config.model import Settings
from recorder.diagnosis import machine_checks, node_checks, sbc_checks, service_checks
from recorder.diagnosis.check import Check, Step, run_apart, unchecked
from recorder.trace.client import daemon_pid

SECONDS = 15.0
"""Time limit of a step: twice what the slowest one takes when a server does not answer."""
DISK_SECONDS = 10.0
CALL_SECONDS = 90.0
"""Time limit of the trial call: it waits for its answer, for the index and for its audio, all on a busy machine."""
GRACE_SECONDS = 15.0
"""Time limit of the watch for messages, beyond its length."""

STUCK_DISK = "The disk hangs: dmesg | tail; iostat -x 1"
STUCK = "Something hangs: dmesg | tail"


def diagnose(
    settings: Settings, config: Path, *, customer: str | None = None, sbcs: tuple[str, ...] = (), listen: float = 0.0
) -> list[Check]:
    """Make every check; never raises, and ends within the longest time limit.

    `customer`: place a trial call as this customer's. `sbcs`: SIP URIs to ask instead of the configured addresses.
    `listen`: seconds to watch for requests of SBCs.
    """

    how = Installation.of(config)
    stuck_here = f"{STUCK}; {how.status}"

    def step(name: str, make: Callable[[], Iterable[Check]], seconds: float = SECONDS, stuck: str = stuck_here) -> Step:
        return Step(name, make, seconds, stuck)

    steps = [
        step("sysctl", lambda: machine_checks.kernel(settings)),
        step("clock", machine_checks.clock),
        step("disk.data", lambda: machine_checks.data_disk(settings), DISK_SECONDS, STUCK_DISK),
        step("disk.runtime", lambda: machine_checks.runtime_disk(settings), DISK_SECONDS, STUCK_DISK),
        step("swap", lambda: machine_checks.swap(daemon_pid(settings), how)),
        step("start", lambda: service_checks.start(config), 2 * SECONDS),
        step("daemon", lambda: service_checks.daemon(settings)),
        step("port", lambda: service_checks.ports(settings)),
        step("certificate", lambda: service_checks.certificates(settings)),
        step("database", lambda: service_checks.database(settings)),
        step("object-store", lambda: service_checks.object_store(settings)),
        *([step("node", lambda: node_checks.nodes(settings))] if settings.node.number else []),
        step("sbc.to", lambda: sbc_checks.to_sbcs(settings, sbcs), 6 * SECONDS),
        step("sbc.from", lambda: sbc_checks.from_sbcs(settings, listen), listen + GRACE_SECONDS),
        step("trial-call", lambda: _call(settings, customer), CALL_SECONDS),
    ]
    return run_apart(steps)


def _call(settings: Settings, customer: str | None) -> Iterable[Check]:
    if customer is None:
        detail = "not asked for; it would stay in the customer's list of calls, unless a waiver permits to erase it"
        names = next((each.name for each in settings.customers), "CUSTOMER")
        remedy = Installation.of(settings.source).command(f"doctor --call {names}")
        return [unchecked("trial-call", detail, remedy)]
    from recorder.diagnosis.trial_call import trial_call  # loads what renders audio

    return trial_call(settings, customer)
