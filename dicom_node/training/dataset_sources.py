"""Where labelled films come from: one reader a public source, all giving the same records.

Each reader knows the table and the folders of its source as they are distributed, and maps the
source's own words to our findings. Laterals, CT and children are left out here.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import TrainingError

FRONTAL = {"PA", "AP", "AP SUPINE", "AP ERECT"}
ADULT = 18
_PICTURES = (".png", ".jpg", ".jpeg")
_NO_LICENCE = "none stated; research use only"


@dataclass(frozen=True, slots=True)
class Record:
    """One frontal film. ``patient`` is unique within all sources; texts may be empty."""

    path: Path
    finding: str
    detail: str
    basis: str
    origin: str
    patient: str
    view: str = "unknown"
    age: str = ""
    sex: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A known source: what it is called in the table, what its folder must hold, its licence."""

    key: str
    origin: str
    layout: str
    licence: str
    read: Callable[[Path, Source], Iterator[Record]]


def _cohen(folder: Path, source: Source) -> Iterator[Record]:
    for row in _rows(folder, "metadata.csv"):
        view = row.get("view", "").strip()
        if row.get("modality", "").strip() != "X-ray" or view.upper() not in FRONTAL:
            continue
        path = folder / "images" / row["filename"].strip()
        yield from _made(row, source, path, finding_of(row["finding"]), row["finding"],
                         row["patientid"], view, row.get("license", ""))  # fmt: skip


def _figure1(folder: Path, source: Source) -> Iterator[Record]:
    for row in _rows(folder, "metadata.csv", encoding="iso-8859-1"):
        view = row.get("view", "").strip()
        if view and view.upper() not in FRONTAL:
            continue
        path = _picture(folder / "images", row["patientid"])
        yield from _made(row, source, path, finding_of(row["finding"]), row["finding"],
                         row["patientid"], view)  # fmt: skip


def _actualmed(folder: Path, source: Source) -> Iterator[Record]:
    for row in _rows(folder, "metadata.csv", encoding="iso-8859-1"):
        view = row.get("view", "").strip()
        if view and view.upper() not in FRONTAL:
            continue
        path = folder / "images" / row["imagename"].strip()
        yield from _made(row, source, path, finding_of(row["finding"]), row["finding"],
                         row["patientid"], view)  # fmt: skip


def _hannover(folder: Path, source: Source) -> Iterator[Record]:
    for row in _rows(folder, "data.csv"):
        view = row.get("projection", "").strip().upper()
        if view not in FRONTAL:
            continue
        path = folder / "png" / f"{row['image_id']}.png"
        yield from _made(row, source, path, "covid19", "COVID-19", row["patient_id"], view)


def _nih(folder: Path, source: Source) -> Iterator[Record]:
    tables = sorted(folder.glob("Data_Entry_2017*.csv"))
    if not tables:
        raise _missing(folder, "Data_Entry_2017*.csv", source)
    films = {path.name: path for path in folder.glob("images*/**/*.png")}
    for row in _rows(folder, tables[0].name):
        labels = row["Finding Labels"]
        finding = {"No Finding": "normal"}.get(labels) or (
            "pneumonia" if "Pneumonia" in labels.split("|") else ""
        )
        path = films.get(row["Image Index"])
        if not finding or path is None:
            continue
        facts = {"age": row["Patient Age"].rstrip("Y"), "sex": _sex_of_nih(row)}
        yield from _made(facts, source, path, finding, labels, row["Patient ID"],
                         row["View Position"], basis="nih_report_nlp")  # fmt: skip


def _sex_of_nih(row: Mapping[str, str]) -> str:
    return row.get("Patient Gender") or row.get("Patient Sex") or ""


def _rsna(folder: Path, source: Source) -> Iterator[Record]:
    classes = {"Normal": "normal", "Lung Opacity": "pneumonia"}
    seen = set()
    for row in _rows(folder, "stage_2_detailed_class_info.csv"):
        film = row["patientId"]
        if row["class"] not in classes or film in seen:
            continue
        seen.add(film)
        path = folder / "stage_2_train_images" / f"{film}.dcm"
        yield from _made({}, source, path, classes[row["class"]], row["class"], film, "unknown",
                         basis="rsna_radiologist")  # fmt: skip


