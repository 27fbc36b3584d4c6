"""Whether two films are of one person: what is placeholder, empty or contradicting never is."""

from __future__ import annotations

import io
import warnings

import pytest
from pydicom.dataset import Dataset

from dicom_node.imaging.header import read_attributes
from dicom_node.imaging.patient import (
    Different,
    Patient,
    Same,
    Unknown,
    by_patient,
    contradiction,
    patient_of,
    same_person,
)
from dicom_node.imaging.placeholders import placeholders, shipped

JANE = {
    "PatientID": "4711", "IssuerOfPatientID": "", "PatientName": "DOE^JANE",
    "PatientBirthDate": "19620507", "PatientSex": "F", "StudyDate": "20260301",
}  # fmt: skip
UNBORN = JANE | {"PatientBirthDate": ""}


def patient(**values: str) -> Patient:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, said in values.items():
        setattr(dataset, keyword, said)
    return patient_of(dataset)


def compared(one: dict[str, str], **changes: str) -> Same | Different | Unknown:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answers = [
            same_person(patient(**one), patient(**one | changes)),
            same_person(patient(**one | changes), patient(**one)),
        ]
    assert type(answers[0]) is type(answers[1])
    return answers[0]


@pytest.mark.parametrize(
    "patient_id",
    ["0", "000", "W/I", "w.i.", "UNKNOWN", "Unknown Patient", "PATIENT, UNKNOWN 3", "ANONYMOUS",
     "Anonymisé", "NONE", "N/A", "null", "TEMP", "TEMP-2", "TMP_001", "EMERGENCY", "EMERGENCY 12",
     "ER", "Notfall", "URGENCE", "-", "--", "?", "***", ".", "XXX", "xxxxxx", "99999", "1", "7",
     "11111111", "123", "1234", "123456", "0123456789", "987654321", "0000123", "123123", "ABCDEF",
     "NO ID", "no-id", "ohne ID", "sans nom", "неизвестный", "Неизвестно", "不明", "未知", "匿名",
     "미상", "مجهول", "אלמוני", "TEST", "DUMMY", "walk-in", "JOHN DOE", "Pronto Soccorso",
     "0^^^HOSPITAL", "UNKNOWN^^^H", "QWERTY", "PATIENT", "19620507", "20260301", "TEMP20260301",
     "UNKNOWN-0000", "UNBEK. MANN", "UNBEKANNT", "ＵＮＫＮＯＷＮ", "DOE^JANE", "NN", "急診"],
)  # fmt: skip
def test_a_patient_id_that_everybody_may_have_is_nobody_s(patient_id: str) -> None:
    assert isinstance(compared(JANE | {"PatientID": patient_id}), Unknown)


@pytest.mark.parametrize(
    "patient_id",
    ["4711", "P1008", "PAT001", "PAT-0042", "TEST1", "0004711", "8837462", "AB12CD", "EM20261234",
     "4711^^^HOSPITAL", "JP-1", "12", "2025-0815", "ID 77", "10000", "UNK48151623", "Нечаев-17",
     "山田0815"],
)  # fmt: skip
def test_a_patient_id_of_one_s_own_is_one(patient_id: str) -> None:
    assert compared(JANE | {"PatientID": patient_id}) == Same()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"PatientName": "doe^Jane"},
        {"PatientName": "Doe^Jane^^"},
        {"PatientName": " DOE ^ JANE "},
        {"PatientName": "DOE^JANE^^Dr."},
        {"PatientName": "DOE JANE"},
        {"PatientName": "DOE, JANE"},
        {"PatientName": "JANE^DOE"},
        {"PatientName": "Döe^Jané"},
        {"PatientName": "DOE^JANE=ドウ^ジェーン"},
        {"PatientName": "DOE-MILLER^JANE"},
        {"PatientName": "DOE^JANE MARY"},
        {"PatientName": "DOE^JANE^MARY"},
        {"PatientSex": ""},
        {"PatientSex": "f"},
        {"PatientSex": "U"},
        {"StudyDate": "20230101"},
        {"PatientBirthDate": "1962.05.07"},
    ],
    ids=str,
)
def test_spellings_that_mean_nothing_are_one_person(changes: dict[str, str]) -> None:
    assert compared(JANE, **changes) == Same()


