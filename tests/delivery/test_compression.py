"""Captures leave compressed without loss where the site asks for it and the receiver accepts it."""

from __future__ import annotations

import io
import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from dicom_node.records import ObjectKind
from dicom_node.resources import report_templates
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.templates import load_template
from dicom_node.results.write import write_results
from dicom_node.settings import Remote
from dicom_node.settings.model import COMPRESSION_UIDS
from tests.conftest import debian
from tests.delivery.conftest import Outbox
from tests.delivery.pacs import ScriptedPacs, listening
from tests.node.peers import Orthanc, Storescp, free_port
from tests.results.report_kit import errors_of

MakeRemote = Callable[..., Remote]
WAYS = sorted(COMPRESSION_UIDS)
PHOTOMETRIC = {RLELossless: "RGB", JPEGLSLossless: "RGB", JPEG2000Lossless: "YBR_RCT"}
DECODERS = {RLELossless: "dcmdrle", JPEGLSLossless: "dcmdjpls"}
"""DCMTK's; it has none for JPEG 2000."""


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A capture as it is frozen."""
    template = load_template(report_templates() / "chest-radiograph-measurement-report.toml")
    context = preview_context(template)
    (written,) = write_results([preview_film()], context, (ObjectKind.CAPTURE,))
    return written.data


@dataclass(frozen=True)
class Capture:
    """The capture that a test sends: its UID and its pixels."""

    uid: str
    pixels: bytes


@pytest.fixture
def capture(outbox: Outbox, picture: bytes) -> Capture:
    """A capture in the outbox for PACS, beside a report."""
    outbox.picture = picture
    outbox.post("PACS")
    sent = pydicom.dcmread(io.BytesIO(picture))
    return Capture(str(sent.SOPInstanceUID), sent.PixelData)


@contextmanager
def storescp(folder: Path, option: str) -> Iterator[Storescp]:
    """Let DCMTK's storescp listen with an option."""
    peer = Storescp("PACS", free_port(), folder, debian("storescp"), options=(option,))
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()


def arrived(folder: Path) -> tuple[Path, Dataset]:
    """Return the one capture among what a storescp wrote."""
    found = [(path, pydicom.dcmread(path)) for path in folder.iterdir()]
    (only,) = [each for each in found if each[1].SOPClassUID == SecondaryCaptureImageStorage]
    return only


