"""The card's tables, written from ``evaluation.json`` so that they cannot disagree with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dicom_node.bundles import CARD, EVALUATION
from dicom_node.errors import BundleContractBroken

ABLATION, TRANSFER = "ablation.json", "transfer.json"
_DECISIONS = (0.1, 0.2, 0.3, 0.5)
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def update_card(folder: Path) -> None:
    """Replace what stands between the two marks of ``CARD.md``; raises `BundleContractBroken`."""
    path = folder / CARD
    path.write_text(card_with_tables(folder), encoding="utf8")


def card_with_tables(folder: Path) -> str:
    """Return the text of ``CARD.md`` with the tables that ``evaluation.json`` gives."""
    text = (folder / CARD).read_text(encoding="utf8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise BundleContractBroken(f"{folder.name}/{CARD} needs the marks {BEGIN} and {END} once.")
    evaluation = json.loads((folder / EVALUATION).read_text(encoding="utf8"))
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    # Markdown takes a table that follows another without a blank line for more of its rows.
    parts, blank_line = [tables(evaluation)], "\n\n"
    if (folder / ABLATION).is_file():
        parts.append(ablation_table(json.loads((folder / ABLATION).read_text(encoding="utf8"))))
    if (folder / TRANSFER).is_file():
        parts.append(transfer_table(json.loads((folder / TRANSFER).read_text(encoding="utf8"))))
    return f"{before}{BEGIN}\n\n{blank_line.join(parts)}\n\n{END}{after}"


def tables(evaluation: Mapping[str, Any]) -> str:
    """Return the figures of ``evaluation.json`` as Markdown tables."""
    return "\n\n".join(filter(None, (part(evaluation) for part in _BY_TASK[evaluation["task"]])))


def ablation_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows of ``ablation.json`` as a Markdown table."""
    keys = ("auc", "sensitivity", "specificity", "accuracy")
    lines = [
        (row["variant"], f"{row['parameters'] / 1e6:.1f} M", *(interval(row[key]) for key in keys))
        for row in rows
    ]
    return _table(("variant", "parameters", "AUC", *keys[1:]), lines)