@pytest.mark.parametrize(
    ("name", "other"),
    [("Müller^Jörg", "MUELLER^JOERG"), ("Müller^Jörg", "MULLER^JORG"), ("Weiß^Åse", "WEISS^AASE"),
     ("O'Brien^Anne-Marie", "OBRIEN^ANNE MARIE"), ("Anne-Marie^X", "ANNEMARIE^X"),
     ("Łuczak^Ødegård", "LUCZAK^ODEGARD"), ("Кошелёв^Пётр", "КОШЕЛЕВ^ПЕТР"),
     ("YILDIZ^İPEK", "yıldız^ipek")],
)  # fmt: skip
def test_a_name_without_its_accents_is_the_same_name(name: str, other: str) -> None:
    assert compared(JANE | {"PatientName": name}, PatientName=other) == Same()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"PatientID": "4712"}, "Patient ID"),
        ({"PatientID": "04711"}, "Patient ID"),
        ({"PatientName": "ROE^RICHARD"}, "name"),
        ({"PatientName": "DOE^JOHN"}, "name"),
        ({"PatientName": "MILLER^JANE"}, "name"),
        ({"PatientName": "DOE^JANET"}, "name"),
        ({"PatientBirthDate": "19620508"}, "birth date"),
        ({"PatientSex": "M"}, "sex"),
        ({"PatientSex": "O"}, "sex"),
    ],
)
def test_facts_that_contradict_are_two_people(changes: dict[str, str], what: str) -> None:
    assert compared(JANE, **changes) == Different(what)  # type: ignore[arg-type]


def test_another_issuer_is_another_person() -> None:
    issued = JANE | {"IssuerOfPatientID": "HERE"}
    assert compared(issued) == Same()
    assert compared(issued, IssuerOfPatientID="THERE") == Different("issuer of the Patient ID")
    assert isinstance(compared(issued, IssuerOfPatientID=""), Unknown)


def test_ideographs_decide_where_both_films_have_them() -> None:
    yamada = JANE | {"PatientName": "Yamada^Tarou=山田^太郎"}
    assert compared(yamada, PatientName="YAMADA^TAROU") == Same()
    assert compared(yamada, PatientName="=山田^太郎") == Same()
    assert compared(yamada, PatientName="Yamada^Tarou=山田^太朗") == Different("name")
    assert isinstance(compared(JANE, PatientName="=山田^太郎"), Unknown)


@pytest.mark.parametrize("name", ["DOE^J", "DOE", "", "UNKNOWN^UNKNOWN", "DOE^BABY", "XXX^XXX"])
def test_a_name_that_may_be_another_s_is_no_identity(name: str) -> None:
    assert isinstance(compared(JANE, PatientName=name), Unknown)


@pytest.mark.parametrize(
    "name", ["", "UNKNOWN^MALE", "ANONYMOUS", "N^N", "BABY^DOE", "неизвестный", "無名"]
)
def test_a_name_of_nobody_in_both_films_is_no_identity(name: str) -> None:
    assert isinstance(compared(JANE | {"PatientName": name}), Unknown)


@pytest.mark.parametrize(
    "born",
    ["", "19000101", "18000101", "00010101", "19700101", "19010101", "11111111", "20260301",
     "20300101", "99991231", "19050101", "19621331", "1962", "UNKNOWN"],
)  # fmt: skip
def test_a_dummy_birth_date_is_none_so_that_the_whole_name_has_to_agree(born: str) -> None:
    dummy = JANE | {"PatientBirthDate": born}
    assert compared(dummy) == Same()
    assert compared(dummy, PatientName="doe^jane^^") == Same()
    assert isinstance(compared(dummy, PatientName="DOE^JANE^MARY"), Unknown)
    assert compared(dummy, PatientName="ROE^JANE") == Different("name")
    assert isinstance(compared(dummy, PatientBirthDate="19620507"), Unknown)


@pytest.mark.parametrize(
    "removed",
    [{"PatientIdentityRemoved": "YES"}, {"QualityControlSubject": "YES"},
     {"DeidentificationMethod": "by hand"}],
    ids=str,
)  # fmt: skip
def test_a_film_whose_identity_was_removed_is_of_nobody(removed: dict[str, str]) -> None:
    assert isinstance(compared(JANE, **removed), Unknown)


