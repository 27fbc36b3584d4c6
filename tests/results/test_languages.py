"""Every shipped template says the same in its language, in any character set."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from dicom_node.resources import report_templates
from dicom_node.results.narrative import report_text
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.reading import findings_from_report
from dicom_node.results.templates import Template, load_template, template_schema
from dicom_node.results.write import AnalysedFilm, write_results
from tests.results.report_kit import errors_of

FOLDER = report_templates()
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))
ENGLISH, GERMAN = "chest-radiograph-measurement-report", "chest-radiograph-measurement-report-de"


@pytest.fixture(params=NAMES)
def template(request: pytest.FixtureRequest) -> Template:
    """Every template that is shipped."""
    return load_template(FOLDER / f"{request.param}.toml")


def film_in(character_set: str | None) -> AnalysedFilm:
    """Return the film of the preview in another character set."""
    film = preview_film()
    if character_set is None:
        del film.dataset.SpecificCharacterSet
    else:
        film.dataset.SpecificCharacterSet = character_set
    return film


def report_of(film: AnalysedFilm, template: Template) -> Dataset:
    data = write_results([film], preview_context(template))[0].data
    return pydicom.dcmread(io.BytesIO(data))


def test_two_languages_are_shipped() -> None:
    assert NAMES == [ENGLISH, GERMAN]


def test_each_language_has_the_same_codes() -> None:
    english, german = (load_template(FOLDER / f"{name}.toml") for name in (ENGLISH, GERMAN))
    told = [[(code.value, code.scheme) for code in each.codes()] for each in (english, german)]
    # The first code is the language.
    assert told[0][1:] == told[1][1:]


@pytest.mark.parametrize("character_set", [None, "ISO_IR 100", "ISO_IR 144", "ISO_IR 192"])
def test_the_findings_come_back_from_the_report_in_any_language_and_character_set(
    template: Template, character_set: str | None
) -> None:
    film = film_in(character_set)
    assert findings_from_report(report_of(film, template)) == [film.findings]


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize("character_set", [None, "ISO_IR 100", "ISO_IR 192"])
def test_each_language_gives_valid_objects(
    template: Template, character_set: str | None, tmp_path: Path
) -> None:
    for item in write_results([film_in(character_set)], preview_context(template)):
        assert errors_of(item.data, tmp_path) == []


def test_a_letter_that_the_film_s_character_set_does_not_have_is_spelt_out() -> None:
    german = load_template(FOLDER / f"{GERMAN}.toml")
    assert "Flächige Ausdehnung" in report_text(report_of(film_in("ISO_IR 100"), german))
    assert "Flaechige Ausdehnung" in report_text(report_of(film_in(None), german))
    assert "Flaechige Ausdehnung" in report_text(report_of(film_in("ISO_IR 144"), german))


def test_the_panel_keeps_its_letters_since_it_is_drawn() -> None:
    german = load_template(FOLDER / f"{GERMAN}.toml")
    assert german.spoken_in(("ascii",)).panel == german.panel


def test_the_schema_for_editors_is_the_one_that_is_checked() -> None:
    shipped = json.loads((FOLDER / "template.schema.json").read_text("utf-8"))
    assert shipped == template_schema(), "run: dicom-node templates schema > sr_templates/…json"


def test_the_same_findings_in_another_language_are_other_instances(
    template: Template,
) -> None:
    film = preview_film()
    first = write_results([film], preview_context(template))[0]
    other = template.model_copy(update={"digest": "0" * 64})
    again = write_results([film], preview_context(other))[0]
    assert first.sop_instance_uid != again.sop_instance_uid
    assert first.series_instance_uid == again.series_instance_uid
