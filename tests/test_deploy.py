"""What lies in deploy/: rules and panels ask for what is told; unit and container are tight."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from dicom_node.line.lookout import Lookout
from dicom_node.line.metrics import METRICS, STAGES
from dicom_node.records import ROLES, AlarmKind, Worker
from dicom_node.settings import load_configuration
from dicom_node.settings.reference import node_keys
from tests.commands_kit import known_commands
from tests.monitor_kit import Scrape

DEPLOY = Path(__file__).parents[1] / "deploy"
OF_PROMETHEUS = {"instance", "job", "le"}
FUNCTIONS = {
    "sum", "min", "max", "rate", "increase", "histogram_quantile", "predict_linear", "time",
    "vector",
}  # fmt: skip
WORDS = {"by", "and", "or", "ignoring", "group_left", "on", "unless"}
_TOKEN = re.compile(
    r"\s+|(?P<name>[a-zA-Z_]\w*)|(?P<number>\d+(\.\d+)?(e\d+)?)|(?P<text>\"[^\"]*\")"
    r"|(?P<range>\[\d+[smhd]\])|(?P<open>[({])|(?P<close>[)}])|(?P<sign>==|!=|<=|>=|=~|!~|[-+*/<>=,])"
)


@cache
def rules() -> tuple[dict[str, Any], ...]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8"))["groups"]
    return tuple(rule for group in groups for rule in group["rules"])


@cache
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dicom-node.json").read_text("utf-8"))
    return found


def panels() -> Iterator[tuple[str, str, str]]:
    """Yield each expression of the dashboard with its panel and its legend."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


def expressions() -> list[tuple[str, str]]:
    asked = [(rule["alert"], rule["expr"]) for rule in rules()]
    return asked + [(f"panel {title}", asked_) for title, asked_, _ in panels()]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names of a real scrape, as Prometheus' own parser has them."""
    folder = tmp_path_factory.mktemp("scrape")
    (folder / "node.toml").write_text("", "utf-8")
    configuration = load_configuration(folder)
    lookout = Lookout(configuration, dict, Worker("monitor", "me"), os.getppid())
    return Scrape(lookout.metrics("").body.decode()).names


def tokens(expression: str) -> list[tuple[str, str]]:
    """Return kind and text of each token. Raises `ValueError` where there is none."""
    found, place = [], 0
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None:
            raise ValueError(f"no PromQL at {expression[place:]!r}")
        if match.lastgroup:
            found.append((match.lastgroup, match.group()))
        place = match.end()
    return found


def asked_names(expression: str) -> tuple[set[str], set[str]]:
    """Return the metrics of an expression, and its labels. Raises `ValueError` where it is none."""
    metrics, labels, open_, found = set(), set(), [], tokens(expression)
    for number, (kind, text) in enumerate(found):
        after = found[number + 1][1] if number + 1 < len(found) else ""
        if kind == "open":
            before = found[number - 1][1] if number else ""
            open_.append("labels" if text == "{" or before in WORDS - {"and", "or"} else text)
        elif kind == "close":
            if not open_:
                raise ValueError(f"{text} closes nothing")
            open_.pop()
        elif kind == "name" and open_ and open_[-1] == "labels":
            labels.add(text)
        elif kind == "name" and after == "(" and text not in WORDS:
            if text not in FUNCTIONS:
                raise ValueError(f"{text} is no function")
        elif kind == "name" and text not in WORDS | FUNCTIONS:
            metrics.add(text)
    if open_:
        raise ValueError("something is not closed")
    return metrics, labels


@pytest.mark.parametrize("text", ["sum(dicom_node_well", "sum(x))", "sun(x)", "x ? y"])
def test_the_check_of_expressions_finds_what_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        asked_names(text)


