"""The alerts for Prometheus: each fires when it should and keeps still when it should, says Prometheus' own promtool.

Each also has a summary, a description and a section of the how-to that says what to do; and asks for metrics that there are.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.observability.metric_catalogue import METRICS

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}
HISTOGRAM_ENDS = ("_bucket", "_count", "_sum")
Series = dict[str, str]
"""Values of a series, one a minute, in promtool's notation: `5+10x30` begins with 5 and grows 30 times by 10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What there is when the alert fires, and a time like it in which it must not."""

    trouble: Series
    calm: Series
    after: str = "20m"


def late(count: str, within: str) -> Series:
    """The histogram of times to a decision: all of them, and those within a minute."""
    name = "starloop_decision_seconds"
    return {f'{name}_count{{instance="a"}}': count, f'{name}_bucket{{instance="a",le="60.0"}}': within}


def disk(share: float) -> Series:
    """A disk of which so much is left, and a full one in memory, which does not matter."""
    left = {"/data": ("ext4", share), "/run": ("tmpfs", 0.0)}
    return {
        f'node_filesystem_{what}_bytes{{fstype="{kind}",mountpoint="{mount}"}}': f"{value * 100:g}x120"
        for mount, (kind, free) in left.items()
        for what, value in (("avail", free), ("size", 1.0))
    }


def coverage(share: float, judged: int) -> Series:
    """What honesty says of so many judged forecasts."""
    return {
        'starloop_forecast_coverage{instance="a",promise="0.90"}': f"{share}x120",
        'starloop_forecasts_judged{instance="a"}': f"{judged}x120",
    }


def unread(quarantined: str, messages: str) -> Series:
    """Messages of which some could not be read."""
    return {"starloop_quarantined_total": quarantined, "starloop_messages_total": messages}


CASES: dict[str, list[Case]] = {
    "StarloopRoleDown": [
        Case(
            trouble={'up{job="starloop",role="stream",instance="a"}': "1x10 0x30"},
            calm={'up{job="starloop",role="stream",instance="a"}': "1x18 0 1x20", 'up{job="other"}': "0x40"},
        )
    ],
    "StarloopNotWatched": [
        Case(trouble={'up{job="other"}': "1x40"}, calm={'up{job="starloop",role="up",instance="a"}': "0x40"})
    ],
    "StarloopNothingArrives": [
        Case(
            trouble={"starloop_readings_total": "0+60x120 7200x120"},
            calm={"starloop_readings_total": "0+60x120 7200x40 7260x200"},
            after="3h10m",
        ),
        # A fleet that has never sent anything is not silent.
        Case(
            trouble={"starloop_readings_total": "0+1x180 180x120"},
            calm={"starloop_readings_total": "0x400"},
            after="4h10m",
        ),
    ],
    "StarloopAnalysisBehind": [
        Case(
            trouble={'starloop_stream_lag_records{partition="0"}': "0+50x60", 'starloop_stream_lag_records{partition="1"}': "5x60"},
            calm={'starloop_stream_lag_records{partition="0"}': "5000-50x60"},
            after="30m",
        )
    ],
    "StarloopReactorBehind": [
        Case(
            trouble={'starloop_reactor_lag_records{partition="0"}': "0+50x60"},
            calm={'starloop_reactor_lag_records{partition="0"}': "3x60"},
            after="30m",
        )
    ],
    "StarloopNeedsLate": [Case(trouble=late("0+10x60", "0+9x60"), calm=late("0+10x60", "0+10x60"))],
    "StarloopLogAway": [
        Case(
            trouble={'starloop_log_reachable{instance="a"}': "1x10 0x30"},
            calm={'starloop_log_reachable{instance="a"}': "1x19 0 1x30"},
        )
    ],
    "StarloopStoreAway": [
        Case(
            trouble={'starloop_store_reachable{instance="a"}': "1x10 0x30"},
            calm={'starloop_store_reachable{instance="a"}': "1x19 0 1x30"},
        )
    ],
    "StarloopInfluxAway": [
        Case(
            trouble={'starloop_influx_reachable{instance="a"}': "1x10 0x30"},
            calm={'starloop_influx_reachable{instance="a"}': "1x16 0x30"},
        )
    ],
    "StarloopInfluxBehind": [
        Case(
            trouble={"starloop_influx_behind_records": "9000x60"},
            calm={"starloop_influx_behind_records": "9000x10 4000x60"},
            after="30m",
        )
    ],
    "StarloopInfluxRefuses": [
        Case(
            trouble={"starloop_influx_rejected_total": "0x15 3x30"},
            calm={"starloop_influx_rejected_total": "3x60"},
        )
    ],
    "StarloopOutboxStuck": [
        Case(
            trouble={"starloop_outbox_oldest_seconds": "0+60x60"},
            calm={"starloop_outbox_oldest_seconds": "0+60x12 0+60x60"},
            after="25m",
        )
    ],
    "StarloopGivenUp": [
        Case(
            trouble={"starloop_outbox_given_up_total": "2x15 3x60"},
            calm={"starloop_outbox_given_up_total": "2x60"},
        )
    ],
    "StarloopQuarantine": [
        Case(trouble=unread("0+5x60", "0+100x60"), calm=unread("0+5x60", "0+1000x60"), after="50m"),
        # One message that can't be read, of three, is no reason to get up.
        Case(trouble=unread("0+2x60", "0+3x60"), calm=unread("0x10 1x50", "0x10 3x50"), after="50m"),
    ],
    "StarloopForecastsOffPromise": [
        Case(trouble=coverage(0.70, 200), calm=coverage(0.88, 200), after="90m"),
        Case(trouble=coverage(0.99, 200), calm=coverage(0.70, 40), after="90m"),
    ],
    "StarloopCheckpointOld": [
        Case(
            trouble={'starloop_checkpoint_age_seconds{instance="a",partition="0"}': "0+60x60"},
            calm={'starloop_checkpoint_age_seconds{instance="a",partition="0"}': "300x60"},
            after="30m",
        )
    ],
    "StarloopIntakeNearLimit": [
        Case(
            trouble={'starloop_intake_waiting_bytes{instance="a"}': "90x60", 'starloop_intake_limit_bytes{instance="a"}': "100x60"},
            calm={'starloop_intake_waiting_bytes{instance="a"}': "50x60", 'starloop_intake_limit_bytes{instance="a"}': "100x60"},
        )
    ],
    "StarloopDiskFull": [Case(trouble=disk(0.05), calm=disk(0.5))],
}  # fmt: skip
EVERY = [(name, case) for name, cases in CASES.items() for case in cases]


