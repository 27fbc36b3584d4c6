"""A trial of the whole way: a phantom in through the real port, its answer out at a loop AE.

For the time of the trial the AE table has one more file, with this machine alone as its address.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from dicom_node.delivery.association import Peer, peer_of
from dicom_node.delivery.files import send_files
from dicom_node.errors import NodeError, RoleError
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.imaging.wrap import Identity
from dicom_node.ledger import Cases, Workers
from dicom_node.line.health import port_of
from dicom_node.line.small_pacs import small_pacs
from dicom_node.line.trial_step import TrialStep
from dicom_node.records import TRIAL_AE, InstanceState, StudyState
from dicom_node.settings import Configuration, Remote
from dicom_node.settings.edit import drop_remote, keep_remote

_RELOADED_SECONDS = 1.5
_LIMIT_SECONDS = 180.0
_POLL_SECONDS = 0.1
_WITHOUT_ANSWER = frozenset({InstanceState.DECLINED, InstanceState.FAILED})


class TrialLedger(Cases, Workers, Protocol):
    """Where the node listens, and what became of the phantom."""


def try_whole_way(configuration: Configuration, ledger: TrialLedger) -> Sequence[TrialStep]:
    """Return the steps of a trial, the last one the first that failed."""
    steps: list[TrialStep] = []
    with TemporaryDirectory(prefix="dicom-node-trial-") as name:
        try:
            for step in _steps(configuration, ledger, Path(name)):
                steps.append(step)
        except NodeError as error:
            steps.append(
                TrialStep(
                    "stopped", well=False, sentence=f"{error.message} {error.remedy}", seconds=0.0
                )
            )
    return steps


def _steps(configuration: Configuration, ledger: TrialLedger, folder: Path) -> Iterator[TrialStep]:
    port = port_of(ledger, "receive")
    if port is None:
        raise RoleError("The receiving role does not run.", remedy="Look at `dicom-node health`.")
    film, uid = _film(folder)
    with _loop_ae(configuration, folder / "received") as received:
        begun = time.monotonic()
        host = configuration.settings.node.host
        address = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
        peer = _own_door(configuration, address, port)
        (sent,) = send_files([film], peer)
        yield TrialStep("C-STORE in", sent.stored, sent.sentence, time.monotonic() - begun)
        if not sent.stored:
            return
        yield _until("analysed", begun, lambda: _analysed(ledger, uid))
        yield _until("report written", begun, lambda: _reported(ledger, uid))
        yield _until("results back by C-STORE", begun, lambda: len([*received.glob("*.dcm")]) > 1)


def _own_door(configuration: Configuration, address: str, port: int) -> Peer:
    """Return this node as the loop AE calls it; over TLS where the node listens so."""
    settings = configuration.settings
    remote = Remote(
        ae_title=settings.node.ae_title, host=address, port=port, tls=settings.tls is not None
    )
    return replace(peer_of(remote.ae_title, remote, settings), calling_ae_title=TRIAL_AE)


def _until(name: str, begun: float, done: Callable[[], bool]) -> TrialStep:
    while time.monotonic() - begun < _LIMIT_SECONDS:
        if done():
            return TrialStep(name, well=True, sentence="done", seconds=time.monotonic() - begun)
        time.sleep(_POLL_SECONDS)
    raise RoleError(
        f"{name}: not within {_LIMIT_SECONDS:.0f} s.", remedy="Look at the case, and at the roles."
    )


def _film(folder: Path) -> tuple[Path, str]:
    """Write a phantom that was never sent before; return it and its Study Instance UID."""
    unique = str(secrets.randbits(100))
    dataset = phantom_dataset(
        identity=Identity(
            patient_name="SELFTEST^PHANTOM", patient_id="SELFTEST",
            study_instance_uid=f"2.25.{unique}1", series_instance_uid=f"2.25.{unique}2",
            sop_instance_uid=f"2.25.{unique}3",
        ),
        opacities={"right_lower": 0.8},
    )  # fmt: skip
    path = folder / "phantom.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path, str(dataset.StudyInstanceUID)


@contextmanager
def _loop_ae(configuration: Configuration, folder: Path) -> Iterator[Path]:
    with small_pacs(TRIAL_AE, folder) as port:
        wanted = {
            "ae_title": TRIAL_AE, "host": "127.0.0.1", "port": port, "addresses": ["127.0.0.1/32"],
        }  # fmt: skip
        keep_remote(configuration, wanted)
        try:
            time.sleep(_RELOADED_SECONDS)  # the roles look at the table once a second
            yield folder
        finally:
            drop_remote(configuration, TRIAL_AE)


def _analysed(ledger: Cases, uid: str) -> bool:
    study = ledger.find_study(uid)
    films = ledger.instances(study.id) if study is not None else ()
    refused = next((film for film in films if film.state in _WITHOUT_ANSWER), None)
    if refused is not None:
        raise RoleError(
            f"analysed: the phantom of a frontal chest film was not: {refused.reason}.",
            remedy="No network of the suites eats such films, or it failed: look at the case.",
        )
    return bool(films) and all(film.findings_json for film in films)


def _reported(ledger: Cases, uid: str) -> bool:
    study = ledger.find_study(uid)
    return study is not None and study.state is StudyState.REPORTED