def _dicom(folder: Path, source: Source) -> Iterator[Record]:
    known = {"normal", "pneumonia", "covid19", "other"}
    for row in _rows(folder, "labels.csv"):
        finding = row["finding"].strip().lower()
        if finding not in known:
            raise TrainingError(
                f"{folder}/labels.csv: {row['file']}: there is no finding {row['finding']!r}.",
                remedy=f"Use one of {', '.join(sorted(known))}.",
            )
        patient = row.get("patient_id") or row["file"]
        yield from _made(row, source, folder / row["file"], finding, finding, patient,
                         row.get("view", "unknown"), basis="own labels")  # fmt: skip


SOURCES: Mapping[str, Source] = {
    source.key: source
    for source in (
        Source("cohen", "covid-chestxray-dataset (Cohen et al.)", "metadata.csv, images/",
               "per image, in metadata.csv", _cohen),
        Source("figure1", "Figure1 COVID-19 chest X-ray dataset", "metadata.csv, images/",
               _NO_LICENCE, _figure1),
        Source("actualmed", "Actualmed COVID-19 chest X-ray dataset", "metadata.csv, images/",
               _NO_LICENCE, _actualmed),
        Source("hannover", "Hannover MHH COVID-19 image repository", "data.csv, png/",
               "CC BY 3.0", _hannover),
        Source("nih", "NIH ChestX-ray8", "Data_Entry_2017*.csv, images*/",
               "NIH Clinical Center: unrestricted use with attribution", _nih),
        Source("rsna", "RSNA Pneumonia Detection Challenge",
               "stage_2_detailed_class_info.csv, stage_2_train_images/",
               "RSNA: non-commercial research, attribution", _rsna),
        Source("dicom", "own films", "labels.csv (file, finding[, patient_id, view, age, sex])",
               "your own", _dicom),
    )
}  # fmt: skip


def finding_of(words: str) -> str:
    """Return our finding for the words of the Cohen, Figure1 and Actualmed tables.

    ``Pneumonia/Viral/COVID-19`` is a path from the general to the special; empty for what cannot
    be told (``todo``, ``Unknown``).
    """
    text = words.strip().lower()
    if not text or text in {"todo", "unknown", "nan"}:
        return ""
    if "covid-19" in text:
        return "covid19"
    if text in {"no finding", "no findings", "normal"}:
        return "normal"
    if text.startswith("pneumonia") and not {"lipoid", "aspiration"} & set(text.split("/")):
        return "pneumonia"
    return "other"


def _made(
    row: Mapping[str, str],
    source: Source,
    path: Path | None,
    finding: str,
    detail: str,
    patient: str,
    view: str,
    licence: str = "",
    *,
    basis: str = "source_metadata",
) -> Iterator[Record]:
    """Yield the record, unless it has no finding or is a child's."""
    age = _number(row.get("age", ""))
    if not finding or path is None or (age and float(age) < ADULT):
        return
    yield Record(
        path=path, finding=finding, detail=detail.strip(), basis=basis, origin=source.origin,
        patient=f"{source.key}_{patient.strip()}", view=view or "unknown", age=age,
        sex=row.get("sex", "").strip().upper()[:1], licence=licence.strip() or source.licence,
    )  # fmt: skip


def _number(text: str) -> str:
    try:
        return str(float(text))
    except ValueError:
        return ""


def _picture(folder: Path, stem: str) -> Path | None:
    return next((p for p in (folder / f"{stem}{end}" for end in _PICTURES) if p.is_file()), None)


def _rows(folder: Path, name: str, encoding: str = "utf8") -> Iterator[dict[str, str]]:
    """Yield the rows of a table. Raises `TrainingError` naming what is missing."""
    path = folder / name
    if not path.is_file():
        raise TrainingError(
            f"There is no {name} in {folder}.",
            remedy="`dicom-node dataset sources` says what each source's folder must hold.",
        )
    with path.open(newline="", encoding=encoding) as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            try:
                yield _checked(row)
            except KeyError as missing:
                raise TrainingError(f"{path}, line {number}: no column {missing}.") from missing


def _checked(row: dict[str, str]) -> dict[str, str]:
    return {key: value or "" for key, value in row.items() if key is not None}


def _missing(folder: Path, name: str, source: Source) -> TrainingError:
    return TrainingError(
        f"There is no {name} in {folder}.", remedy=f"{source.origin} needs: {source.layout}."
    )