def checked(promtool: str, folder: Path, tests: list[dict[str, Any]]) -> None:
    """Runs promtool's tests of the rules; fails with what it says."""
    file = folder / "alerts.yaml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "30s", "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def one_test(alert: str, series: Series, after: str, *, fires: bool) -> dict[str, Any]:
    """A test of promtool: does the alert fire after so long?"""
    asked = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    samples = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": asked, "eval_time": after, "exp_samples": samples}],
    }


@pytest.mark.parametrize(("alert", "case"), EVERY, ids=[name for name, _ in EVERY])
def test_an_alert_fires_in_its_trouble_and_not_in_calm(promtool: str, tmp_path: Path, alert: str, case: Case) -> None:
    """As promtool evaluates the rules over made-up series."""
    tests = [one_test(alert, case.trouble, case.after, fires=True), one_test(alert, case.calm, case.after, fires=False)]
    checked(promtool, tmp_path, tests)


def test_an_alert_that_does_not_fire_fails_its_test(promtool: str, tmp_path: Path) -> None:
    """So that a test that passes says something."""
    with pytest.raises(AssertionError, match="StarloopRoleDown"):
        checked(promtool, tmp_path, [one_test("StarloopRoleDown", {'up{job="starloop"}': "1x40"}, "20m", fires=True)])


def test_an_alert_says_which_role_is_down_in_its_words(promtool: str, tmp_path: Path) -> None:
    """Templates are filled in: role and instance stand in the summary."""
    rule = ALERTS["StarloopRoleDown"]
    labels = {"job": "starloop", "role": "stream", "instance": "a:9100"}
    told = {**rule["annotations"], "summary": "stream at a:9100 does not answer"}
    expected = {"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": told}
    series = "up{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
    case = {
        "interval": "1m",
        "input_series": [{"series": series, "values": "0x20"}],
        "alert_rule_test": [{"alertname": "StarloopRoleDown", "eval_time": "10m", "exp_alerts": [expected]}],
    }
    checked(promtool, tmp_path, [case])


def test_prometheus_finds_no_mistake_in_the_rules(promtool: str) -> None:
    """`promtool check rules` passes."""
    done = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_its_tests_and_its_words() -> None:
    """A summary, a description, a severity, and the section of the how-to that says what to do."""
    assert set(CASES) == set(ALERTS)
    how_to = ROOT / "docs" / "how-to" / "when-something-is-wrong.md"
    sections = {line[3:].strip() for line in how_to.read_text().splitlines() if line.startswith("## ")}
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert len(rule["annotations"]["description"]) > 60
        assert rule["annotations"]["runbook"] == f"{how_to.relative_to(ROOT)}#{name.lower()}"
        assert name in sections
    assert set(ALERTS) == {name for name in sections if name.startswith("Starloop")}


def test_alerts_ask_for_metrics_that_there_are() -> None:
    """Every starloop_ name in the rules is in the catalogue of metrics."""
    known = {metric.name for metric in METRICS}
    for name, rule in ALERTS.items():
        for used in re.findall(r"starloop_\w+", rule["expr"]):
            plain = next((used.removesuffix(end) for end in HISTOGRAM_ENDS if used.endswith(end)), used)
            assert used in known or plain in known, f"{name}: {used}"
