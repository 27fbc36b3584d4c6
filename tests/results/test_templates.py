"""Templates are data, and a fault in them is named by file, line and key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli.main import app
from dicom_node.errors import TemplateInvalid
from dicom_node.resources import report_templates
from dicom_node.results.templates import load_template
from dicom_node.results.write import Context, write_results
from tests.results.conftest import MakeFilm

SHIPPED = report_templates() / "chest-radiograph-measurement-report.toml"


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[str, str], Path]:
    def change(old: str, new: str) -> Path:
        text = SHIPPED.read_text("utf-8")
        assert old in text
        path = tmp_path / "site.toml"
        path.write_text(text.replace(old, new, 1), "utf-8")
        return path

    return change


def test_the_shipped_template_is_well() -> None:
    assert load_template(SHIPPED).title.value == "126000"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("percent_decimals = 0", "percent_decimals = 9", "percent_decimals"),
        ("percent_decimals = 0", "percent_decimal = 1", "percent_decimal"),
        ("{films} ({probability} %)", "{films} ({probabilty} %)", "impression.headline"),
        ("[classes.normal]", "[classes.healthy]", "classes"),
        ('scheme = "SCT", meaning = "Normal"', 'scheme = "SCT"', "classes.normal.finding.meaning"),
        ('value = "111012"', 'value = "111O12"', "measurements.certainty"),
        ('meaning = "Certainty of Finding"', 'meaning = "Certainty"', "measurements.certainty"),
        ('"Fall of score', '"Fall\\\\score', "measurements.change_when_hidden.meaning"),
        ('"change-when-hidden"', '"change\\\\hidden"', "measurements.change_when_hidden.value"),
    ],
)
def test_a_fault_is_named_by_file_line_and_key(
    changed: Callable[[str, str], Path], old: str, new: str, named: str
) -> None:
    with pytest.raises(TemplateInvalid) as fault:
        load_template(changed(old, new))
    assert "site.toml:" in fault.value.message
    assert named in fault.value.message


def test_a_meaning_that_is_too_long_in_plain_letters_is_named_by_its_line(
    changed: Callable[[str, str], Path],
) -> None:
    path = changed("Fall of score when salient area is hidden", "ä" * 60)
    path.write_text(
        path.read_text("utf-8").replace("transliteration = {}", 'transliteration = { "ä" = "ae" }'),
        "utf-8",
    )
    lines = path.read_text("utf-8").splitlines()
    at = next(
        number for number, line in enumerate(lines, 1) if line.startswith("change_when_hidden = {")
    )
    with pytest.raises(
        TemplateInvalid, match=rf"site\.toml:{at}: measurements\.change_when_hidden\.meaning"
    ):
        load_template(path)


def test_what_is_not_toml_is_said_to_be(changed: Callable[[str, str], Path]) -> None:
    with pytest.raises(TemplateInvalid, match="is not TOML"):
        load_template(changed("[impression]", "[impression"))


def test_a_site_changes_words_without_python(
    changed: Callable[[str, str], Path], make_film: MakeFilm, context: Context
) -> None:
    from dataclasses import replace

    template = load_template(
        changed('wording = "COVID-19 pneumonia"', 'wording = "Viral, typical"')
    )
    data = write_results([make_film()], replace(context, template=template))[0].data
    assert b"Viral, typical" in data


def test_check_and_preview_run_as_commands(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["templates", "check"]).exit_code == 0
    shown = runner.invoke(app, ["templates", "preview"])
    assert shown.exit_code == 0
    assert "Resembles COVID-19 films (83 %)" in shown.output
    (tmp_path / "bad.toml").write_text("language = 1\n")
    assert runner.invoke(app, ["templates", "check", "--dir", str(tmp_path)]).exit_code == 1


def test_report_prints_text_and_json(make_film: MakeFilm, context: Context, tmp_path: Path) -> None:
    film = make_film()
    path = tmp_path / "report.dcm"
    path.write_bytes(write_results([film], context)[0].data)
    runner = CliRunner()
    assert "Resembles COVID-19 films (65 %)" in runner.invoke(app, ["report", str(path)]).output
    (entry,) = json.loads(runner.invoke(app, ["report", str(path), "--json"]).output)
    assert entry == {"file": str(path), **film.findings.to_json()}
