"""Write the generated parts of the documentation; with ``--check``, name what is stale.

A part stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from dicom_node.events import CATALOGUE
from dicom_node.line.metrics import METRICS, STAGES
from dicom_node.settings.reference import node_table, remote_table
from dicom_node.training.evaluation.card import TRANSFER, interval, transfer_table

DOCS = Path(__file__).parent
_PART = re.compile(r"(<!-- begin ([\w-]+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
# Packages whose metadata say nothing: what their licence files say.
_BY_HAND = {"namex": "Apache-2.0", "pysqlite3": "Zlib"}


def runtime_distributions() -> Mapping[str, Distribution]:
    """Return what `pip install dicom-node` brings, by name: every dependency of a dependency."""
    found: dict[str, Distribution] = {}
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))["project"]
    waiting = [_name(requirement) for requirement in project["dependencies"]]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform or Python
        wanted = [line for line in found[name].requires or () if "extra ==" not in line]
        waiting += [_name(requirement) for requirement in wanted]
    return dict(sorted(found.items()))


def _name(requirement: str) -> str:
    return re.split(r"[^\w.\-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def licence_of(package: Distribution) -> str:
    """Return a package's licence as it declares it, on one line."""
    metadata = package.metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    classified = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    if classified:
        return ", ".join(name.removesuffix(" License") for name in classified)
    declared = (metadata.get_all("License") or [""])[0]
    return declared.strip().partition("\n")[0] or _BY_HAND.get(metadata["Name"].lower(), "unknown")


def licences() -> str:
    """Return the table of runtime dependencies and their licences."""
    rows = [f"| {name} | {licence_of(found)} |" for name, found in runtime_distributions().items()]
    return "\n".join(["| package | licence |", "|---|---|", *rows])


def events() -> str:
    """Return the table of everything that the node logs."""
    rows = [
        f"| `{kind.name}` | {kind.level} | {kind.sentence} "
        f"| {', '.join(f'`{field}`' for field in sorted(kind.fields))} |"
        for kind in CATALOGUE.values()
    ]
    return "\n".join(["| event | level | meaning | fields |", "|---|---|---|---|", *rows])


def metrics() -> str:
    """Return the table of everything that `/metrics` tells."""
    rows = [
        f"| `{each.name}{'_total' if each.kind == 'counter' else ''}` | {each.kind} "
        f"| {', '.join(f'`{label}`' for label in each.labels)} | {each.meaning} |"
        for each in METRICS
    ]
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows])


def stages() -> str:
    """Return the table of the stages that are timed."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in STAGES.items()]
    return "\n".join(["| stage | lasts |", "|---|---|", *rows])


def unit() -> str:
    """Return the unit for systemd, as it is shipped."""
    path = DOCS.parent / "deploy" / "systemd" / "dicom-node.service"
    return f"```ini\n{path.read_text('utf-8')}```"


def _evaluations() -> dict[str, dict[str, Any]]:
    """Return every bundle's evaluation.json by id; a bundle that was not measured is left out."""
    paths = sorted((DOCS.parent / "models").glob("*/evaluation.json"))
    return {path.parent.name: json.loads(path.read_text("utf-8")) for path in paths}


def _shown(figure: Mapping[str, float | None] | None) -> str:
    return interval(figure) if figure else "-"


def detection_table() -> str:
    """Return the detection networks with their controls."""
    keys = ("rim_only", "lungs_hidden", "lungs_only", "nih", "cohen")
    head = ("network", "balanced accuracy", "AUC", "rim alone", "lungs greyed out", "lungs alone",
            "within NIH", "within Cohen")  # fmt: skip
    rows = []
    for name, found in _evaluations().items():
        if found.get("task") != "detection":
            continue
        controls = [found["controls"].get(key) for key in keys]
        rows.append(
            (f"`{name}`", _shown(found["overall"]["balanced_accuracy"]),
             _shown(found["overall"]["auc"]), *(_control(control) for control in controls))
        )  # fmt: skip
    return _rows(head, rows)


def _control(control: Mapping[str, Any] | None) -> str:
    if control is None:
        return "-"
    area = f", AUC {_shown(control['auc'])}" if control["auc"] else ""
    return f"{_shown(control['balanced_accuracy'])}{area}"