@pytest.mark.parametrize(("who", "expression"), expressions(), ids=lambda each: str(each)[:40])
def test_an_expression_asks_for_what_is_told(who: str, expression: str, scraped: set[str]) -> None:
    metrics, labels = asked_names(expression)
    assert metrics, who
    assert metrics - scraped - {"up"} == set(), who
    known = {label for each in METRICS for label in each.labels} | OF_PROMETHEUS
    assert labels - known == set(), who


def test_a_label_that_is_compared_has_such_a_value() -> None:
    values = {
        "stage": set(STAGES), "role": set(ROLES), "alarm": set(AlarmKind),
        "of": {"spool", "ledger"}, "job": {"dicom-node"},
    }  # fmt: skip
    for who, expression in expressions():
        for label, value in re.findall(r'(\w+)="([^"]*)"', expression):
            assert value in values[label], who


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"DicomNode\w+", rule["alert"])
    assert re.fullmatch(r"\d+[smh]", rule["for"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "action"}
    metrics, _ = asked_names(rule["expr"])
    known = {each.name: set(each.labels) for each in METRICS}
    carried = {label for name in metrics for label in known.get(name.removesuffix("_total"), ())}
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    assert named - carried - OF_PROMETHEUS == set()
    first = {words[0] for words in known_commands()}
    assert set(re.findall(r"dicom-node ([a-z]+)", rule["annotations"]["action"])) <= first


def test_every_alert_is_named_once_and_every_metric_is_shown_or_watched() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    used = " ".join(asked for _, asked in expressions()) + json.dumps(dashboard()["templating"])
    beside = {
        "dicom_node_role_workers", "dicom_node_role_beat_age_seconds", "dicom_node_deliveries",
        "dicom_node_disk_size_bytes", "dicom_node_studies_reported",
    }  # fmt: skip
    unused = {each.name for each in METRICS if not re.search(rf"\b{each.name}(_\w+)?\b", used)}
    assert unused == beside


def test_a_panel_s_legend_names_labels_that_it_has() -> None:
    for title, expression, legend in panels():
        by = re.search(r"by \(([\w, ]+)\)", expression)
        metrics, _ = asked_names(expression)
        own = {label for each in METRICS for label in each.labels if each.name in {
            re.sub(r"_(total|bucket|sum|count)$", "", name) for name in metrics}}  # fmt: skip
        has = set(by[1].split(", ")) if by else own | OF_PROMETHEUS
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= has, title


def test_panels_are_told_apart_and_do_not_lie_over_each_other() -> None:
    found = dashboard()["panels"]
    assert len({panel["id"] for panel in found}) == len({panel["title"] for panel in found})
    taken: set[tuple[int, int]] = set()
    for panel in found:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_scrape_is_of_the_port_and_the_rules_that_there_are() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "scrape.yml").read_text("utf-8"))
    assert scrape["rule_files"] == ["alerts.yml"]
    (job,) = scrape["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert (job["job_name"], target.rpartition(":")[2]) == ("dicom-node", str(default_port()))


def default_port() -> object:
    (key,) = [key for key in node_keys() if (key.section, key.name) == ("monitor", "port")]
    return key.default


def unit() -> str:
    return (DEPLOY / "systemd" / "dicom-node.service").read_text("utf-8")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_the_unit_is_exposed_little() -> None:
    path = DEPLOY / "systemd" / "dicom-node.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"Overall exposure level for dicom-node.service: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) < 3


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_the_unit_has_no_key_that_systemd_does_not_know(tmp_path: Path) -> None:
    # What it starts is not installed where tests run.
    text = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", unit())
    (tmp_path / "dicom-node.service").write_text(text, "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "dicom-node.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "dicom-node.service" not in done.stderr, done.stderr


def test_the_unit_leaves_what_networks_and_the_clock_need() -> None:
    keys = [line for line in unit().splitlines() if not line.startswith("#")]
    assert not [line for line in keys if line.startswith(("MemoryDenyWriteExecute", "ProcSubset"))]
    landlock = {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"}
    allowed = {name for line in keys if line.startswith("SystemCallFilter=") for name in
               line.partition("=")[2].split()}  # fmt: skip
    assert landlock <= allowed
    assert "SystemCallErrorNumber=EPERM" in keys, "else what is refused kills"


def test_the_unit_waits_longer_than_a_node_drains() -> None:
    seconds = re.search(r"^TimeoutStopSec=(\d+)$", unit(), re.MULTILINE)
    (drain,) = [key for key in node_keys() if (key.section, key.name) == ("node", "drain_seconds")]
    assert seconds
    assert int(seconds[1]) > float(str(drain.default)) + 10


def test_the_unit_is_the_one_that_the_docs_show() -> None:
    page = (DEPLOY.parent / "docs" / "install.md").read_text("utf-8")
    assert unit().strip() in page


def containerfile() -> str:
    return (DEPLOY / "container" / "Containerfile").read_text("utf-8")


def test_the_container_runs_as_nobody_in_particular_and_asks_the_monitor() -> None:
    text = containerfile()
    assert re.search(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    ports = re.search(r"^EXPOSE (.+)$", text, re.MULTILINE)
    assert ports
    defaults = [key.default for key in node_keys() if key.name == "port"]
    assert sorted(map(int, ports[1].split())) == sorted(map(int, map(str, defaults)))
    assert f"http://127.0.0.1:{default_port()}/healthz" in text
    assert "dicom-node" in text.partition("ENTRYPOINT")[2]


def test_the_container_s_environment_is_of_settings_that_there_are() -> None:
    compose = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text("utf-8"))
    named = set(re.findall(r"DICOM_NODE__\w+", containerfile()))
    named |= {name for name in compose["services"]["node"]["environment"] if "__" in name}
    assert named <= {key.variable for key in node_keys()}


def test_every_service_of_the_compose_file_gives_up_what_it_can() -> None:
    compose = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text("utf-8"))
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        for port in service.get("ports", ()):
            assert name == "node" or port.startswith("127.0.0.1:"), name
    node = compose["services"]["node"]
    assert node["read_only"]
    # The monitor has no sign-in: nobody outside reaches it.
    assert not any(str(default_port()) in port for port in node["ports"])
    here = DEPLOY / "container"
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith("../") or (here / source).exists(), source


def test_the_container_copies_what_there_is_and_all_that_a_wheel_needs() -> None:
    copied = [
        name for line in re.findall(r"^COPY (?!--)(.+) \S+$", containerfile(), re.MULTILINE)
        for name in line.split()
    ]  # fmt: skip
    assert [name for name in copied if not (DEPLOY.parent / name).exists()] == []
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["only-include"], *wheel.get("sbom-files", ()), "README.md", "LICENSE"}
    assert needed - set(copied) == set()
    extras = re.search(r"^ARG EXTRAS=(\S+)$", containerfile(), re.MULTILINE)
    assert extras
    assert set(extras[1].split(",")) <= set(project["project"]["optional-dependencies"])


def pins(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    report = {"install": [{"metadata": {"name": name}} for name in names]}
    (folder / "report.json").write_text(json.dumps(report), "utf-8")
    command = [sys.executable, str(DEPLOY / "container" / "pins.py")]
    command += [str(DEPLOY.parent / "requirements.lock"), str(folder / "report.json")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_container_gets_of_the_lock_what_it_needs_with_hashes(tmp_path: Path) -> None:
    done = pins(tmp_path, "dicom-node", "PyYAML", "prometheus_client")
    assert done.returncode == 0
    names = re.findall(r"^([\w.-]+)==\S+ \\$", done.stdout, re.MULTILINE)
    assert names == ["prometheus-client", "pyyaml"]
    assert done.stdout.count("--hash=sha256:") >= 2


def test_what_the_lock_lacks_ends_the_build(tmp_path: Path) -> None:
    done = pins(tmp_path, "pyyaml", "no-such-package")
    assert done.returncode == 1
    assert "no-such-package is not in the lock" in done.stderr
