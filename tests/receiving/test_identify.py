"""What a data set says it is, and whether the command agrees."""

from __future__ import annotations

import struct

import pytest

from dicom_node.dimse.status import STATUS_OF_ERROR, StoreOutcome, outcome_of
from dicom_node.errors import (
    BrainChanged,
    BrainUnavailable,
    DataSetMismatch,
    DataSetUnreadable,
    DeviceUnavailable,
    IdentifierInvalid,
    IdentifierMissing,
    SopInstanceUidInvalid,
    SpoolUnreadable,
    StoreError,
    Unavailable,
)
from dicom_node.intake.identify import (
    StatedIdentifiers,
    check_agreement,
    check_command,
    check_uids,
    identify,
    is_uid,
)
from tests.receiving.wire import COMPUTED_RADIOGRAPHY, IMPLICIT, element

BAD_UIDS = [
    "", "1", "1.", ".1", "1..2", "01.2", "1.02", "1.2.a", "../../../tmp/evil", "1/2", "1.2 ",
    "1.2\n", "$(reboot)", "1.2.3;rm -rf", "1." + "2" * 64, "１.2",
]  # fmt: skip


@pytest.mark.parametrize("uid", BAD_UIDS)
def test_what_is_no_uid_is_refused(uid: str) -> None:
    assert not is_uid(uid)
    with pytest.raises(SopInstanceUidInvalid):
        check_command(uid)


@pytest.mark.parametrize("uid", ["0.0", "1.2", "2.25." + "1" * 39, "1." + "2" * 62])
def test_what_the_standard_allows_is_a_uid(uid: str) -> None:
    assert is_uid(uid)


def data_set(*, study: bytes = b"1.5", series: bytes = b"1.6") -> bytes:
    data = element(0x0008, 0x0016, COMPUTED_RADIOGRAPHY.encode() + b"\0")
    data += element(0x0008, 0x0018, b"1.2.3\0")
    data += element(0x0020, 0x000D, study + b"\0" * (len(study) % 2)) if study else b""
    data += element(0x0020, 0x000E, series + b"\0" * (len(series) % 2)) if series else b""
    return data


def test_the_identifiers_of_a_data_set_are_read_without_its_pixels() -> None:
    pixels = element(0x7FE0, 0x0010, b"")[:-4] + struct.pack("<I", 0xFFFFFFF0)
    found = identify(data_set() + pixels, IMPLICIT)
    assert found == StatedIdentifiers(COMPUTED_RADIOGRAPHY, "1.2.3", "1.5", "1.6")


@pytest.mark.parametrize(
    "data", [b"\xff" * 100, b"\0" * 100, b"no data set", element(0x0008, 0x0016, b"1.2")]
)
def test_garbage_is_unreadable(data: bytes) -> None:
    with pytest.raises(DataSetUnreadable):
        identify(data, IMPLICIT)


def test_three_thousand_nested_sequences_are_unreadable_and_do_no_harm() -> None:
    start = struct.pack("<HHI", 0x0008, 0x1140, 0xFFFFFFFF)
    start += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    with pytest.raises(DataSetUnreadable):
        identify(start * 3000, IMPLICIT)


