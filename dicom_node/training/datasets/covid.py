"""Readers of the five COVID-19 collections: a table beside a folder of pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from dicom_node.training.datasets.records import (
    Facts,
    LeftOut,
    Reading,
    Record,
    Source,
    made,
    rows,
)
from dicom_node.training.datasets.words import finding_of

RESEARCH_ONLY = "no licence file; README: research purposes only"
_ENDINGS = (".jpg", ".png", ".jpeg")
_PART_OF_SERIES = re.compile(r"(?<=\d)[a-z]$")


def _cohen(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    need = ("patientid", "finding", "view", "modality", "filename")
    for row in rows(folder, source, "metadata.csv", need):
        licence = row.get("license", "").strip() or "none stated in source metadata"
        yield made(source, folder, folder / "images" / row["filename"].strip(), Facts(
            finding_of(row["finding"]), row["finding"], f"cohen_{row['patientid'].strip()}",
            row["view"], row.get("age", ""), row.get("sex", ""), row["modality"],
            licence_note=f"per-image licence in covid-chestxray-dataset metadata: {licence}",
        ))  # fmt: skip


def _figure1(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    """COVID-00003a and COVID-00003b are two films of one patient."""
    for row in rows(folder, source, "metadata.csv", ("patientid", "finding")):
        film = row["patientid"].strip()
        ending = next((end for end in _ENDINGS if (folder / f"images/{film}{end}").is_file()), "")
        yield made(source, folder, folder / f"images/{film}{ending or '.jpg'}", Facts(
            finding_of(row["finding"]), row["finding"],
            f"figure1_{_PART_OF_SERIES.sub('', film)}",
            row.get("view", ""), row.get("age", ""), row.get("sex", ""), row.get("modality", ""),
        ))  # fmt: skip


def _actualmed(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    for row in rows(folder, source, "metadata.csv", ("patientid", "finding", "imagename")):
        yield made(source, folder, folder / "images" / row["imagename"].strip(), Facts(
            finding_of(row["finding"]), row["finding"], f"actualmed_{row['patientid'].strip()}",
            row.get("view", ""), row.get("age", ""), row.get("sex", ""), row.get("modality", ""),
        ))  # fmt: skip


def _hannover(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    """All patients have COVID-19: the table has no column of findings."""
    for row in rows(folder, source, "data.csv", ("patient_id", "image_id", "projection")):
        yield made(source, folder, folder / "png" / f"{row['image_id'].strip()}.png", Facts(
            "covid19", "COVID-19 case series", f"hannover_{row['patient_id'].strip()}",
            row["projection"], row.get("age", ""), row.get("sex", ""), row.get("modality", ""),
        ))  # fmt: skip


def _cxnet(folder: Path, source: Source) -> Iterator[Record | LeftOut]:
    """Pictures of the web. Films without a patient may be those of another collection: left out."""
    need = ("filename", "patient_id", "label")
    for row in rows(folder, source, "metadata.csv", need):
        patient = row["patient_id"].strip()
        if not patient:
            yield LeftOut(source.origin, "no patient told")
            continue
        path = folder / "chest_xray_images/covid19" / row["filename"].strip()
        yield made(source, folder, path, Facts(
            finding_of(row["label"]), row["label"], f"cxnet_{patient}", row.get("view", ""),
            row.get("age", ""), row.get("sex", ""),
            reading=Reading(lists_covid=finding_of(row["label"]) == "covid19",
                            pcr=row.get("pcr_test", "").strip(), url=row.get("url", "").strip()),
        ))  # fmt: skip


COHEN = Source(
    "cohen", "covid-chestxray-dataset (Cohen et al.)", "ieee8023/covid-chestxray-dataset",
    "metadata.csv and images/", "per image, in metadata.csv", _cohen,
)  # fmt: skip
FIGURE1 = Source(
    "figure1", "Figure1 COVID-19 chest X-ray dataset", "agchung/Figure1-COVID-chestxray-dataset",
    "metadata.csv and images/", RESEARCH_ONLY, _figure1,
)  # fmt: skip
ACTUALMED = Source(
    "actualmed", "Actualmed COVID-19 chest X-ray dataset",
    "agchung/Actualmed-COVID-chestxray-dataset", "metadata.csv and images/", RESEARCH_ONLY,
    _actualmed,
)  # fmt: skip
HANNOVER = Source(
    "hannover", "Hannover MHH COVID-19 image repository", "ml-workgroup/covid-19-image-repository",
    "data.csv and png/", "CC BY 3.0 (Winther et al., doi 10.6084/m9.figshare.12275009)", _hannover,
)  # fmt: skip
CXNET = Source(
    "cxnet", "COVID-CXNet collection", "armiro/COVID-CXNet",
    "metadata.csv and chest_xray_images/covid19/",
    "CC BY 4.0 stated for the collection (doi 10.6084/m9.figshare.12580328); rights per picture "
    "unchecked", _cxnet,
)  # fmt: skip
