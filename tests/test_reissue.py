"""One report is frozen; who takes another SOP class gets it made anew, and that is frozen too."""

from __future__ import annotations

import io

import pydicom
import pytest
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    SecondaryCaptureImageStorage,
)

from dicom_node.delivery.sender import Sender
from dicom_node.line.reissue import Reissuer
from dicom_node.logs import Log
from dicom_node.records import DeliveryState, InstanceState, ObjectKind, ResultObject
from dicom_node.results.preview import preview_context, preview_film_with_map
from dicom_node.results.reissue import CLASSES, TREES, ReissueRecipe, reissue
from dicom_node.results.write import WrittenObject, in_every_class, write_each
from dicom_node.settings import Settings
from tests.delivery.pacs import ScriptedPacs, listening
from tests.reporting_kit import TEMPLATE, Node, pacs, reporting_node

__all__ = ["reporting_node"]

CAPTURE = SecondaryCaptureImageStorage


def frozen(node: Node) -> list[ResultObject]:
    (study,) = node.ledger.studies()
    return [item for item in node.ledger.results(study.id) if item.kind is ObjectKind.REPORT]


def deliver(node: Node, accepts: tuple[str, ...], **keys: object) -> ScriptedPacs:
    """Send what waits as the delivering role does, to a PACS that takes so much."""
    parcel = node.ledger.claim_deliveries("deliver", 60, 10)
    assert parcel
    sender = Sender(Settings(), node.spool, node.ledger, "deliver", Log("deliver"),
                    reissues=Reissuer(node.ledger, node.spool))  # fmt: skip
    with listening(ScriptedPacs(), accepts=(*accepts, CAPTURE)) as peer:
        sender.deliver(parcel, {"PACS": pacs(port=peer.port, **keys)})
    return peer


def alternatives() -> dict[str, WrittenObject]:
    (report,) = write_each(
        [preview_film_with_map()], preview_context(TEMPLATE), {ObjectKind.REPORT}
    )
    return {item.sop_class_uid: item for item in in_every_class(report)}


@pytest.mark.parametrize("first", TREES)
def test_from_each_class_every_class_is_the_same_bytes_under_the_same_uid(first: str) -> None:
    known = alternatives()
    assert known[first].recipe is not None
    recipe = ReissueRecipe.unpacked(known[first].recipe.packed())
    for sop_class in CLASSES:
        made = reissue(known[first].data, recipe, sop_class)
        assert made == (known[sop_class].sop_instance_uid, known[sop_class].data)


def test_the_classes_of_a_report_are_objects_of_their_own_and_one_group() -> None:
    known = alternatives()
    assert tuple(known) == CLASSES
    assert len({item.sop_instance_uid for item in known.values()}) == len(CLASSES)
    assert len({item.group for item in known.values()}) == 1
    text = pydicom.dcmread(io.BytesIO(known[BasicTextSRStorage].data))
    assert text.file_meta.MediaStorageSOPClassUID == text.SOPClassUID == BasicTextSRStorage


def test_one_report_is_frozen_in_the_class_that_is_wanted_most(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    node.report(pacs(viewer="air"))
    assert [item.sop_class_uid for item in frozen(node)] == [Comprehensive3DSRStorage]


def test_what_a_destination_is_known_to_take_is_frozen_rather_than_what_it_wants(
    node: Node,
) -> None:
    node.ledger.negotiated("PACS", [EnhancedSRStorage], [ComprehensiveSRStorage])
    node.receive(1, InstanceState.ANALYSED)
    node.report(pacs())
    assert [item.sop_class_uid for item in frozen(node)] == [EnhancedSRStorage]


@pytest.mark.parametrize("takes", [Comprehensive3DSRStorage, EnhancedSRStorage, BasicTextSRStorage])
def test_a_destination_that_takes_another_class_gets_it_and_it_is_frozen_then(
    node: Node, takes: str
) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs())
    assert [item.sop_class_uid for item in frozen(node)] == [ComprehensiveSRStorage]
    peer = deliver(node, (takes,))
    assert [sop_class for sop_class, _, _ in peer.stored] == [takes, CAPTURE]
    (_, made) = frozen(node)
    assert (made.sop_class_uid, made.sop_instance_uid) == peer.stored[0][:2]
    assert node.read(made).SOPInstanceUID == made.sop_instance_uid
    report = min(node.ledger.deliveries(study_id=study.id), key=lambda item: item.id)
    assert report.state is DeliveryState.SENT
    assert report.pinned_sop_instance_uid == made.sop_instance_uid


def test_people_who_read_text_get_text_and_the_numbers_stay_frozen(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    node.report(pacs(viewer="text", objects=["sr", "capture"]))
    peer = deliver(node, CLASSES, viewer="text")
    assert peer.stored[0][0] == BasicTextSRStorage
    assert [item.sop_class_uid for item in frozen(node)] == [EnhancedSRStorage, BasicTextSRStorage]


def test_a_report_that_was_sent_in_another_class_is_named_by_the_one_that_replaces_it(
    node: Node,
) -> None:
    film = node.receive(1, InstanceState.ANALYSED)
    node.report(pacs())
    sent = deliver(node, (EnhancedSRStorage,)).stored[0][1]
    (instance,) = node.ledger.find_instances(film.SOPInstanceUID)
    assert instance.findings_json is not None
    node.reanalyse(film, instance.findings_json.replace("0.83", "0.84"))
    node.report(pacs())
    (later,) = [item for item in frozen(node) if item.revision == 2]
    (study,) = node.read(later).PredecessorDocumentsSequence
    (named,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert named.ReferencedSOPInstanceUID == sent


def test_a_recipe_goes_with_its_study(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs())
    (report,) = frozen(node)
    assert node.ledger.recipe(report.group)
    deliver(node, CLASSES)
    assert node.ledger.forget(study.id)
    assert node.ledger.recipe(report.group) is None
