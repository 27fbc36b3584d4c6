"""Readers of NIH ChestX-ray14, and of the RSNA challenge that had part of its films read again.

With the challenge's own list of which film is which, an RSNA film belongs to its NIH patient;
without it, each film counts as a patient, and only identical films are found to be the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from dicom_node.training.datasets.headers import header_facts
from dicom_node.training.datasets.records import (
    Facts,
    LeftOut,
    Record,
    Source,
    made,
    pictures,
    rows,
)

CLASSES, LABELS = "stage_2_detailed_class_info.csv", "stage_2_train_labels.csv"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_PICTURES = "images*/**/*.png"


def nih_patient(number: str) -> str:
    """Return the patient of an NIH number, with the eight digits that file names have."""
    return f"nih_{number.strip():0>8}"


def _nih(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    tables = sorted(folder.glob("Data_Entry_2017*.csv"))
    films = pictures(folder, _PICTURES)
    if not tables:
        raise source.refusal(f"there is no Data_Entry_2017*.csv in {folder}.")
    if not films:
        raise source.refusal(f"there is no PNG below images*/ in {folder}.")
    need = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
    for row in rows(folder, source, tables[-1].name, need):
        labels = row["Finding Labels"].strip()
        yield made(source, folder, films.get(row["Image Index"].strip()), Facts(
            _nih_finding(labels), labels, nih_patient(row["Patient ID"]),
            row["View Position"], row["Patient Age"],
            row.get("Patient Gender") or row.get("Patient Sex", ""), label_basis="nih_report_nlp",
        ))  # fmt: skip


def _nih_finding(labels: str) -> str:
    if labels == "No Finding":
        return "normal"
    return "pneumonia" if "Pneumonia" in labels.split("|") else ""


def _rsna(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    opaque = {
        row["patientId"]
        for row in rows(folder, source, LABELS, ("patientId", "Target"))
        if row["Target"].strip() == "1"
    }
    classes = {
        row["patientId"]: row["class"].strip()
        for row in rows(folder, source, CLASSES, ("patientId", "class"))
    }
    nih_film, films = _mapping(folder, source), pictures(folder, _PICTURES)
    if not films and not (folder / "stage_2_train_images").is_dir():
        raise source.refusal(f"there is neither stage_2_train_images/ nor images*/ in {folder}.")
    for film, words in classes.items():
        original = nih_film.get(film, "")
        path = folder / "stage_2_train_images" / f"{film}.dcm"
        finding = "pneumonia" if film in opaque else "normal" if words == "Normal" else ""
        facts = header_facts(path) if finding and path.is_file() else {}
        yield made(source, folder, path if path.is_file() else films.get(original), Facts(
            finding, words, nih_patient(original.split("_")[0]) if original else f"rsna_{film}",
            facts.get("view", ""), facts.get("age", ""), facts.get("sex", ""),
            label_basis="rsna_radiologist", reader_class=words,
        ))  # fmt: skip


def _mapping(folder: Path, source: Source) -> Mapping[str, str]:
    """Return the NIH film's name of each RSNA film, where the challenge's list is at hand."""
    path = folder / MAPPING
    if not path.is_file():
        return {}
    try:
        return {
            entry["subset_img_id"]: entry["img_id"]
            for entry in json.loads(path.read_text(encoding="utf8"))
        }
    except (ValueError, KeyError, TypeError) as fault:
        raise source.refusal(f"{path} is no list of subset_img_id and img_id.") from fault


NIH = Source(
    "nih", "NIH ChestX-ray8", "NIH Clinical Center",
    "Data_Entry_2017*.csv and images*/ (PNG, also in folders below)",
    "NIH ChestX-ray8 (NIH Clinical Center): unrestricted use with attribution", _nih,
)  # fmt: skip
RSNA = Source(
    "rsna", "RSNA Pneumonia Detection Challenge", "RSNA",
    f"{LABELS}, {CLASSES} and stage_2_train_images/ (DICOM); or, for the DICOM, {MAPPING} and "
    "NIH's images*/. With that list films are known by their NIH patients: give it if you can",
    "RSNA Pneumonia Detection Challenge terms: non-commercial research, attribution", _rsna,
)  # fmt: skip
