"""Write config/grafana.json, the Grafana dashboard of the metrics in docs/operations.md, "Watch": `make dashboard`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)

FILE = Path(__file__).with_suffix(".json")

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
SELECTED = 'job=~"$job", instance=~"$instance"'
EVERY = "[$__rate_interval]"

DAY = 86_400
FOREVER = 365 * DAY
"""A disk that does not fill within a year is shown as one that fills in a year."""
TREND = "[6h]"
"""What the alert RecorderDiskFills looks at."""

GREEN, AMBER, RED = "green", "orange", "red"

Query = tuple[str, str]
"""PromQL, and the name of its series in the legend."""


def of(metric: str, *more: str) -> str:
    """Select a metric of the chosen recorders."""
    return f"{metric}{{{', '.join([SELECTED, *more])}}}"


def of_customers(metric: str, *more: str) -> str:
    """Select a metric that [metrics] listen counts by customer; without the label every customer matches."""
    return of(metric, 'customer=~"$customer"', *more)


def grown(metric: str, by: str) -> str:
    """Return by how much counters grew within a step of the graph, by some labels."""
    return f"sum by ({by}) (increase({of(metric)}{EVERY}))"


def worst(which: str, metric: str) -> str:
    """Return the least or greatest value (min, max), NaN if any is NaN, which min and max pass over."""
    return f"{which}({of(metric)}) + 0 * sum({of(metric)})"


def answered_within(quantile: float) -> str:
    """Return the time within which a share of the INVITEs had their success."""
    return f"histogram_quantile({quantile}, sum by (le) (rate({of('recorder_setup_seconds_bucket')}{EVERY})))"


def until_full(free: str, least: str) -> str:
    """Return the seconds until a folder is full at the pace of the last hours, which is `least` a second or more."""
    return f"clamp_max({of(free)} / clamp_min(-deriv({of(free)}{TREND}), {least}), {FOREVER})"


LOST, STORED = (
    f"sum by (instance) (rate({selected}{EVERY}))"
    for selected in (of("recorder_rtp_lost_total"), of("recorder_rtp_packets_total", 'result="stored"'))
)

UNTIL_FULL = (
    (until_full("recorder_disk_free_bytes", "1"), "{{instance}} {{folder}}: bytes"),
    (until_full("recorder_disk_free_inodes", f"1 / {DAY}"), "{{instance}} {{folder}}: inodes"),
)


def queries(panel: stat.Panel | timeseries.Panel, *wanted: Query) -> None:
    """Give a panel its queries."""
    for letter, (expression, legend) in zip("ABCDEFGH", wanted, strict=False):
        panel.with_target(
            prometheus.Dataquery().ref_id(letter).datasource(SOURCE).expr(expression).legend_format(legend).range()
        )


def graph(
    title: str,
    unit: str,
    *wanted: Query,
    about: str = "",
    stacked: bool = False,
    line_at: float | None = None,
    most: float | None = None,
) -> timeseries.Panel:
    """Draw lines over time; three stand beside each other. `line_at` marks where to worry, `most` ends the axis."""
    panel = timeseries.Panel().title(title).unit(unit).datasource(SOURCE).min(0).span(8).height(8)
    panel.legend(
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    if about:
        panel.description(about)
    if stacked:
        panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60)
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    else:
        panel.fill_opacity(10)
    if line_at is not None:
        panel.thresholds(levels(GREEN, (line_at, RED)))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.LINE))
    if most is not None:
        panel.max(most)
    queries(panel, *wanted)
    return panel


def figure(
    title: str,
    unit: str,
    *wanted: Query,
    colours: dashboard.ThresholdsConfig,
    about: str,
    said: Sequence[models.ValueMap | models.SpecialValueMap] = (),
    name: bool = False,
) -> stat.Panel:
    """Show one number, or with `name` the name of its series; eight stand beside each other."""
    panel = stat.Panel().title(title).unit(unit).description(about).datasource(SOURCE).span(3).height(4)
    panel.thresholds(colours).color_mode(BigValueColorMode.BACKGROUND).graph_mode(BigValueGraphMode.NONE)
    panel.text_mode(BigValueTextMode.NAME if name else BigValueTextMode.VALUE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["last"]).values(False))
    if said:
        panel.mappings(list(said))
    queries(panel, *wanted)
    return panel


def levels(first: str, *more: tuple[float, str]) -> dashboard.ThresholdsConfig:
    """Colour a value: `first`, and from each limit on another one."""
    steps = [models.Threshold(None, first), *(models.Threshold(value, colour) for value, colour in more)]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def says(**words: str) -> models.ValueMap:
    """Show words for the values 0 and 1 (`no` and `yes`)."""
    number = {"no": "0", "yes": "1"}
    return models.ValueMap({number[name]: models.ValueMappingResult(text=text) for name, text in words.items()})


def unknown(word: str) -> models.SpecialValueMap:
    """Show a word for NaN."""
    shown = models.ValueMappingResult(text=word, color=RED)
    return models.SpecialValueMap(models.DashboardSpecialValueMapOptions(models.SpecialValueMatch.NA_N, shown))


ROWS: dict[str, tuple[stat.Panel | timeseries.Panel, ...]] = {
    "Now": (
        figure(
            "Answers",
            units.NoUnit,
            (f"min({of('up')})", "up"),
            colours=levels(RED, (1, GREEN)),
            about="Whether every chosen recorder answers Prometheus.",
            said=[says(no="no", yes="yes")],
        ),
        figure(
            "Calls now",
            units.Short,
            (f"sum({of_customers('recorder_calls_active')})", "calls"),
            colours=levels("blue"),
            about="Calls being recorded.",
        ),
        figure(
            "Can store",
            units.NoUnit,
            (f"min({of('recorder_storage_state')})", "storage"),
            colours=levels(RED, (1, GREEN)),
            about="While the disk is full or fails, new calls are refused with 503.",
            said=[says(no="no", yes="yes")],
        ),
        figure(
            "Customers away",
            units.Short,
            (f"sum({of('recorder_customers_away')})", "away"),
            colours=levels(GREEN, (1, RED)),
            about="Customers whose database or keys cannot be opened. The log names them.",
        ),
        figure(
            "Disk full in",
            units.DurationSeconds,
            *((f"min({expression})", legend.rpartition(": ")[2]) for expression, legend in UNTIL_FULL),
            colours=levels(RED, (3 * DAY, AMBER), (14 * DAY, GREEN)),
            about="At the pace of the last 6 hours, bytes and inodes; a year or more is shown as a year.",
        ),
        figure(
            "Certificate expires in",
            units.DurationSeconds,
            (worst("min", "recorder_certificate_expiry_seconds"), "certificate"),
            colours=levels(RED, (3 * DAY, AMBER), (14 * DAY, GREEN)),
            about="The certificate of SIP or of the admin API that expires first.",
            said=[unknown("unreadable")],
        ),
        figure(
            "Age of the key backup",
            units.DurationSeconds,
            (worst("max", "recorder_key_backup_age_seconds"), "backup"),
            colours=levels(GREEN, (8 * DAY, RED)),
            about="If the disk is lost, so are recordings made since then.",
            said=[unknown("never")],
        ),
        figure(
            "Version",
            units.NoUnit,
            (f"count by (version) ({of('recorder_build_info')})", "{{version}}"),
            colours=levels("blue"),
            about="The running version; several during an upgrade.",
            name=True,
        ),
    ),
    "Calls": (
        graph(
            "Calls being recorded",
            units.Short,
            (f"sum by (instance, customer) ({of_customers('recorder_calls_active')})", "{{instance}} {{customer}}"),
            about="By customer if Prometheus scrapes [metrics] listen.",
        ),
        graph(
            "Calls by result",
            units.Short,
            (f"sum by (result) (increase({of_customers('recorder_calls_total')}{EVERY}))", "{{result}}"),
            about="`interrupted`: audio was lost to a crash or the disk; GET /incidents lists these calls.",
            stacked=True,
        ),
        graph(
            "Refusals by reason",
            units.Short,
            (grown("recorder_sip_refused_total", "method, status, reason"), "{{method}} {{status}} {{reason}}"),
            about="docs/sbc.md explains the reasons.",
            stacked=True,
        ),
        graph(
            "Answer time of INVITE",
            units.Seconds,
            *((answered_within(share), f"{share:.0%}") for share in (0.5, 0.95, 0.99)),
            about="Until the first success. After half a second a client sends its INVITE again (T1 of RFC 3261).",
            line_at=0.5,
        ),
        graph(
            "Input without an answer",
            units.Short,
            (grown("recorder_sip_dropped_total", "reason"), "SIP: {{reason}}"),
            (grown("recorder_api_dropped_total", "reason"), "admin API: {{reason}}"),
            about="SIP from unknown sources or malformed, and connections to the admin API that failed.",
            stacked=True,
        ),
        graph(
            "INVITEs by SIPREC mark",
            units.Short,
            (grown("recorder_sip_marks_total", "marks"), "{{marks}}"),
            (f"sum(increase({of('recorder_inferred_owners_total')}{EVERY}))", "speakers that were inferred"),
            about="How SBCs mark recording sessions, and streams whose speaker no client named.",
        ),
    ),
    "Audio": (
        graph(
            "Packets",
            units.PacketsPerSecond,
            (f"sum by (result) (rate({of('recorder_rtp_packets_total')}{EVERY}))", "{{result}}"),
            about="`rejected` failed authentication, `foreign` came from a wrong sender.",
        ),
        graph(
            "Packets that never arrived",
            units.PercentUnit,
            (f"{LOST} / ({LOST} + {STORED})", "{{instance}}"),
            about="Share of the packets sent. Look at the network and at nstat -az UdpRcvbufErrors.",
            line_at=0.01,
        ),
        graph(
            "Audio that is missing",
            units.Seconds,
            (grown("recorder_gap_seconds_total", "instance"), "{{instance}}"),
            about="Gaps by loss, restart or disk; holds and pauses do not count.",
            stacked=True,
        ),
        graph(
            "Busy media workers",
            units.PercentUnit,
            (of("recorder_worker_busy_ratio"), "{{instance}} worker {{worker}}"),
            about="Share of a core. New calls are refused when all workers are above 85 %.",
            line_at=0.85,
            most=1,
        ),
        graph(
            "Media workers replaced",
            units.Short,
            (grown("recorder_worker_restarts_total", "instance"), "{{instance}}"),
            about="Their calls went on; please report the fault.",
            stacked=True,
        ),
        graph(
            "DTLS-SRTP handshakes",
            units.Short,
            (grown("recorder_dtls_handshakes_total", "result"), "{{result}}"),
            about="`keyed`, or why they failed.",
            stacked=True,
        ),
    ),
    "Disk and database": (
        graph(
            "Free bytes",
            units.BytesIEC,
            (of("recorder_disk_free_bytes"), "{{instance}} {{folder}}"),
            about="Of the data and the runtime folder.",
        ),
        graph("Free inodes", units.Short, (of("recorder_disk_free_inodes"), "{{instance}} {{folder}}")),
        graph(
            "Disk full in",
            units.Seconds,
            *UNTIL_FULL,
            about="At the pace of the last 6 hours; a year or more is shown as a year.",
            most=FOREVER,
        ),
        graph(
            "Behind with the index",
            units.Seconds,
            (of("recorder_oldest_unindexed_seconds"), "{{instance}}"),
            about="Recordings are safe but cannot be found yet, because the database is away or slow.",
            line_at=60,
        ),
        graph(
            "Parts for the object store",
            units.Short,
            (of("recorder_parts_waiting"), "{{instance}}"),
            about="Finished parts that it does not have yet; 0 without one.",
        ),
        graph(
            "Calls that the index refused",
            units.Short,
            (grown("recorder_index_refused_total", "instance"), "{{instance}}"),
            about="index.fault in the log names them.",
            stacked=True,
        ),
        graph(
            "Customers away",
            units.Short,
            (of("recorder_customers_away"), "{{instance}}"),
            about="Customers whose database or keys cannot be opened. The log names them.",
        ),
    ),
    "Privacy and upkeep": (
        graph(
            "Calls erased",
            units.Short,
            (grown("recorder_erased_calls_total", "instance"), "{{instance}}"),
            about="By retention and by requests, verified.",
            stacked=True,
        ),
        graph(
            "Since retention ran",
            units.DurationSeconds,
            (of("recorder_retention_age_seconds"), "{{instance}}"),
            about="Of the customer where that is longest ago; grows beyond [retention] sweep_seconds if it fails.",
        ),
        graph(
            "Incidents",
            units.Short,
            (grown("recorder_incidents_total", "kind"), "{{kind}}"),
            about="GET /incidents lists them.",
            stacked=True,
        ),
        graph(
            "Certificates",
            units.DurationSeconds,
            (of("recorder_certificate_expiry_seconds"), "{{instance}} {{use}}"),
            about="Time until they expire; a new file is loaded without a restart.",
        ),
        graph(
            "Since the keys were backed up",
            units.DurationSeconds,
            (of("recorder_key_backup_age_seconds"), "{{instance}}"),
            about="Empty if they never were.",
            line_at=8 * DAY,
        ),
        graph(
            "Since everything was verified",
            units.DurationSeconds,
            (of("recorder_verify_age_seconds"), "{{instance}}"),
            about="By recorder verify, without a defect. Empty if it never was.",
            line_at=14 * DAY,
        ),
        graph(
            "Log lines held back",
            units.Short,
            (grown("recorder_log_suppressed_total", "instance"), "{{instance}}"),
            about="The log does not take so many lines a second.",
            stacked=True,
        ),
    ),
    "Main process": (
        graph(
            "CPU",
            units.PercentUnit,
            (f"rate({of('process_cpu_seconds_total')}{EVERY})", "{{instance}}"),
            about="Share of a core, without the media workers.",
        ),
        graph(
            "Memory",
            units.BytesIEC,
            (of("process_resident_memory_bytes"), "{{instance}}"),
            about="Resident, without the media workers.",
        ),
        graph(
            "Descriptors",
            units.PercentUnit,
            (f"{of('process_open_fds')} / {of('process_max_fds')}", "{{instance}}"),
            about="Open descriptors, as a share of those allowed.",
            line_at=0.8,
        ),
        graph(
            "Up since",
            units.DurationSeconds,
            (f"time() - {of('process_start_time_seconds')}", "{{instance}}"),
            about="A drop means a restart.",
        ),
    ),
}


def label(name: str, shown: str, query: str) -> dashboard.QueryVariable:
    """Let the reader choose among the values of a label, all of them at first."""
    variable = dashboard.QueryVariable(name).label(shown).datasource(SOURCE).query(query)
    variable.multi(True).include_all(True)
    variable.current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)


def made() -> str:
    """Return the dashboard as JSON."""
    board = dashboard.Dashboard("Call recorder").uid("siprec-recorder").tags(["siprec", "recorder"])
    board.description("Metrics of docs/operations.md, Watch. Made by config/grafana.py.")
    board.time("now-6h", "now").refresh("30s").tooltip(models.DashboardCursorSync.CROSSHAIR).readonly()
    board.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    board.with_variable(label("job", "Job", "label_values(recorder_build_info, job)"))
    board.with_variable(label("instance", "Recorder", 'label_values(recorder_build_info{job=~"$job"}, instance)'))
    customers = label("customer", "Customer", f"label_values({of('recorder_calls_active')}, customer)")
    board.with_variable(customers.all_value(".*"))  # all: also what no customer's label is on
    number = 0
    for title, panels in ROWS.items():
        row = dashboard.Row(title)
        number += 1
        board.with_row(row.id(number))
        for panel in panels:
            number += 1
            board.with_panel(panel.id(number))
    return JSONEncoder(indent=2, sort_keys=True).encode(board.build()) + "\n"


if __name__ == "__main__":
    sys.exit(FILE.write_text(made()) == 0)
