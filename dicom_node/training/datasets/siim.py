"""Reader of the SIIM-FISABIO-RSNA COVID-19 challenge: what films look like, and boxes of opacity.

A panel of radiologists read each study into one of four classes of appearance. That is no word
about infection: negative films are often those of infected people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dicom_node.training.datasets.cases import Box
from dicom_node.training.datasets.headers import FACTS, header_facts
from dicom_node.training.datasets.records import (
    Facts,
    Kind,
    LeftOut,
    Reading,
    Record,
    Source,
    made,
    pictures,
    rows,
)

STUDIES, IMAGES = "train_study_level.csv", "train_image_level.csv"
PATIENTS, SIZES = "train_meta.csv", "meta.csv"
_APPEARANCE = {
    "Negative for Pneumonia": "negative",
    "Typical Appearance": "typical",
    "Indeterminate Appearance": "indeterminate",
    "Atypical Appearance": "atypical",
}
_FINDING = {"negative": "normal", "typical": "covid19"}
_PARTS_OF_A_BOX = 6


def _siim(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    """One film a row of the table of images; its class is that of its study."""
    words_of = _classes(folder, source)
    patient_of, size_of = _patients(folder, source), _sizes(folder, source)
    films = pictures(folder, "train/**/*.*")
    for row in rows(folder, source, IMAGES, ("id", "label", "StudyInstanceUID")):
        film, study = row["id"].removesuffix("_image"), row["StudyInstanceUID"].strip()
        path = next((films[name] for name in _names(film) if name in films), None)
        dicom = path is not None and path.suffix == ".dcm"
        told = header_facts(path, {**FACTS, "patient": "PatientID"}) if path and dicom else {}
        patient = told.pop("patient", "") or patient_of.get(film, "") or study
        words = words_of.get(study, "")
        appearance = _APPEARANCE.get(words, "")
        yield made(source, folder, path, Facts(
            _FINDING.get(appearance, "other") if appearance else "", words, f"siim_{patient}",
            **told, label_basis="siim_radiologist_panel_appearance",
            reading=Reading(appearance, _boxes(row["label"], source),
                            None if dicom else size_of.get(film)),
        ))  # fmt: skip


def _names(film: str) -> Sequence[str]:
    return f"{film}.dcm", f"{film}.png", f"{film}.jpg"


def _classes(folder: Path, source: Source) -> Mapping[str, str]:
    """Return the class of each study in the table's words; a study with none or two has none."""
    found = {}
    for row in rows(folder, source, STUDIES, ("id", *_APPEARANCE)):
        named = [words for words in _APPEARANCE if row[words].strip() == "1"]
        found[row["id"].removesuffix("_study")] = named[0] if len(named) == 1 else ""
    return found


def _patients(folder: Path, source: Source) -> Mapping[str, str]:
    """Return the patient of each film from the list of headers, where it lies in the folder."""
    if not (folder / PATIENTS).is_file():
        return {}
    listed = rows(folder, source, PATIENTS, ("imageid", "patientid"))
    return {row["imageid"].strip(): row["patientid"].strip() for row in listed}


def _sizes(folder: Path, source: Source) -> Mapping[str, tuple[int, int]]:
    """Return columns and rows of the originals, where the list of them lies in the folder."""
    if not (folder / SIZES).is_file():
        return {}
    listed = rows(folder, source, SIZES, ("image_id", "dim0", "dim1"))
    return {
        row["image_id"].strip().removesuffix("_image"): (int(row["dim1"]), int(row["dim0"]))
        for row in listed
    }


def _boxes(label: str, source: Source) -> tuple[Box, ...]:
    """Return the boxes of ``opacity 1 x0 y0 x1 y1 …``; ``none 1 0 0 1 1`` is no box."""
    words = label.split()
    if len(words) % _PARTS_OF_A_BOX:
        raise source.refusal(f"{IMAGES}: {label[:40]!r} is no list of boxes.")
    found = []
    for start in range(0, len(words), _PARTS_OF_A_BOX):
        name, _, *corners = words[start : start + _PARTS_OF_A_BOX]
        if name == "opacity":
            left, top, right, bottom = map(float, corners)
            found.append((left, top, right - left, bottom - top))
    return tuple(found)


SIIM = Source(
    "siim", "SIIM-FISABIO-RSNA COVID-19 (BIMCV + RICORD)", "SIIM-FISABIO-RSNA challenge 2021",
    f"{STUDIES}, {IMAGES} and train/ (the challenge's DICOM, patients by their headers; or "
    f"pictures named by image: then give {PATIENTS} (imageid, patientid), or each study counts as "
    f"a patient, and {SIZES} (image_id, dim0 = rows, dim1 = columns) of the originals, or boxes "
    "and aspect ratios are wrong for pictures that were scaled)",
    "SIIM-FISABIO-RSNA challenge: non-commercial research", _siim,
    Kind(patients="dicom PatientID"),
)  # fmt: skip
