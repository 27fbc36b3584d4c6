"""The card's tables, written from ``evaluation.json`` so that they cannot disagree with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dicom_node.bundles import CARD, EVALUATION
from dicom_node.errors import BundleContractBroken

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
    return f"{before}{BEGIN}\n\n{tables(evaluation)}\n\n{END}{after}"


def tables(evaluation: Mapping[str, Any]) -> str:
    """Return the figures of ``evaluation.json`` as Markdown tables."""
    parts = (_overall, _by_class, _confusion, _abstention, _controls, _by_source)
    return "\n\n".join(part(evaluation) for part in parts)


def interval(figure: Mapping[str, float | None] | None) -> str:
    """Return ``0.81 (0.75–0.86)``, or a dash where there is no figure."""
    if figure is None or figure["value"] is None:
        return "–"
    return f"{figure['value']:.2f} ({figure['low']:.2f}–{figure['high']:.2f})"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _overall(evaluation: Mapping[str, Any]) -> str:
    overall = evaluation["overall"]
    words = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy (chance 0.33)",
        "auc": "area under the ROC curve, mean of the classes",
        "calibration_error": "expected calibration error",
        "log_loss": "log loss, balanced (nats)",
    }
    head = (
        f"Split `{evaluation['split']}`: {evaluation['films']} films of {evaluation['patients']} "
        f"patients, weights `{evaluation['weights'][:15]}…`. In brackets: 95 % bootstrap interval "
        "over patients."
    )
    rows = [(word, interval(overall[key])) for key, word in words.items()]
    return f"{head}\n\n{_table(('figure', 'value'), rows)}"


def _by_class(evaluation: Mapping[str, Any]) -> str:
    rows = [
        (name, *(interval(found[key]) for key in ("sensitivity", "ppv", "auc")))
        for name, found in evaluation["by_class"].items()
    ]
    return _table(
        ("class", "sensitivity", "positive predictive value", "AUC against the rest"), rows
    )


def _confusion(evaluation: Mapping[str, Any]) -> str:
    classes = evaluation["classes"]
    rows = [
        (f"**{name}**", *(str(count) for count in row))
        for name, row in zip(classes, evaluation["confusion"], strict=True)
    ]
    return _table(("true ↓ · named →", *classes), rows)


def _abstention(evaluation: Mapping[str, Any]) -> str:
    found = evaluation["abstention"]
    below = found["accuracy_of_abstained"]
    return (
        f"Below a probability of {found['threshold']:.2f} the network abstains. It answered "
        f"{found['answered']:.0%} of the films, {found['accuracy_of_answered']:.0%} of them right"
        + (f"; of those it abstained from it would have had {below:.0%} right." if below else ".")
    )


def _controls(evaluation: Mapping[str, Any]) -> str:
    rows = [
        (c["question"], str(c["films"]), interval(c["balanced_accuracy"]), interval(c["auc"]))
        for c in evaluation["controls"].values()
    ]
    return _table(("control", "films", "balanced accuracy", "AUC"), rows)


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
