"""Who gets which objects of a study, as a table."""

from __future__ import annotations

import pytest

from dicom_node.intake.admit import OWN_RESULT
from dicom_node.intake.routing import (
    NoRecipient,
    Recipient,
    accepted_sr_class,
    is_told,
    parcels,
    route,
)
from dicom_node.records import Digest, InstanceState, ObjectKind, ResultObject
from dicom_node.settings import Remote
from dicom_node.settings.model import SR_CLASS_UIDS

SR, CAPTURE = ObjectKind.REPORT, ObjectKind.CAPTURE
REMOTES = {
    remote.ae_title: remote
    for remote in (
        Remote(ae_title="MOD", results_to=("PACS", "READER")),
        Remote(ae_title="LOOP", host="h", port=104, objects=("capture", "sr")),
        Remote(ae_title="PACS", host="h", port=104, objects=("sr", "capture")),
        Remote(ae_title="READER", host="h", port=104, objects=("sr",), release="approve"),
        Remote(ae_title="TALKS", host="h", port=104, objects=("sr",), answer_always=True),
        Remote(ae_title="PICTURES", host="h", port=104, objects=("capture",), answer_always=True),
        Remote(ae_title="SHADOW", host="h", port=104, objects=("sr",), release="shadow"),
        Remote(ae_title="STALE", results_to=("GONE", "PACS")),
    )
}
PACS = Recipient("PACS", (SR, CAPTURE), None)
READER = Recipient("READER", (SR,), "approve")
LOOP = Recipient("LOOP", (CAPTURE, SR), None)
SHADOW = Recipient("SHADOW", (SR,), "shadow")
ABSENT = "it is not in the AE table"


@pytest.mark.parametrize(
    ("origins", "recipients", "left_out"),
    [
        (["LOOP"], (LOOP,), ()),
        (["MOD"], (PACS, READER), ()),
        (["SHADOW"], (SHADOW,), ()),
        (["PACS", "MOD"], (PACS, READER), ()),
        (["LOOP", "MOD"], (LOOP, PACS, READER), ()),
        (["STALE"], (PACS,), (NoRecipient("GONE", ABSENT),)),
        (["STRANGER", "PACS"], (PACS,), (NoRecipient("STRANGER", ABSENT),)),
        (["STRANGER"], (), (NoRecipient("STRANGER", ABSENT),)),
        ([], (), ()),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_results_go_where_the_table_says_for_each_sender_each_ae_once(
    origins: list[str], recipients: tuple[Recipient, ...], left_out: tuple[NoRecipient, ...]
) -> None:
    routed = route(origins, REMOTES, analysed=True)
    assert routed.recipients == recipients
    assert routed.left_out == left_out
    assert (routed.reason is None) is bool(recipients)


@pytest.mark.parametrize(
    ("origin", "answered", "reason"),
    [
        ("TALKS", True, ""),
        ("PACS", False, "it wants no answer where no film"),
        ("PICTURES", False, "it wants no report"),
        ("STRANGER", False, ABSENT),
    ],
)
def test_where_no_film_was_analysed_a_report_goes_to_those_alone_that_want_one_always(
    origin: str, answered: bool, reason: str
) -> None:
    routed = route([origin], REMOTES, analysed=False)
    assert routed.recipients == ((Recipient(origin, (SR,), None),) if answered else ())
    assert routed.kinds == ({SR} if answered else set())
    assert [each.ae_title for each in routed.left_out] == ([] if answered else [origin])
    assert all(each.reason.startswith(reason) for each in routed.left_out)


def test_what_somebody_wants_is_written_and_nothing_else() -> None:
    assert route(["MOD"], REMOTES, analysed=True).kinds == {SR, CAPTURE}
    assert route(["TALKS"], REMOTES, analysed=True).kinds == {SR}


def test_the_alternatives_of_a_group_are_one_parcel_in_their_order() -> None:
    objects = [_object(SR, "a", "1"), _object(CAPTURE, "b", "2"), _object(SR, "a", "3")]
    sent = parcels(PACS, objects)
    assert [[item.sop_instance_uid for item in each.objects] for each in sent] == [
        ["1", "3"],
        ["2"],
    ]
    assert {(each.destination, each.held) for each in sent} == {("PACS", None)}


def test_an_ae_gets_no_kind_that_it_does_not_want_and_waits_where_a_person_approves() -> None:
    (sent,) = parcels(READER, [_object(SR, "a", "1"), _object(CAPTURE, "b", "2")])
    assert [item.kind for item in sent.objects] == [SR]
    assert sent.held == "approve"


@pytest.mark.parametrize(
    ("state", "reason", "analysed", "told"),
    [
        (InstanceState.ANALYSED, None, True, True),
        (InstanceState.FAILED, "no pixels", True, True),
        (InstanceState.FAILED, "no pixels", False, True),
        (InstanceState.DECLINED, "view LL is not frontal", True, False),
        (InstanceState.DECLINED, "view LL is not frontal", False, True),
        (InstanceState.DECLINED, OWN_RESULT, True, False),
        (InstanceState.DECLINED, OWN_RESULT, False, False),
    ],
)
def test_a_declined_film_is_told_of_only_where_there_is_nothing_else_and_our_own_never(
    state: InstanceState, reason: str | None, analysed: bool, told: bool
) -> None:
    assert is_told(state, reason, analysed=analysed) is told


def test_the_class_of_a_report_is_the_most_wanted_that_was_accepted() -> None:
    remote = Remote(
        ae_title="PACS",
        host="h",
        port=104,
        sr_classes=("comprehensive-3d", "comprehensive", "enhanced"),
    )
    accepted = {SR_CLASS_UIDS["enhanced"], SR_CLASS_UIDS["comprehensive"]}
    assert accepted_sr_class(remote, accepted) == SR_CLASS_UIDS["comprehensive"]
    assert accepted_sr_class(remote, ()) is None


def _object(kind: ObjectKind, group: str, uid: str) -> ResultObject:
    return ResultObject(
        group=group,
        kind=kind,
        sop_instance_uid=uid,
        sop_class_uid="1.2",
        series_instance_uid="1.3",
        digest=Digest("d"),
        size_bytes=1,
    )
