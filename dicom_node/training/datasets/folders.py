"""Readers of collections without a table of films: the folder of a film is its label.

Few of them name a patient: then each film counts as one, and only copies are found to be the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from dicom_node.training.datasets.records import (
    Facts,
    Kind,
    LeftOut,
    Reading,
    Record,
    Source,
    made,
)

_NUMBER = re.compile(r"-(\d+)$")
_FIRST_OF_RSNA, _FIRST_CHILD = 1401, 60
"""Of the Radiography Database's normal films, 60 to 1400 are Kermany's children, later ones RSNA's;
of the first ones nobody knows."""
_PERSON = re.compile(r"(person\d+)_(virus|bacteria)", re.IGNORECASE)
_SERIES = re.compile(r"((?:NORMAL2-)?IM-\d+)", re.IGNORECASE)
_ONE_EACH = "none: one per image"


def _films(folder: Path, source: Source, *places: str) -> Iterator[Path]:
    """Yield the pictures of the patterns, masks left out; raises `TrainingError` for none."""
    found = sorted({path for place in places for path in folder.glob(place)})
    kept = [path for path in found if "masks" not in path.relative_to(folder).parts]
    if not kept:
        raise source.refusal(f"there is no picture at {' or '.join(places)} in {folder}.")
    yield from kept


def _number(path: Path) -> int:
    found = _NUMBER.search(path.stem)
    return int(found[1]) if found else 0


def _radiography(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    """The label is infection: about a quarter of these films looks normal."""
    for path in _films(folder, source, "COVID/**/*.png"):
        yield made(source, folder, path, Facts(
            "covid19", "COVID", f"radiography_{path.stem}", label_basis="source_folder_infection",
            reading=Reading(lists_covid=True, note="possible_same_patient_as_siim"),
        ))  # fmt: skip


def _rsna_normals(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    """The NIH's patients, whose names are lost on the way."""
    for path in _films(folder, source, "Normal/**/*.png"):
        number = _number(path)
        if number < _FIRST_OF_RSNA:
            reason = "a child" if number >= _FIRST_CHILD else "of an unknown source"
            yield LeftOut(source.origin, reason)
            continue
        yield made(source, folder, path, Facts(
            "normal", "Normal", f"rsnanormal_{path.stem}", label_basis="rsna_radiologist",
            reader_class="Normal",
        ))  # fmt: skip


def _kermany(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    """``person12_virus_31.jpeg`` is a child's twelfth folder; normal films name a series."""
    for path in _films(folder, source, "**/NORMAL/*.jpeg", "**/PNEUMONIA/*.jpeg"):
        normal = path.parent.name == "NORMAL"
        person, series = _PERSON.search(path.stem), _SERIES.search(path.stem)
        cause = f"{person[2].capitalize()} pneumonia" if person else "Pneumonia"
        who = person[1] if person else series[1] if series else path.stem
        yield made(source, folder, path, Facts(
            "normal" if normal else "pneumonia", "Normal" if normal else cause,
            f"kermany_{who.lower()}", "AP", label_basis="source_folder",
            reading=Reading(note="paediatric"),
        ))  # fmt: skip


def _tb(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    for path in _films(folder, source, "Tuberculosis/**/*.png"):
        yield made(source, folder, path, Facts(
            "other", "Tuberculosis", f"tb_{path.stem}", "PA", label_basis="source_folder",
            reading=Reading(note="photographed_film_possible"),
        ))  # fmt: skip


def _tb_pakistan(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    """Films are known by their names, wherever they lie."""
    for path in _films(folder, source, "**/TB.*.jpg", "**/others (*).jpg"):
        ill = path.name.startswith("TB.")
        yield made(source, folder, path, Facts(
            "other" if ill else "normal", "Tuberculosis" if ill else "Normal (source name: others)",
            f"tbpakistan_{path.stem}", "PA", label_basis="source_folder",
        ))  # fmt: skip


RADIOGRAPHY = Source(
    "radiography", "COVID-19 Radiography Database COVID (mostly BIMCV)",
    "COVID-19 Radiography Database (Kaggle)", "COVID/ (PNG, also in COVID/images/)",
    "COVID-19 Radiography Database: as its sources, mostly BIMCV; none stated for a film",
    _radiography, Kind(taught_only=True, patients=_ONE_EACH),
)  # fmt: skip
RSNA_NORMALS = Source(
    "rsna-normals", "RSNA Pneumonia Challenge normals (NIH)",
    "COVID-19 Radiography Database (Kaggle)",
    "Normal/ of the COVID-19 Radiography Database (PNG, also in Normal/images/): numbers above "
    "1400",
    "RSNA Pneumonia Detection Challenge terms: non-commercial research, attribution",
    _rsna_normals, Kind(patients=_ONE_EACH),
)  # fmt: skip
KERMANY = Source(
    "kermany", "Kermany paediatric chest X-ray", "Mendeley Data rscbjbr9sj",
    "NORMAL/ and PNEUMONIA/ (JPEG), also within train/, val/, test/",
    "CC BY 4.0 (Kermany et al., Cell 2018, doi 10.17632/rscbjbr9sj)", _kermany,
    Kind(children=True, patients="file name"),
)  # fmt: skip
TB = Source(
    "tb", "TB Chest Radiography Database", "TB Chest Radiography Database (Kaggle)",
    "Tuberculosis/ (PNG); its normal films are RSNA's",
    "TB Chest Radiography Database: as its sources; none stated for a film", _tb,
    Kind(patients=_ONE_EACH),
)  # fmt: skip
TB_PAKISTAN = Source(
    "tb-pakistan", "Pakistan TB set (inferred)", "",
    "TB.N.jpg and others (N).jpg, in whatever folders", "none stated; provenance inferred",
    _tb_pakistan, Kind(patients=_ONE_EACH),
)  # fmt: skip
