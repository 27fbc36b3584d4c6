"""Answers on a film that cannot both be true are known as such, whatever combination they are."""

from __future__ import annotations

from itertools import product

import pytest

from dicom_node.chest import (
    APPEARANCES,
    ZONES,
    Airspace,
    Appearance,
    Detection,
    OpacityPresence,
    Score,
    opacities_by_score,
)
from dicom_node.findings import (
    Evidence,
    FilmFindings,
    Outcome,
    has_findings,
    is_in_doubt,
)
from tests.chest_kit import answering, with_answers

CLASSES = {
    "covid19": {"normal": 0.1, "pneumonia": 0.1, "covid19": 0.8},
    "pneumonia": {"normal": 0.1, "pneumonia": 0.8, "covid19": 0.1},
    "normal": {"normal": 0.8, "pneumonia": 0.1, "covid19": 0.1},
    "undetermined": {"normal": 0.4, "pneumonia": 0.35, "covid19": 0.25},
}
CLEAR, OPAQUE, EITHER = Score(0.2, 0.0, 2.7), Score(5.0, 2.5, 7.5), Score(1.9, 0.0, 4.4)


def detection(name: str) -> Detection:
    return Detection(CLASSES[name], 0.5, calibrated=True)


def airspace(level: int, opaque: int) -> Airspace:
    scores = (1.5 if place < opaque else 0.1 for place in range(len(ZONES)))
    return Airspace(level, 0.8, dict(zip(ZONES, scores, strict=True)))


def appearance(name: str, threshold: float = 0.45) -> Appearance:
    rest = dict.fromkeys(APPEARANCES, 0.1)
    return Appearance(rest | {name: 0.7}, threshold, calibrated=True)


def opacity(probability: float) -> OpacityPresence:
    return OpacityPresence(probability, 0.5, calibrated=True)


def film(name: str = "covid19", **parts: object) -> FilmFindings:
    found = with_answers("2.25.1", finding=detection(name))
    return answering(found, **parts)


@pytest.mark.parametrize("name", ["covid19", "pneumonia"])
@pytest.mark.parametrize(
    ("parts", "other"),
    [
        ({"airspace": airspace(0, 0)}, {"airspace.level", "airspace.zones"}),
        ({"airspace": Airspace(0, 0.8)}, {"airspace.level"}),
        ({"airspace": airspace(1, 0)}, {"airspace.zones"}),
        ({"scores": {"geographic_extent": CLEAR}}, {"scores.geographic_extent"}),
        ({"scores": {"opacity_extent": Score(0.4, 0.1, 0.9)}}, {"scores.opacity_extent"}),
        ({"detections": {"other": detection("normal")}}, {"detections.other"}),
    ],
)
def test_a_pneumonia_that_nothing_else_sees_is_contradicted(
    name: str, parts: dict[str, object], other: set[str]
) -> None:
    pairs = film(name, **parts).contradictions
    assert {b for a, b in pairs if a == "finding"} == other


@pytest.mark.parametrize(
    ("parts", "other"),
    [
        ({"airspace": airspace(1, 1)}, {"airspace.level", "airspace.zones"}),
        ({"airspace": airspace(2, 4)}, {"airspace.level", "airspace.zones"}),
        ({"airspace": airspace(0, 1)}, {"airspace.zones"}),
        ({"scores": {"geographic_extent": OPAQUE}}, {"scores.geographic_extent"}),
        ({"scores": {"opacity_extent": Score(3.1, 0.2, 5.0)}}, {"scores.opacity_extent"}),
        ({"scores": {"opacity_extent": Score(2.5)}}, {"scores.opacity_extent"}),
        ({"detections": {"other": detection("covid19")}}, {"detections.other"}),
    ],
)
def test_a_normal_film_with_opacities_is_contradicted(
    parts: dict[str, object], other: set[str]
) -> None:
    pairs = film("normal", **parts).contradictions
    assert {b for a, b in pairs if a == "finding"} == other


@pytest.mark.parametrize(
    "found",
    [
        film("covid19"),
        film("covid19", airspace=airspace(2, 5), scores={"geographic_extent": OPAQUE}),
        film("covid19", airspace=airspace(1, 1), scores={"geographic_extent": EITHER}),
        film("normal", airspace=airspace(0, 0), scores={"geographic_extent": CLEAR}),
        film("normal", airspace=airspace(0, 0), scores={"geographic_extent": EITHER}),
        film("undetermined", airspace=airspace(0, 0), scores={"geographic_extent": CLEAR}),
        film("undetermined", airspace=airspace(1, 2), scores={"geographic_extent": OPAQUE}),
        film("pneumonia", detections={"a": detection("pneumonia"), "b": detection("covid19")}),
        film("covid19", airspace=Airspace(1, 0.6, {"left_upper": 0.0})),
        FilmFindings("2.25.1", Outcome.DECLINED, "a hand"),
    ],
)
def test_answers_that_can_all_be_true_do_not_contradict(found: FilmFindings) -> None:
    assert found.contradictions == ()
    assert "contradictions" not in found.to_json()


def test_grades_contradict_each_other_also_where_no_class_is_named() -> None:
    found = film("undetermined", airspace=airspace(0, 0), scores={"opacity_extent": OPAQUE})
    assert set(found.contradictions) == {
        ("airspace.level", "scores.opacity_extent"),
        ("airspace.zones", "scores.opacity_extent"),
    }


@pytest.mark.parametrize(("level", "opaque"), list(product(range(3), range(7))))
def test_a_level_stands_only_beside_as_many_zones(level: int, opaque: int) -> None:
    pairs = film("undetermined", airspace=airspace(level, opaque)).contradictions
    fits = level == (0 if opaque == 0 else 1 if opaque < 3 else 2)
    assert pairs == (() if fits else (("airspace.level", "airspace.zones"),))