@pytest.mark.parametrize(
    "data",
    [
        element(0x0008, 0x0001, b"") * 1_000_000,
        struct.pack("<HHI", 0x0008, 0x1140, 0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        + element(0x0008, 0x0001, b"") * 1_000_000,
    ],
    ids=["in the data set", "in a sequence"],
)
def test_millions_of_elements_before_the_identifiers_are_not_read_to_their_end(data: bytes) -> None:
    with pytest.raises(DataSetUnreadable, match="too many elements"):
        identify(data, IMPLICIT)


def test_ten_thousand_private_elements_are_no_obstacle() -> None:
    start = data_set(study=b"", series=b"")
    private = b"".join(element(0x0009, 0x1000 + number, b"some") for number in range(10_000))
    end = data_set()[len(start) :]
    assert identify(start + private + end, IMPLICIT).study_instance_uid == "1.5"


@pytest.mark.parametrize("missing", [{"study": b""}, {"series": b""}])
def test_an_object_that_belongs_nowhere_is_refused(missing: dict[str, bytes]) -> None:
    with pytest.raises(IdentifierMissing, match=f"no {next(iter(missing)).title()} Instance UID"):
        check_uids(identify(data_set(**missing), IMPLICIT))


@pytest.mark.parametrize(
    ("uid", "why"),
    [
        (b"x.y", "other characters"),
        (b"1.02", "1.02 is no UID as PS3.5 has it: a component begins with 0"),
        (b"1..2", "empty component"),
        (b"1." + b"2" * 63, "65 characters"),
    ],
)
@pytest.mark.parametrize("name", ["study", "series"])
def test_a_uid_that_is_none_is_refused_with_its_name_and_the_reason(
    name: str, uid: bytes, why: str
) -> None:
    with pytest.raises(IdentifierInvalid, match=f"{name.title()} Instance UID.*{why}"):
        check_uids(identify(data_set(**{name: uid}), IMPLICIT))


@pytest.mark.parametrize("uid", ["01.2", "1.2.0053.4", "1.00"])
def test_leading_zeros_are_forgiven_where_the_setting_says_so(uid: str) -> None:
    check_command(uid, "lenient")
    check_uids(StatedIdentifiers(COMPUTED_RADIOGRAPHY, uid, uid, uid), "lenient")


@pytest.mark.parametrize("uid", ["", "12345678", "1..2", "1.", "1.2.a", "1." + "2" * 63, "A^B"])
def test_what_is_no_uid_by_any_rule_is_not_forgiven(uid: str) -> None:
    with pytest.raises(SopInstanceUidInvalid):
        check_command(uid, "lenient")


@pytest.mark.parametrize(
    ("sop_class", "instance", "abstract_syntax"),
    [
        ("1.9", "1.2.3", COMPUTED_RADIOGRAPHY),
        (COMPUTED_RADIOGRAPHY, "1.2.4", COMPUTED_RADIOGRAPHY),
        (COMPUTED_RADIOGRAPHY, "1.2.3", "1.9"),
    ],
)
def test_command_data_set_and_context_must_name_the_same(
    sop_class: str, instance: str, abstract_syntax: str
) -> None:
    identity = StatedIdentifiers(COMPUTED_RADIOGRAPHY, "1.2.3", "1.5", "1.6")
    with pytest.raises(DataSetMismatch):
        check_agreement(
            identity,
            affected_sop_class_uid=sop_class,
            affected_sop_instance_uid=instance,
            abstract_syntax=abstract_syntax,
        )


def leaves(kind: type[Exception]) -> list[type[Exception]]:
    below = kind.__subclasses__()
    return [leaf for one in below for leaf in leaves(one)] if below else [kind]


def test_each_error_of_receiving_has_its_status() -> None:
    # Nothing is asked that thinks, and nothing read back, while an instance is received.
    others = {BrainChanged, BrainUnavailable, DeviceUnavailable, SpoolUnreadable}
    wanted = {*leaves(StoreError), *leaves(Unavailable)} - others
    assert wanted == set(STATUS_OF_ERROR)
    for status in STATUS_OF_ERROR.values():
        assert outcome_of(status) not in (StoreOutcome.STORED, StoreOutcome.STORED_WITH_WARNING)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, "stored"), (0xB000, "stored with warning"), (0xB006, "stored with warning"),
        (0xB007, "stored with warning"), (0xB008, "stored with warning"),
        (0x0001, "stored with warning"), (0x0107, "stored with warning"),
        (0x0116, "stored with warning"), (0x0111, "already there"), (0xA700, "try again"),
        (0xA7AB, "try again"), (0x0110, "try again"), (0xFE00, "try again"),
        (0x0124, "try slowly"), (0xA900, "refused"), (0xA801, "refused"), (0xC123, "refused"),
        (0x0117, "refused"), (0x0122, "refused"),
    ],
)  # fmt: skip
def test_each_status_of_a_peer_has_its_meaning(status: int, outcome: str) -> None:
    assert outcome_of(status) == outcome