def test_a_site_adds_its_own_placeholders() -> None:
    known = placeholders(("ZNA*", "*-fremd-*"), ("PATIENT^SCHOCKRAUM*",), ("1950-07-01",))
    one = JANE | {"PatientID": "zna 4711"}
    assert compared(one) == Same()
    assert isinstance(same_person(patient(**one), patient(**one), known), Unknown)
    room = JANE | {"PatientName": "Patient^Schockraum 2"}
    assert isinstance(same_person(patient(**room), patient(**room), known), Unknown)
    assert known.is_birth_date("19500701", "")
    assert not shipped().is_birth_date("19500701", "")


def test_names_in_bytes_that_their_character_set_does_not_have_are_compared_as_bytes() -> None:
    def named(name: bytes) -> Patient:
        dataset = Dataset()
        for keyword, said in (JANE | {"PatientName": "NAME^EVA"}).items():
            setattr(dataset, keyword, said)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        buffer = io.BytesIO()
        dataset.save_as(buffer, implicit_vr=False, little_endian=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return patient_of(read_attributes(buffer.getvalue().replace(b"NAME^EVA", name)))

    assert same_person(named(b"B\xf6hm^Eva"), named(b"B\xf6hm^Eva")) == Same()
    assert same_person(named(b"B\xf6hm^Eva"), named(b"B\xe4hm^Eva")) == Different("name")


def test_hostile_values_are_compared_in_no_time_and_raise_nothing() -> None:
    long = "NA" * 200
    assert isinstance(compared(JANE, PatientID=long), Different)
    assert compared(JANE | {"PatientID": long}) == Same()
    compared(JANE, PatientName="=".join(["^" * 50] * 50), PatientSex="\\", PatientBirthDate="^=")


def test_keys_preselect_by_the_patient_id_alone_and_tell_nothing() -> None:
    assert patient(**JANE).key == patient(**JANE | {"PatientName": "ROE^JIM"}).key
    assert patient(**JANE).key != patient(**JANE | {"IssuerOfPatientID": "ELSEWHERE"}).key
    assert patient(**JANE | {"PatientID": ""}).key == ""
    assert "4711" not in patient(**JANE).key
    assert "DOE" not in repr(patient(**JANE))


def test_films_of_a_study_are_one_patient_s_unless_two_contradict() -> None:
    empty, other = JANE | {"PatientSex": "", "PatientBirthDate": ""}, JANE | {"PatientSex": "M"}
    films = [patient(**JANE), patient(**empty), patient(**JANE | {"PatientName": "doe^jane^"})]
    assert by_patient(films) == [[0, 1, 2]]
    assert by_patient([*films, patient(**other)]) == [[0, 2], [1], [3]]
    assert contradiction(patient(**JANE), patient(**empty)) == ""
    assert by_patient([]) == []


@pytest.mark.parametrize(
    ("name", "other"),
    [("DOE^BOY", "DOE^BOY"), ("DOE^BOY", "DOE^BOY 2"), ("DOE^GIRL", "DOE^GIRL A"),
     ("DOE^INFANT", "DOE^INFANT II"), ("DOE^B/O JANE", "DOE^B/O JANE"), ("DOE^BB", "DOE^BB"),
     ("Muster^Mädchen", "Muster^Mädchen 2"), ("Muster^Knabe", "Muster^Knabe"),
     ("LOPEZ^HIJO DE MARIA", "LOPEZ^HIJO DE MARIA"), ("SILVA^RN MARIA", "SILVA^RN MARIA"),
     ("DOE^MALE", "DOE^MALE"), ("DOE^JANE", "DOE^JANE 2"), ("DOE^JANE", "DOE^JANE II")],
)  # fmt: skip
def test_newborns_and_twins_of_one_id_and_one_birth_date_have_no_course(
    name: str, other: str
) -> None:
    assert compared(JANE | {"PatientName": name}, PatientName=other) != Same()


@pytest.mark.parametrize(
    "patient_id", ["Notfall2026", "EMERGENCY-2026", "Unbekannt männlich", "Trauma Alpha", "TEMP W"]
)
def test_a_word_for_nobody_with_a_year_a_sex_or_a_call_sign_is_nobody_s(patient_id: str) -> None:
    assert isinstance(compared(JANE | {"PatientID": patient_id}), Unknown)
