"""What lists tell of one film's findings, from their JSON form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dicom_node.chest import SCORES, figures_of
from dicom_node.findings import is_in_doubt


def told_by(findings: Mapping[str, Any], declared: float = 0.0) -> dict[str, float | int]:
    """Return what is kept of one film's findings beside them, so that lists need not read them.

    ``declared``: see `severity_of`.
    """
    return {"severity": severity_of(findings, declared), "in_doubt": int(is_in_doubt(findings))}


def columns_of(found: Mapping[str, Any]) -> dict[str, object]:
    """Return the columns of the case list that one film's findings (their JSON form) fill."""
    detection = found.get("finding") or {}
    evidence, opacity = found.get("evidence") or {}, found.get("opacity") or {}
    appearance = found.get("appearance") or {}
    return {
        "finding": detection.get("class"),
        "probability": detection.get("probabilities", {}).get(detection.get("class")),
        "abstained": int(bool(detection.get("abstained"))),
        "opacity": int(opacity["present"]) if opacity else None,
        "opacity_probability": opacity.get("probability"),
        "appearance": "undetermined" if appearance.get("abstained") else appearance.get("class"),
        "appearance_probability": appearance.get("probabilities", {}).get(appearance.get("class")),
        "figures": json.dumps(figures_of(found)),
        "in_lungs": evidence.get("saliency_in_lungs"),
        "chance": evidence.get("chance"),
        "peak_in_lungs": evidence.get("peak_in_lungs"),
        "change_when_hidden": evidence.get("change_when_hidden"),
    }


def severity_of(findings: Mapping[str, Any], declared: float = 0.0) -> float:
    """Return by what cases are ordered, severe first: -1 without findings, else 0-18.

    Both extents (0-8 each) and twice the part of 1 that is not normal: an order for a list, no
    score of its own. ``declared``: what the manifests of bundles say of that which they found; the
    highest counts. A film on which only they answered has findings too.
    """
    detection = findings.get("finding")
    if not detection:
        return declared if findings.get("observations") else -1.0
    scores = findings.get("scores") or {}
    extents = sum(scores.get(name, {}).get("value") or 0.0 for name in SCORES)
    own = float(extents + 2.0 * (1.0 - detection["probabilities"].get("normal", 0.0)))
    return max(own, declared)
