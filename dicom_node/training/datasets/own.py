"""Reader of a folder of DICOM films, or pictures, with a CSV table of labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pydicom

from dicom_node import resources
from dicom_node.errors import ImageError
from dicom_node.imaging.header import parsing, read_header
from dicom_node.intake.admit import Declined, admit
from dicom_node.intake.rules import AdmissionRules, load_rules
from dicom_node.training.datasets.records import Facts, LeftOut, Record, Source, made, rows
from dicom_node.training.datasets.words import FINDINGS

TABLE = "labels.csv"
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp"})


def _own(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    """What the table does not say, the DICOM header tells; the node's own rules admit a film."""
    rules = load_rules(resources.default_configuration() / "admission.toml")
    for row in rows(folder, source, TABLE, ("file", "finding")):
        name, finding = row["file"].strip(), row["finding"].strip().lower()
        if finding not in FINDINGS:
            raise source.refusal(
                f"{TABLE}: {name}: there is no finding {row['finding']!r}, "
                f"only {', '.join(FINDINGS)}."
            )
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise source.refusal(f"{TABLE}: {name} is outside {folder}.")
        told: Mapping[str, str] = {key: value for key, value in row.items() if value.strip()}
        if path.suffix.lower() not in PICTURES and path.is_file():
            header = _header(path, rules)
            if isinstance(header, str):
                yield LeftOut(source.origin, header)
                continue
            told = {**header, **told}
        yield made(source, folder, path, Facts(
            finding, row.get("finding_detail", "") or finding,
            f"own_{told.get('patient_id', name).strip()}", told.get("view", ""),
            told.get("age", ""), told.get("sex", ""), label_basis="own_labels",
        ))  # fmt: skip


def _header(path: Path, rules: AdmissionRules) -> dict[str, str] | str:
    """Return what the header tells of view and patient, or why the film is left out."""
    try:
        decision = admit(read_header(path), rules)
        if isinstance(decision, Declined):
            return f"not admitted: {decision.reason}"
        return {"view": decision.view.replace("FRONTAL", ""), **_patient(path)}
    except ImageError as fault:
        return fault.message


def _patient(path: Path) -> dict[str, str]:
    """Return age, sex and patient; the identifier is hashed, so that the table holds none."""
    keywords = ["PatientID", "PatientAge", "PatientSex"]
    with parsing():
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=keywords)
        number, age, sex = (str(header.get(keyword) or "").strip() for keyword in keywords)
    found = {"age": age, "sex": sex}
    if number:
        found["patient_id"] = hashlib.sha256(number.encode()).hexdigest()[:16]
    return {key: value for key, value in found.items() if value}


OWN = Source(
    "dicom", "own films", "",
    f"{TABLE} (file,finding[,patient_id,view,age,sex,finding_detail]) and the files it names, "
    "DICOM or pictures", "your own: not stated", _own,
)  # fmt: skip