def test_findings_name_their_contradictions_and_read_them_from_the_answers_alone() -> None:
    found = film(airspace=airspace(0, 0))
    document = found.to_json()
    assert document["contradictions"] == [["finding", "airspace.level"],
                                          ["finding", "airspace.zones"]]  # fmt: skip
    assert FilmFindings.from_json(document) == found
    del document["contradictions"]  # as an older release wrote it
    assert FilmFindings.from_json(document).contradictions == found.contradictions


def test_findings_of_older_releases_have_no_chance_and_are_read() -> None:
    document = film(evidence=Evidence(0.6, 0.2, 0.45, peak_in_lungs=True)).to_json()
    for name in ("chance", "peak_in_lungs"):
        del document["evidence"][name]
    assert FilmFindings.from_json(document).evidence == Evidence(0.6, 0.2)


@pytest.mark.parametrize(
    ("score", "opaque"),
    [(Score(0.0, 0.0, 2.5), False), (Score(0.9, 0.0, 3.4), None), (Score(3.0, 0.5, 5.5), True),
     (Score(0.4), False), (Score(1.5), None), (Score(2.0), True), (Score(8.0, 7.0, 8.0), True),
     (Score(0.6, 0.55, 0.8), False)],
)  # fmt: skip
def test_an_extent_may_say_neither(score: Score, opaque: bool | None) -> None:
    assert opacities_by_score(score) is opaque


ABSENT, PRESENT = opacity(0.2), opacity(0.5)


@pytest.mark.parametrize(
    ("name", "parts", "pairs"),
    [
        ("covid19", {"opacity": ABSENT}, {("opacity", "finding")}),
        ("pneumonia", {"opacity": ABSENT}, {("opacity", "finding")}),
        ("normal", {"opacity": PRESENT}, {("opacity", "finding")}),
        ("normal", {"appearance": appearance("typical")}, {("finding", "appearance")}),
        ("normal", {"appearance": appearance("indeterminate")}, {("finding", "appearance")}),
        ("normal", {"appearance": appearance("atypical")}, {("finding", "appearance")}),
        ("covid19", {"appearance": appearance("negative")}, {("finding", "appearance")}),
        ("undetermined", {"opacity": PRESENT, "appearance": appearance("negative")},
         {("opacity", "appearance")}),
        ("undetermined", {"opacity": ABSENT, "appearance": appearance("typical")},
         {("opacity", "appearance")}),
        ("undetermined", {"appearance": appearance("negative"), "airspace": airspace(1, 1)},
         {("appearance", "airspace.level"), ("appearance", "airspace.zones")}),
        ("undetermined", {"opacity": ABSENT, "airspace": airspace(2, 3)},
         {("opacity", "airspace.level"), ("opacity", "airspace.zones")}),
        ("undetermined", {"opacity": ABSENT, "scores": {"geographic_extent": OPAQUE}},
         {("opacity", "scores.geographic_extent")}),
    ],
)  # fmt: skip
def test_opacity_and_appearance_are_held_against_the_other_answers(
    name: str, parts: dict[str, object], pairs: set[tuple[str, str]]
) -> None:
    found = film(name, **parts)
    assert set(found.contradictions) == pairs
    assert is_in_doubt(found.to_json())


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("normal", {"opacity": ABSENT, "appearance": appearance("negative")}),
        ("covid19", {"opacity": PRESENT, "appearance": appearance("typical")}),
        # Other disease may look typical, and COVID-19 atypical: no class excludes these.
        ("pneumonia", {"opacity": PRESENT, "appearance": appearance("typical")}),
        ("covid19", {"opacity": PRESENT, "appearance": appearance("atypical")}),
        # An effusion alone is atypical, and no opacity of the lungs.
        ("undetermined", {"opacity": ABSENT, "appearance": appearance("atypical")}),
        # An appearance that is not named says nothing.
        ("normal", {"opacity": ABSENT, "appearance": appearance("typical", threshold=0.8)}),
        ("covid19", {"opacity": PRESENT, "appearance": appearance("negative", threshold=0.8)}),
    ],
)
def test_opacity_and_appearance_that_can_be_true_contradict_nothing(
    name: str, parts: dict[str, object]
) -> None:
    found = film(name, **parts)
    assert found.contradictions == ()
    assert not is_in_doubt(found.to_json())


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({}, False),
        ({"opacity": ABSENT}, False),
        ({"opacity": PRESENT}, True),
        ({"appearance": appearance("negative")}, False),
        ({"appearance": appearance("typical")}, True),
        ({"appearance": appearance("atypical")}, True),
        ({"appearance": appearance("typical", threshold=0.8)}, False),
    ],
)
def test_a_film_has_findings_where_there_is_opacity_or_an_appearance_of_disease(
    parts: dict[str, object], found: bool
) -> None:
    assert has_findings(film("undetermined", **parts)) is found


def test_opacity_and_appearance_are_read_back_from_json() -> None:
    found = film(opacity=opacity(0.93), appearance=appearance("typical"))
    document = found.to_json()
    assert document["opacity"] == {
        "probability": 0.93, "threshold": 0.5, "calibrated": True, "present": True,
    }  # fmt: skip
    assert document["appearance"]["class"] == "typical"
    assert document["appearance"]["abstained"] is False
    assert FilmFindings.from_json(document) == found
    del document["opacity"], document["appearance"]  # as an older release wrote it
    assert FilmFindings.from_json(document) == film()