def severity_table() -> str:
    """Return the severity networks' figures."""
    rows = []
    for name, found in _evaluations().items():
        if found.get("task") == "score":
            again = found["repeated"]
            said = (
                f"{again['mae']:.2f} ± {again['mae_sd']:.2f}, R² {again['r2']:.3f} ± "
                f"{again['r2_sd']:.3f}" if again else "-"
            )  # fmt: skip
            overall = found["overall"]
            rows.append((f"`{name}`", f"MAE {_shown(overall['mae'])}, R² {_shown(overall['r2'])}",
                         said))  # fmt: skip
        elif found.get("task") == "airspace":
            folds = found["cross_validation"]
            rows.append((f"`{name}`, level 2 against 1", f"AUC {_shown(found['test']['auc'])}",
                         f"AUC {_shown(folds['auc'])}" if folds else "-"))  # fmt: skip
            rows.append((f"`{name}`, zones (0-3)", f"MAE {_shown(found['all_zones'])}", "-"))
    return _rows(("network", "test", "repeated splits or folds"), rows)


def second_table() -> str:
    """Return the figures of the networks of a course, without those of single groups of films."""
    rows = [
        (f"`{name}`", row["figure"], _shown(row), str(row["films"]))
        for name, found in _evaluations().items()
        if found.get("task") == "suite"
        for row in found["figures"]
        if not row["figure"].endswith("named rightly") and ", source " not in row["figure"]
    ]
    return _rows(("network", "figure", "split `test`", "films"), rows)


def transfer_rows() -> str:
    """Return what the networks of a course know of sources that they were not shown."""
    found = sorted((DOCS.parent / "models").glob(f"*/{TRANSFER}"))
    return "\n\n".join(transfer_table(json.loads(path.read_text("utf8"))) for path in found)


def _rows(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def example(name: str, classes: int = 3) -> str:
    """Return what a bundle of ``examples/`` says, in its manifest's words; the first classes."""
    text = (DOCS.parent / "examples" / name / "model.toml").read_text("utf-8")
    says = text[text.index("[[says]]") : text.index("\n[template")].strip()
    blocks = says.split("\n\n")
    kept = [
        block
        for number, block in enumerate(blocks)
        if sum("[[says.classes]]" in each for each in blocks[: number + 1]) <= classes
    ]
    left = [f"# … and {len(blocks) - len(kept)} more"] if len(kept) < len(blocks) else []
    return "\n".join(["```toml", "\n\n".join([*kept, *left]), "```"])


PARTS: Mapping[str, Callable[[], str]] = {
    **{
        f"example-{path.parent.name}": partial(example, path.parent.name)
        for path in sorted((DOCS.parent / "examples").glob("*/model.toml"))
    },
    "node-keys": node_table,
    "remote-keys": remote_table,
    "events": events,
    "metrics": metrics,
    "stages": stages,
    "unit": unit,
    "licences": licences,
    "detection": detection_table,
    "second": second_table,
    "severity": severity_table,
    "transfer": transfer_rows,
}


def built(text: str) -> str:
    """Return a page with its generated parts as they are to be."""

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}\n{PARTS[match[2]]()}\n\n{match[3]}"

    return _PART.sub(part, text)


def conformance_statement() -> str:
    """Return the conformance statement of the shipped configuration."""
    from dicom_node.conformance import statement
    from dicom_node.resources import report_templates
    from dicom_node.results.templates import load_template
    from dicom_node.settings import Settings

    settings = Settings()
    template = load_template(report_templates() / f"{settings.results.template}.toml")
    return statement(settings, {}, template)


def main() -> int:
    """Write, or with ``--check`` name, the pages that are not up to date."""
    stale = []
    page, wanted = DOCS / "conformance-statement.md", conformance_statement()
    if not page.exists() or page.read_text("utf-8") != wanted:
        stale.append(page.name)
        if "--check" not in sys.argv:
            page.write_text(wanted, "utf-8")
    for page in sorted(DOCS.glob("*.md")):
        old = page.read_text("utf-8")
        new = built(old)
        if new != old:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(new, "utf-8")
    if stale and "--check" in sys.argv:
        print(f"not up to date: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
