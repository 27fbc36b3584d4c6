"""Nobody's result leaves under another name, whatever the character set says."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace

import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataset import Dataset as Item

from dicom_node.errors import IdentityNotPreserved
from dicom_node.imaging.header import read_dataset
from dicom_node.imaging.phantom import Identity, phantom_dataset
from dicom_node.records import ObjectKind
from dicom_node.results.modules import IDENTITY
from dicom_node.results.write import Context, WrittenObject, write_results
from tests.results.conftest import MakeFilm, analysed, reread
from tests.thinned import thinned


def parsed(item: WrittenObject) -> Dataset:
    return pydicom.dcmread(io.BytesIO(item.data))


def with_bytes(old: bytes, new: bytes, charset: str | tuple[str, ...] | None) -> Dataset:
    """Return a phantom as it comes from a sender that wrote ``new`` into its name."""
    assert len(old) == len(new)
    # An ID with letters: no UID can hold it by chance.
    identity = Identity(patient_name=old.decode("ascii"), patient_id="NO4711")
    film = phantom_dataset(rows=160, columns=160, identity=identity)
    if charset is None:
        del film.SpecificCharacterSet
    else:
        film.SpecificCharacterSet = list(charset) if isinstance(charset, tuple) else charset
    buffer = io.BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    assert data.count(old) == 1
    return read_dataset(data.replace(old, new))


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (None, "Müller^Jörg".encode("latin-1")),
        (None, "Иванов^Пётр".encode("iso-8859-5")),
        ("ISO_IR 100", "Müller^Jörg".encode("latin-1")),
        ("ISO_IR 144", "Иванов^Пётр".encode("iso-8859-5")),
        ("ISO_IR 192", "Иванов^山田".encode()),
        ("ISO_IR 999", "Иванов^Пётр".encode("iso-8859-5")),
        (("", "ISO 2022 IR 87"), b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
    ],
    ids=["none+latin", "none+cyrillic", "100", "144", "192", "unknown", "87"],
)
def test_the_bytes_of_the_name_leave_as_they_came(
    context: Context, charset: str | tuple[str, ...] | None, name: bytes
) -> None:
    placeholder = b"N" * (len(name) - 1) + b"^"
    with warnings.catch_warnings():
        # pydicom warns about character sets and names that break the standard: they are the test.
        warnings.simplefilter("ignore")
        film = analysed(with_bytes(placeholder, name, charset))
        results = write_results([film], context)
    for item in results:
        assert item.data.count(name) == 1
        assert item.data.count(b"NO4711") == 1


@pytest.mark.parametrize(
    ("keyword", "values"),
    thinned(
        [
            ("PatientName", ("DOE^JANE", "SOMEBODY^ELSE")),
            ("PatientID", ("4711", "4712")),
            ("PatientBirthDate", ("19620507", "19900101")),
            ("PatientSex", ("M", "F")),
            ("IssuerOfPatientID", ("HERE", "ELSEWHERE")),
        ],
        every=3,
    ),
)
def test_films_of_one_study_that_contradict_are_answered_each_under_its_own_patient(
    make_film: MakeFilm, context: Context, keyword: str, values: tuple[str, str]
) -> None:
    made = []
    for seed, value in enumerate(values):
        dataset = make_film(seed).dataset
        dataset.StudyInstanceUID = "1.2.3"
        setattr(dataset, keyword, value)
        made.append(analysed(reread(dataset)))
    results = [parsed(item) for item in write_results(made, context, tuple(ObjectKind))]
    for film, value in zip(made, values, strict=True):
        own = [result for result in results if result.get(keyword) == value]
        others = [result for result in results if result not in own]
        uid = str(film.dataset.SOPInstanceUID)
        assert sum(uid in str(result) for result in own) >= 6
        assert not any(uid in str(result) for result in others)
        assert len(own) == len(others)
        assert not {r.SeriesInstanceUID for r in own} & {r.SeriesInstanceUID for r in others}


@pytest.mark.parametrize("keyword", ["PatientName", "PatientBirthDate", "PatientSex", "PatientID"])
def test_an_empty_attribute_makes_no_other_patient(
    make_film: MakeFilm, context: Context, keyword: str
) -> None:
    first, other = make_film(1), make_film(2)
    first.dataset.PatientBirthDate = other.dataset.PatientBirthDate = "19620507"
    other.dataset.StudyInstanceUID = first.dataset.StudyInstanceUID
    setattr(other.dataset, keyword, "")
    *reports, one, two = write_results([first, other], context)
    assert len(reports) == 4
    assert parsed(one).get(keyword) == first.dataset.get(keyword)
    assert not parsed(two).get(keyword)


def test_a_report_replaces_only_the_same_patient_s(make_film: MakeFilm, context: Context) -> None:
    first, other = make_film(1), make_film(2)
    other.dataset.StudyInstanceUID = first.dataset.StudyInstanceUID
    other.dataset.PatientName = "SOMEBODY^ELSE"
    report, *_ = write_results([first], context)
    before = (report.sop_class_uid, report.sop_instance_uid, report.series_instance_uid)
    again = replace(context, revision=2, predecessors=(before,))
    named = [
        "PredecessorDocumentsSequence" in parsed(item)
        for item in write_results([first, other], again, (ObjectKind.REPORT,))
    ]
    assert named == [True] * 4 + [False] * 4


def test_empty_components_of_a_name_make_no_other_patient(
    make_film: MakeFilm, context: Context
) -> None:
    first, other = make_film(1), make_film(2)
    other.dataset.StudyInstanceUID = first.dataset.StudyInstanceUID
    other.dataset.PatientName = f"{first.dataset.PatientName}^^"
    assert len(write_results([first, other], context)) == 6


def test_a_description_that_cannot_be_written_whole_stops_the_result(
    make_film: MakeFilm, context: Context
) -> None:
    film = make_film(identity=Identity(specific_character_set="ISO_IR 100"))
    film.dataset.StudyDescription = "Грудная клетка"
    with pytest.raises(IdentityNotPreserved, match="Specific Character Set"):
        write_results([film], context)


def test_an_error_about_identity_names_no_patient(make_film: MakeFilm, context: Context) -> None:
    film = make_film(identity=Identity(specific_character_set="ISO_IR 100"))
    film.dataset.PatientName = "Канарейка^Жёлтая"
    with pytest.raises(IdentityNotPreserved) as stopped:
        write_results([film], context)
    assert "Канарейка" not in f"{stopped.value} {stopped.value.remedy}"


def test_what_is_compared_is_never_invented(make_film: MakeFilm, context: Context) -> None:
    film = make_film()
    for keyword in set(IDENTITY) - {"StudyInstanceUID"}:
        if keyword in film.dataset:
            del film.dataset[keyword]
    for item in write_results([film], context):
        for keyword in set(IDENTITY) - {"StudyInstanceUID"}:
            assert not parsed(item).get(keyword)


def test_the_order_is_named_from_the_film_s_request(make_film: MakeFilm, context: Context) -> None:
    film, request = make_film(), Item()
    request.RequestedProcedureID = "RP7"
    film.dataset.AccessionNumber = "A-99"
    film.dataset.RequestAttributesSequence = [request]
    *reports, _ = write_results([film], context)
    for report in reports:
        (named,) = parsed(report).ReferencedRequestSequence
        assert (named.AccessionNumber, named.RequestedProcedureID) == ("A-99", "RP7")
        assert named.StudyInstanceUID == film.dataset.StudyInstanceUID


def test_a_reported_network_is_the_one_that_answered(make_film: MakeFilm, context: Context) -> None:
    newer = replace(context.networks["covidnet"], version="2.0.0", weights="sha256:" + "ef" * 32)
    report, *_ = write_results([make_film()], replace(context, networks={"covidnet": newer}))
    equipment = parsed(report).ContributingEquipmentSequence[1]
    assert equipment.SoftwareVersions == "1.0.0"
    assert b"ef" * 32 not in report.data


def test_a_value_that_breaks_its_vr_is_quoted_in_no_warning(
    make_film: MakeFilm, context: Context
) -> None:
    film = make_film()
    del film.dataset.AccessionNumber
    film.dataset.add_new("AccessionNumber", "LO", "A-CANARY-OF-MORE-THAN-16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for item in write_results([film], context):
            assert b"A-CANARY-OF-MORE-THAN-16" in item.data