@pytest.mark.parametrize("way", WAYS)
def test_a_receiver_that_accepts_it_gets_the_same_pixels_compressed(
    outbox: Outbox, capture: Capture, remote: MakeRemote, tmp_path: Path, way: str
) -> None:
    with storescp(tmp_path / "pacs", "+xa") as peer:
        sent = outbox.attempt(remote(peer.port, capture_compression=way))
        assert [item.state for item in sent] == ["sent", "sent"]
    path, stored = arrived(tmp_path / "pacs")
    syntax = stored.file_meta.TransferSyntaxUID
    assert syntax == COMPRESSION_UIDS[way]  # type: ignore[index]
    assert stored.SOPInstanceUID == capture.uid
    assert stored.PhotometricInterpretation == PHOTOMETRIC[syntax]
    assert stored.LossyImageCompression == "00"
    assert len(stored.PixelData) < 0.7 * len(capture.pixels)
    assert stored.pixel_array.tobytes() == capture.pixels
    assert errors_of(path.read_bytes(), tmp_path) == []


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_dcmtk_decodes_what_was_sent_to_the_same_pixels(
    outbox: Outbox, capture: Capture, remote: MakeRemote, tmp_path: Path, syntax: str
) -> None:
    way = next(name for name, uid in COMPRESSION_UIDS.items() if uid == syntax)
    with storescp(tmp_path / "pacs", "+xa") as peer:
        outbox.attempt(remote(peer.port, capture_compression=way))
    path, _ = arrived(tmp_path / "pacs")
    plain = tmp_path / "plain.dcm"
    subprocess.run([debian(DECODERS[syntax]), "+te", str(path), str(plain)], check=True)
    decoded = pydicom.dcmread(plain)
    assert decoded.PixelData == capture.pixels
    assert (decoded.PhotometricInterpretation, decoded.PlanarConfiguration) == ("RGB", 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_receiver_of_uncompressed_objects_gets_the_frozen_bytes(
    outbox: Outbox, capture: Capture, remote: MakeRemote, tmp_path: Path, way: str
) -> None:
    with storescp(tmp_path / "pacs", "+x=") as peer:
        outbox.attempt(remote(peer.port, capture_compression=way))
    _, stored = arrived(tmp_path / "pacs")
    assert stored.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (stored.SOPInstanceUID, stored.PixelData) == (capture.uid, capture.pixels)


def test_a_receiver_of_implicit_vr_alone_gets_the_same_pixels(
    outbox: Outbox, capture: Capture, remote: MakeRemote, tmp_path: Path
) -> None:
    with storescp(tmp_path / "pacs", "+xi") as peer:
        outbox.attempt(remote(peer.port, capture_compression="jpeg-ls"))
    _, stored = arrived(tmp_path / "pacs")
    assert stored.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert (stored.SOPInstanceUID, stored.PixelData) == (capture.uid, capture.pixels)


def test_nothing_is_compressed_unless_the_site_asks_for_it(
    outbox: Outbox, capture: Capture, remote: MakeRemote, tmp_path: Path
) -> None:
    with storescp(tmp_path / "pacs", "+xa") as peer:
        outbox.attempt(remote(peer.port))
    _, stored = arrived(tmp_path / "pacs")
    assert stored.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert stored.PixelData == capture.pixels


def test_what_was_refused_compressed_is_offered_uncompressed_the_next_time(
    outbox: Outbox, capture: Capture, remote: MakeRemote
) -> None:
    pacs = ScriptedPacs(statuses=[0x0000, 0xC000, 0x0000])
    syntaxes = [JPEGLSLossless, ExplicitVRLittleEndian]
    with listening(pacs, transfer_syntaxes=syntaxes):
        table = remote(pacs.port, capture_compression="jpeg-ls")
        assert [item.state for item in outbox.attempt(table)] == ["sent", "waiting"]
        outbox.hurry()
        assert [item.state for item in outbox.attempt(table)] == ["sent", "sent"]
    (_, first, compressed), (_, second, plain) = pacs.stored[1:]
    assert first == second == capture.uid
    assert compressed != plain == outbox.data_set_digest(capture.uid)


def test_what_a_receiver_breaks_off_at_is_offered_uncompressed_the_next_time(
    outbox: Outbox, capture: Capture, remote: MakeRemote
) -> None:
    pacs = ScriptedPacs(abort_at_classes=frozenset({SecondaryCaptureImageStorage}))
    syntaxes = [JPEGLSLossless, ExplicitVRLittleEndian]
    with listening(pacs, transfer_syntaxes=syntaxes):
        table = remote(pacs.port, capture_compression="jpeg-ls")
        assert [item.state for item in outbox.attempt(table)] == ["sent", "waiting"]
        pacs.abort_at_classes = frozenset()
        outbox.hurry()
        assert [item.state for item in outbox.attempt(table)] == ["sent", "sent"]
    (_, _, compressed), (_, _, plain) = pacs.stored[1:]
    assert compressed != plain == outbox.data_set_digest(capture.uid)


def test_a_receiver_that_was_away_gets_it_compressed_when_it_is_back(
    outbox: Outbox, capture: Capture, remote: MakeRemote
) -> None:
    table = remote(free_port(), capture_compression="jpeg-ls")
    assert [item.state for item in outbox.attempt(table)] == ["waiting", "waiting"]
    outbox.hurry()
    pacs = ScriptedPacs()
    with listening(pacs, transfer_syntaxes=[JPEGLSLossless, ExplicitVRLittleEndian]):
        table = remote(pacs.port, capture_compression="jpeg-ls")
        assert [item.state for item in outbox.attempt(table)] == ["sent", "sent"]
    assert pacs.stored[-1][2] != outbox.data_set_digest(capture.uid)


def test_a_receiver_of_nothing_else_gets_it_compressed_each_time(
    outbox: Outbox, capture: Capture, remote: MakeRemote
) -> None:
    pacs = ScriptedPacs(statuses=[0xC000, 0x0000])
    with listening(
        pacs, accepts=(SecondaryCaptureImageStorage,), transfer_syntaxes=[JPEGLSLossless]
    ):
        table = remote(pacs.port, capture_compression="jpeg-ls")
        outbox.attempt(table)
        outbox.hurry()
        _, picture = outbox.attempt(table)
    assert picture.state == "sent"
    (_, _, once), (_, _, again) = pacs.stored
    assert once == again


@pytest.mark.timeout(120)
def test_orthanc_shows_a_compressed_capture_as_the_uncompressed_one(
    outbox: Outbox, capture: Capture, remote: MakeRemote, tmp_path: Path
) -> None:
    orthanc = Orthanc("PACS", free_port(), free_port(), tmp_path / "pacs", debian("Orthanc"))
    orthanc.start(1, DicomAlwaysAllowStore=True)
    try:
        sent = outbox.attempt(remote(orthanc.dicom_port, capture_compression="jpeg-ls"))
        assert [item.state for item in sent] == ["sent", "sent"]
        query = {"Level": "Instance", "Query": {"SOPInstanceUID": capture.uid}}
        (name,) = orthanc.call("/tools/find", json.dumps(query).encode())
        meta = orthanc.call(f"/instances/{name}/metadata?expand")
        assert meta["TransferSyntax"] == JPEGLSLossless
        address = f"http://127.0.0.1:{orthanc.http_port}/instances/{name}/numpy"
        with urllib.request.urlopen(address, timeout=30) as answer:
            shown = np.load(io.BytesIO(answer.read()))
    finally:
        orthanc.stop()
    assert shown.astype(np.uint8).tobytes() == capture.pixels
