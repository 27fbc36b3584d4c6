"""A study of any length costs the memory of one film, and each film the work of one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.long_study import measured
from dicom_node.imaging.grayscale import Shown
from dicom_node.records import ObjectKind
from dicom_node.resources import report_templates
from dicom_node.results import regions
from dicom_node.results.films import AnalysedFilm
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.templates import load_template
from dicom_node.results.write import write_results

CONTEXT = preview_context(
    load_template(report_templates() / "chest-radiograph-measurement-report.toml")
)


class Stored:
    """Three films that are decoded when they are looked at."""

    def __init__(self) -> None:
        self.decoded: list[int] = []
        self.films = [self._film(number) for number in range(3)]
        self.others_in_memory = 0

    def _film(self, number: int) -> AnalysedFilm:
        film = preview_film()
        film.dataset.SOPInstanceUID = f"1.2.3.{number}"

        def shown() -> Shown:
            self.decoded.append(number)
            others = (each for place, each in enumerate(self.films) if place != number)
            self.others_in_memory += sum(bool(each.worked_out) for each in others)
            return Shown(np.zeros(film.shape, np.float32))

        return replace(film, pixels=shown, explanation=replace(
            film.explanation, maps=film.explanation.maps[:1]))  # fmt: skip


def test_each_film_is_decoded_once_for_all_objects_and_let_go_before_the_next() -> None:
    stored = Stored()
    assert write_results(stored.films, CONTEXT, [*ObjectKind])
    assert stored.decoded == [0, 1, 2]
    assert stored.others_in_memory == 0
    assert not any(film.worked_out for film in stored.films)


def test_a_report_alone_decodes_no_film() -> None:
    stored = Stored()
    assert write_results(stored.films, CONTEXT, [ObjectKind.REPORT])
    assert stored.decoded == []


def test_where_something_lies_on_a_film_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    lungs = regions.parts_of

    def counted(film: AnalysedFilm) -> object:
        asked.append(film.findings.sop_instance_uid)
        return lungs(film)

    monkeypatch.setattr(regions, "parts_of", counted)
    write_results(Stored().films, CONTEXT, [ObjectKind.REPORT, ObjectKind.PRESENTATION])
    assert len(asked) == 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_forty_films_of_ten_megapixels_stay_far_below_a_gigabyte() -> None:
    found = measured(40)
    assert found["deliveries"] == 41
    assert found["peak_mb"] < 1000
    assert found["beats"] >= 3 * 40
    few = measured(4)
    # What each further film adds is what the report says of it, not its 20 megabytes.
    assert found["peak_mb"] - few["peak_mb"] < 36 * 6