def transfer_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows of ``transfer.json`` as a Markdown table."""
    lines = [
        (row["left_out"], row["figure"], interval(row["without"]), str(row["without"]["films"]),
         interval(row["with"]), str(row["with"]["films"]) if row["with"] else "–")
        for row in rows
    ]  # fmt: skip
    head = (
        "Taught anew without a group of sources, smaller and shorter than the bundle "
        "(`transfer.toml`), and asked about that group's films; beside it the same with all "
        "sources, on those of `val`:"
    )
    columns = ("left out", "figure", "without it", "films", "with it", "films")
    return f"{head}\n\n{_table(columns, lines)}"


def interval(figure: Mapping[str, float | None] | None) -> str:
    """Return ``0.81 (0.75–0.86)``, or a dash where there is no figure."""
    if figure is None or figure["value"] is None:
        return "–"
    return f"{figure['value']:.2f} ({figure['low']:.2f}–{figure['high']:.2f})"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _head(evaluation: Mapping[str, Any]) -> str:
    return (
        f"Split `{evaluation['split']}`: {evaluation['films']} films of {evaluation['patients']} "
        f"patients, weights `{evaluation['weights'][:15]}…`. In brackets: 95 % bootstrap interval "
        "over patients."
    )


def _overall(evaluation: Mapping[str, Any]) -> str:
    overall, chance = evaluation["overall"], 1 / len(evaluation["classes"])
    words = {
        "accuracy": "accuracy",
        "balanced_accuracy": f"balanced accuracy (chance {chance:.2f})",
        "geometric_mean_recall": "geometric mean recall",
        "auc": "area under the ROC curve, mean of the classes",
        "calibration_error": "expected calibration error",
        "log_loss": "log loss, balanced (nats)",
    }
    rows = [(word, interval(overall[key])) for key, word in words.items()]
    rows += [
        (f"balanced accuracy, {control['question']}, {control['films']} films",
         interval(control["balanced_accuracy"])
         + (f", AUC {interval(control['auc'])}" if control["auc"] else ""))
        for control in evaluation["controls"].values()
    ]  # fmt: skip
    return f"{_head(evaluation)}\n\n{_table(('figure', 'value'), rows)}"


def _by_class(evaluation: Mapping[str, Any]) -> str:
    keys = ("sensitivity", "specificity", "ppv", "f1", "auc")
    rows = [
        (name, *(interval(found[key]) for key in keys))
        for name, found in evaluation["by_class"].items()
    ]
    return _table(("class", "sensitivity", "specificity", "PPV", "F1", "AUC"), rows)


def _confusion(evaluation: Mapping[str, Any]) -> str:
    """Return the confusion, whose last column may be films that were given no class."""
    if "confusion" not in evaluation:
        return ""
    classes, counts = evaluation["classes"], evaluation["confusion"]
    rows = [
        (f"**{name}**", *(str(count) for count in row))
        for name, row in zip(classes, counts, strict=True)
    ]
    return _table(("true ↓ · named →", *[*classes, "undetermined"][: len(counts[0])]), rows)


def _abstention(evaluation: Mapping[str, Any]) -> str:
    found = evaluation["abstention"]
    below = found["accuracy_of_abstained"]
    return (
        f"Below a probability of {found['threshold']:.2f} the network abstains. It answered "
        f"{found['answered']:.0%} of the films, {found['accuracy_of_answered']:.0%} of them right"
        + (f"; of those it abstained from it would have had {below:.0%} right." if below else ".")
    )


def _by_source(evaluation: Mapping[str, Any]) -> str:
    classes = evaluation["classes"]
    rows = [
        (
            row["source"],
            *(
                f"{row['correct'][name]} of {row['films'][name]}" if row["films"][name] else "–"
                for name in classes
            ),
        )
        for row in evaluation["by_source"]
    ]
    return _table(("source: right of all", *classes), rows)


def _groups(evaluation: Mapping[str, Any]) -> str:
    rows = [
        (f"{kind}: {row['group']}", str(row["films"]), interval(row["accuracy"]),
         interval(row["balanced_accuracy"]))
        for kind, key in (("projection", "by_view"), ("sex", "by_sex"))
        for row in evaluation[key]
    ]  # fmt: skip
    return _table(("films", "number", "accuracy", "balanced accuracy"), rows)


def _score(evaluation: Mapping[str, Any]) -> str:
    overall, repeated = evaluation["overall"], evaluation["repeated"]
    rows = [
        ("mean absolute error (0-8)", interval(overall["mae"])),
        ("the same of always saying the median of `train`", f"{evaluation['median_mae']:.2f}"),
        ("R²", interval(overall["r2"])),
        ("Pearson's r", interval(overall["correlation"])),
        ("films whose truth lies in the stated 90 % interval", interval(overall["coverage"])),
        ("mean width of that interval", f"{evaluation['interval_width']:.2f}"),
    ]
    if repeated:
        rows += [
            (f"mean absolute error, mean ± sd of {repeated['splits']} patient splits of all films",
             f"{repeated['mae']:.2f} ± {repeated['mae_sd']:.2f}"),
            ("R², the same", f"{repeated['r2']:.3f} ± {repeated['r2_sd']:.3f}"),
            ("R² of the best of these splits", f"{repeated['best_r2']:.3f}"),
        ]  # fmt: skip
    return f"{_head(evaluation)}\n\n{_table(('figure', 'value'), rows)}"


def _airspace(evaluation: Mapping[str, Any]) -> str:
    words = {
        "films": "films (of them level 1)",
        "auc": "AUC",
        "auc_zones": "AUC of the sum of the zones instead",
        "agrees": "films whose zones, counted, give the same level",
        "accuracy": "accuracy",
        "sensitivity_1": "sensitivity, level 1",
        "sensitivity_2": "sensitivity, level 2",
        "ppv_1": "PPV, level 1",
        "ppv_2": "PPV, level 2",
    }
    columns = {"split": evaluation["test"], "cross-validation": evaluation["cross_validation"]}
    columns = {name: found for name, found in columns.items() if found}
    rows = [
        (word, *(f"{found['films']} ({found['level_1']})" if key == "films"
                 else interval(found[key]) for found in columns.values()))
        for key, word in words.items()
    ]  # fmt: skip
    level = _table(("level 2 against level 1", *columns), rows)
    zones = [
        (name.replace("_", " "), interval(found)) for name, found in evaluation["zones"].items()
    ]
    zones.append(("all zones", interval(evaluation["all_zones"])))
    zones.append(("opacity or none, AUC over zones", interval(evaluation["zone_opacity_auc"])))
    return (
        f"{_head(evaluation)}\n\n{level}\n\n{_table(('zone', 'mean absolute error (0-3)'), zones)}"
    )


def _lungs(evaluation: Mapping[str, Any]) -> str:
    rows = [
        (row["source"], row["convention"].replace("_", " "), str(row["films"]),
         interval(row["dice"]), interval(row["iou"]), f"{row['median_dice']:.2f}",
         f"{row['tenth_percentile_dice']:.2f}")
        for row in (
            evaluation["behind_heart"], evaluation.get("most_opaque"), *evaluation["by_source"]
        )
        if row
    ]  # fmt: skip
    head = (
        "masks by",
        "outline",
        "films",
        "Dice, mean",
        "IoU, mean",
        "Dice, median",
        "10th percentile",
    )
    return f"{_head(evaluation)}\n\n{_table(head, rows)}"


def _mistakes(evaluation: Mapping[str, Any]) -> str:
    rows = [
        (m["film"], m["source"], m["true"], m["named"], f"{m['probability']:.2f}")
        for m in evaluation.get("mistakes", ())
    ]
    if not rows:
        return ""
    head = "The surest of its mistakes (the films may not be shown; `image_id` of cases.csv):"
    return f"{head}\n\n{_table(('film', 'source', 'true', 'named', 'probability'), rows)}"


def _suite(found: Mapping[str, Any]) -> str:
    """Return the figures of one bundle of a course, measured with the others of its suite."""
    rows = [
        f"| {row['figure']} | {interval(row)} | {row['films']} |" for row in found["figures"]
    ]  # fmt: skip
    some = f", one film in {found['every']} of large sources" if found["every"] > 1 else ""
    head = (
        f"Split `{found['split']}`{some}: "
        f"{found['films']} films through the engine, suite {', '.join(found['suite'])}. "
        "In brackets: 95 % bootstrap interval over patients."
    )
    return "\n".join([head, "", "| figure | value | films |", "|---|---|---|", *rows])


def _decisions(found: Mapping[str, Any]) -> str:
    """Return the decision curves at a few thresholds."""
    rows = [
        (name, f"{threshold:.2f}", f"{ours:.3f}", f"{every:.3f}")
        for name, curve in found.get("decisions", {}).items()
        for threshold, ours, every in curve
        if threshold in _DECISIONS
    ]
    head = (
        "Net benefit a film of acting on it from a probability on (decision curves; to act on none "
        "has 0):"
    )
    columns = ("act on", "from", "by the network", "on every film")
    return f"{head}\n\n{_table(columns, rows)}" if rows else ""


def _gate(found: Mapping[str, Any]) -> str:
    """Return what a gate declines and how the films lie by what it says."""
    rows = [
        (row["films"], f"{row['number']:,}", f"{row['declined']:,}", f"{row['lies_as_said']:,}")
        for row in found["rows"]
    ]
    head = f"Split `{found['split']}`, of chest radiographs one film in {found['every']}."
    return f"{head}\n\n{_table(('films', 'number', 'declined', 'lies as said'), rows)}"


_BY_TASK: Mapping[str, tuple[Callable[[Mapping[str, Any]], str], ...]] = {
    "detection": (_overall, _by_class, _confusion, _abstention, _by_source, _groups, _mistakes),
    "score": (_score,),
    "airspace": (_airspace,),
    "segmentation": (_lungs,),
    "suite": (_suite, _confusion, _decisions, _mistakes),
    "gate": (_gate,),
}
