"""Whatever the PACS does, each delivery ends as sent, postponed or refused, with the same bytes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from dicom_node.delivery.retry import next_attempt_at
from dicom_node.dimse.status import StoreOutcome
from dicom_node.settings import Remote
from dicom_node.settings.model import DeliverySection
from tests.conftest import debian
from tests.delivery.conftest import Outbox
from tests.delivery.pacs import ScriptedPacs, listening
from tests.node.peers import free_port, wait_for

MakeRemote = Callable[..., Remote]


def test_report_and_capture_go_on_one_association_with_their_frozen_bytes(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs()) as pacs:
        deliveries = outbox.attempt(remote(pacs.port))
    assert [item.state for item in deliveries] == ["sent", "sent"]
    assert pacs.associations == 1
    assert [sop_class for sop_class, _, _ in pacs.stored] == [
        ComprehensiveSRStorage,
        SecondaryCaptureImageStorage,
    ]
    for _, uid, digest in pacs.stored:
        assert digest == outbox.data_set_digest(uid)


@pytest.mark.parametrize(
    ("accepts", "wanted", "sent"),
    [
        ((ComprehensiveSRStorage, Comprehensive3DSRStorage), (), ComprehensiveSRStorage),
        ((Comprehensive3DSRStorage, EnhancedSRStorage), (), Comprehensive3DSRStorage),
        ((EnhancedSRStorage,), (), EnhancedSRStorage),
        ((BasicTextSRStorage,), (), BasicTextSRStorage),
        (
            (BasicTextSRStorage, ComprehensiveSRStorage),
            ("basic-text", "comprehensive"),
            BasicTextSRStorage,
        ),
        (
            (ComprehensiveSRStorage, Comprehensive3DSRStorage),
            ("comprehensive-3d", "comprehensive"),
            Comprehensive3DSRStorage,
        ),
    ],
)
def test_the_report_goes_in_the_class_that_the_pacs_takes_and_the_table_prefers(
    outbox: Outbox,
    remote: MakeRemote,
    accepts: tuple[str, ...],
    wanted: tuple[str, ...],
    sent: str,
) -> None:
    outbox.post("PACS")
    keys = {"sr_classes": wanted} if wanted else {}
    with listening(ScriptedPacs(), accepts=(*accepts, SecondaryCaptureImageStorage)) as pacs:
        deliveries = outbox.attempt(remote(pacs.port, **keys))
    assert [item.state for item in deliveries] == ["sent", "sent"]
    assert pacs.stored[0][0] == sent


def test_what_the_pacs_does_not_accept_is_refused_with_the_reason_and_the_rest_is_sent(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(), accepts=(SecondaryCaptureImageStorage,)) as pacs:
        report, capture = outbox.attempt(remote(pacs.port))
    assert report.state == "refused"
    assert "not accepted by PACS" in str(report.reason)
    assert capture.state == "sent"


def test_what_a_pacs_accepts_is_remembered_and_what_it_does_not_is_no_error(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(), accepts=(SecondaryCaptureImageStorage,)) as pacs:
        outbox.attempt(remote(pacs.port))
    (contact,) = outbox.ledger.peers()
    assert contact.accepted == (SecondaryCaptureImageStorage,)
    assert ComprehensiveSRStorage in contact.not_accepted
    assert contact.last_error is None
    counts = outbox.ledger.counts()
    assert counts["deliveries.not_accepted"] == 1
    assert "deliveries.refused" not in counts


def test_a_later_parcel_of_other_classes_forgets_nothing_of_what_a_pacs_accepts(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(), accepts=(SecondaryCaptureImageStorage,)) as pacs:
        _, capture = outbox.attempt(remote(pacs.port))
        outbox.ledger.resend(capture.id, "test", 1)
        outbox.attempt(remote(pacs.port))
    (contact,) = outbox.ledger.peers()
    assert contact.accepted == (SecondaryCaptureImageStorage,)
    assert ComprehensiveSRStorage in contact.not_accepted


@pytest.mark.parametrize("accepts", [(SecondaryCaptureImageStorage,), ("1.2.3",)], ids=str)
def test_a_rejection_note_that_a_pacs_does_not_accept_is_an_error(
    outbox: Outbox, remote: MakeRemote, accepts: tuple[str, ...]
) -> None:
    outbox.post_rejection("PACS")
    with listening(ScriptedPacs(), accepts=accepts) as pacs:
        (note,) = outbox.attempt(remote(pacs.port))
    assert note.state == "refused"
    assert "PACS accepts no rejection notes" in str(note.reason)
    assert outbox.ledger.counts()["deliveries.refused"] == 1


def test_what_was_not_accepted_is_not_tried_again_until_a_person_asks(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(), accepts=(SecondaryCaptureImageStorage,)) as pacs:
        report, _ = outbox.attempt(remote(pacs.port))
        assert outbox.ledger.claim_deliveries("w", 60, 10) == []
    outbox.ledger.resend(report.id, "test", 1)
    with listening(ScriptedPacs()) as pacs:
        report, _ = outbox.attempt(remote(pacs.port))
    assert report.state == "sent"
    assert outbox.ledger.counts()["deliveries.sent"] == 2


def test_a_study_whose_report_nobody_accepts_does_not_stay_for_ever(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(), accepts=(SecondaryCaptureImageStorage,)) as pacs:
        outbox.attempt(remote(pacs.port))
    assert len(outbox.ledger.removable(keep_days=-1)) == 1


def test_a_pacs_with_implicit_vr_only_gets_the_objects_too(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(), transfer_syntaxes=[ImplicitVRLittleEndian]) as pacs:
        deliveries = outbox.attempt(remote(pacs.port))
    assert [item.state for item in deliveries] == ["sent", "sent"]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (0x0000, "sent"), (0xB000, "sent"), (0xB006, "sent"), (0xB007, "sent"), (0x0111, "sent"),
        (0xA700, "waiting"), (0xA7FF, "waiting"), (0x0110, "waiting"), (0x0124, "waiting"),
        (0xA900, "waiting"), (0xC000, "waiting"), (0x0117, "waiting"), (0x0122, "waiting"),
        (0xFE01, "waiting"),
    ],
)  # fmt: skip
def test_each_status_means_what_the_table_says(
    outbox: Outbox, remote: MakeRemote, status: int, state: str
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(statuses=[status])) as pacs:
        deliveries = outbox.attempt(remote(pacs.port))
    assert {item.state for item in deliveries} == {state}
    assert {item.status for item in deliveries} == {status}


@pytest.mark.parametrize("status", [0xA900, 0xC001, 0x0117, 0x0122])
def test_bytes_refused_three_times_are_not_tried_a_fourth_time(
    outbox: Outbox, remote: MakeRemote, status: int
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(statuses=[status])) as pacs:
        for _ in range(2):
            outbox.attempt(remote(pacs.port))
            outbox.hurry()
        deliveries = outbox.attempt(remote(pacs.port))
    assert {item.state for item in deliveries} == {"refused"}
    assert f"0x{status:04X}" in str(deliveries[0].reason)


def test_the_next_class_of_the_report_follows_at_once_where_one_is_not_supported_after_all(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    refused = {ComprehensiveSRStorage: 0x0122, Comprehensive3DSRStorage: 0x0122}
    with listening(ScriptedPacs(status_of_class=refused)) as pacs:
        deliveries = outbox.attempt(remote(pacs.port))
    assert [item.state for item in deliveries] == ["sent", "sent"]
    classes = [sop_class for sop_class, _, _ in pacs.stored]
    assert classes[:3] == [ComprehensiveSRStorage, Comprehensive3DSRStorage, EnhancedSRStorage]
    assert len({uid for _, uid, _ in pacs.stored}) == 4


def test_a_class_that_was_refused_to_the_end_is_followed_by_the_next_and_then_no_more(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(status_of_class={ComprehensiveSRStorage: 0xC000})) as pacs:
        for _ in range(3):
            report, _capture = outbox.attempt(remote(pacs.port))
            outbox.hurry()
    assert report.state == "sent"
    reports = [one for one in pacs.stored if one[0] != SecondaryCaptureImageStorage]
    assert [one[0] for one in reports] == [ComprehensiveSRStorage] * 3 + [Comprehensive3DSRStorage]
    assert len(set(reports)) == 2


def test_a_full_pacs_is_tried_for_as_long_as_it_takes(outbox: Outbox, remote: MakeRemote) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(statuses=[0xA700] * 10 + [0x0000])) as pacs:
        for _ in range(5):
            outbox.attempt(remote(pacs.port))
            outbox.hurry()
        deliveries = outbox.attempt(remote(pacs.port))
    assert {item.state for item in deliveries} == {"sent"}


def test_one_object_stored_and_the_other_not_leaves_only_the_missing_one(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(statuses=[0x0000, 0xA700, 0x0000])) as pacs:
        report, capture = outbox.attempt(remote(pacs.port))
        assert (report.state, capture.state) == ("sent", "waiting")
        outbox.hurry()
        outbox.attempt(remote(pacs.port))
    uids = [uid for _, uid, _ in pacs.stored]
    assert uids.count(uids[0]) == 1
    assert uids.count(uids[1]) == 2


def test_an_answer_that_never_came_means_the_same_bytes_again(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(abort_after=1)) as pacs:
        deliveries = outbox.attempt(remote(pacs.port))
        assert {item.state for item in deliveries} == {"waiting"}
        pacs.abort_after = None
        outbox.hurry()
        deliveries = outbox.attempt(remote(pacs.port))
    assert {item.state for item in deliveries} == {"sent"}
    assert len(pacs.stored) == 4
    assert pacs.stored[:2] == pacs.stored[2:]


def test_the_alternative_once_sent_is_kept_even_if_the_pacs_learns_another(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    only = (EnhancedSRStorage, SecondaryCaptureImageStorage)
    with listening(ScriptedPacs(statuses=[0xA700]), accepts=only) as pacs:
        outbox.attempt(remote(pacs.port))
    outbox.hurry()
    with listening(ScriptedPacs()) as pacs:
        outbox.attempt(remote(pacs.port))
    assert pacs.stored[0][0] == EnhancedSRStorage


def test_a_pacs_that_does_not_know_us_is_tried_slowly_and_the_reason_names_the_title(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(), require_calling=["SOMEONE"]) as pacs:
        report, _ = outbox.attempt(remote(pacs.port))
    assert report.state == "waiting"
    assert "does not recognise the AE title DICOMNODE" in str(report.reason)
    assert report.next_attempt_at > datetime.now(UTC) + timedelta(minutes=10)


def test_a_pacs_that_is_called_otherwise_is_tried_slowly(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(), called="OTHER", check_called=True) as pacs:
        report, _ = outbox.attempt(remote(pacs.port))
    assert "it is not called PACS" in str(report.reason)


def test_a_pacs_that_is_down_is_tried_again_soon(outbox: Outbox, remote: MakeRemote) -> None:
    outbox.post("PACS")
    report, _ = outbox.attempt(remote(free_port()))
    assert report.state == "waiting"
    assert "cannot be reached" in str(report.reason)
    assert report.next_attempt_at < datetime.now(UTC) + timedelta(seconds=60)


def test_a_destination_without_address_waits_for_the_table(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("ELSEWHERE")
    report, _ = outbox.attempt(remote(104))
    assert report.state == "waiting"
    assert "no host and port in the AE table" in str(report.reason)


def test_a_connection_into_a_black_hole_ends_at_the_time_out(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.hasty()
    outbox.post("PACS")
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        port = hole.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", port))
        # Minutes, without the limit.
        report, _ = outbox.attempt(remote(port))
        for filler in fillers:
            filler.close()
    assert report.state == "waiting"


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    command = [str(debian("storescp")), "-aet", "PACS", "-od", str(tmp_path), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def connects() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(connects, 30, "storescp listens")
    yield process, port
    process.kill()
    process.wait()


@pytest.mark.pacs
def test_a_frozen_pacs_ends_the_attempt_and_gets_everything_when_it_thaws(
    outbox: Outbox, remote: MakeRemote, storescp: tuple[subprocess.Popen[bytes], int]
) -> None:
    process, port = storescp
    outbox.post("PACS")
    os.kill(process.pid, signal.SIGSTOP)
    outbox.hasty()
    # Minutes, without the limit.
    deliveries = outbox.attempt(remote(port))
    assert {item.state for item in deliveries} == {"waiting"}
    os.kill(process.pid, signal.SIGCONT)
    outbox.patient()
    outbox.hurry()
    deliveries = outbox.attempt(remote(port))
    assert {item.state for item in deliveries} == {"sent"}


def test_a_pacs_that_stores_but_answers_too_late_ends_the_attempt(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.hasty()
    outbox.post("PACS")
    with listening(ScriptedPacs(delay_seconds=4.0)) as pacs:
        deliveries = outbox.attempt(remote(pacs.port))
    assert {item.state for item in deliveries} == {"waiting"}


def test_pauses_grow_from_the_first_to_the_longest() -> None:
    limits = DeliverySection()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    pauses = [
        (next_attempt_at(now, number, StoreOutcome.TRY_AGAIN, limits) - now).total_seconds()
        for number in range(12)
    ]
    assert 10 <= pauses[0] <= 11
    assert all(later >= earlier * 0.9 for earlier, later in pairwise(pauses))
    assert 900 <= pauses[-1] <= 990


def test_by_default_a_result_is_kept_for_at_least_72_hours() -> None:
    assert DeliverySection().keep_hours >= 72
