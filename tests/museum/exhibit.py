"""What an exhibit is, and how each is walked in this process: door, admission, film, results."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset

from dicom_node.errors import StoreError
from dicom_node.findings import Explanation, FilmFindings, Region
from dicom_node.intake.rules import load_rules
from dicom_node.intake.take import FrontDoor
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.admit import admit_received
from dicom_node.line.analyse import Analyst
from dicom_node.line.report import Reporter
from dicom_node.logs import Log
from dicom_node.records import Instance, InstanceState, ObjectKind, Origin
from dicom_node.resources import default_configuration, report_templates
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.templates import load_template
from dicom_node.settings import Remote, Settings
from dicom_node.spool import Spool
from tests.ledger_kit import fresh_ledger
from tests.museum.film import Film

Picture = npt.NDArray[np.float32]
WORKER = "museum:1"
TEMPLATE = load_template(report_templates() / "chest-radiograph-measurement-report.toml")
RULES = load_rules(default_configuration() / "admission.toml")
STORED = preview_film()


@dataclass(frozen=True)
class Exhibit:
    """One odd input.

    ``source``: who reported it, or of which kind it is a neighbour. ``ends``: "analysed", or a
    part of the reason why not; more than one where each is true. ``alike``: the picture that the
    networks get is that of the film without its oddity.
    """

    name: str
    source: str
    recipe: Callable[[Film], Film]
    ends: tuple[str, ...] = ("analysed",)
    alike: bool = True
    encoding: Mapping[str, object] = field(default_factory=dict)
    same_bytes: tuple[str, ...] = ()
    """Attributes that every result must carry with the film's own bytes."""
    kinds: tuple[str, ...] = ("sr",)
    """What its sender wants."""


@dataclass(frozen=True)
class End:
    """What became of an exhibit."""

    said: str
    """"analysed", or the reason why not."""
    seen: Picture | None = None
    results: Sequence[Dataset] = ()
    study_reason: str = ""


class StandIn:
    """An engine that finds the same on every film, and keeps the films that it was given."""

    at_once = 1

    def __init__(self) -> None:
        self.seen: list[Picture] = []

    def warm(self) -> None:
        """It always can."""

    def analyse(
        self, film: Picture, uid: str, _asked: object = None
    ) -> tuple[FilmFindings, Explanation]:
        assert film.ndim == 2
        assert np.isfinite(film).all()
        self.seen.append(film)
        whole = Region(0, 0, *film.shape)
        maps = tuple(replace(one, region=whole) for one in STORED.explanation.maps)
        findings = replace(STORED.findings, sop_instance_uid=uid)
        return findings, replace(STORED.explanation, maps=maps)


@dataclass
class Museum:
    """A node in this process whose networks are a stand-in."""

    ledger: SqliteLedger
    spool: Spool
    engine: StandIn

    @classmethod
    def at(cls, folder: Path) -> Museum:
        ledger = fresh_ledger(folder / "ledger.sqlite", who="museum")
        return cls(ledger, Spool(folder / "spool"), StandIn())

    def receive(self, film: Film) -> None:
        """Take a film as the door does. Raises `StoreError` where it is refused."""
        door = FrontDoor.of(Settings(), self.spool, self.ledger, Log("receive"))
        door.take(film.data, film.transfer_syntax, Origin("PACS", "NODE", "127.0.0.1"))

    def work(self, kinds: Sequence[str]) -> None:
        """Admit and analyse what is there, and report it if ``kinds`` names any."""
        remote = Remote(ae_title="PACS", host="127.0.0.1", port=104, objects=tuple(kinds))  # type: ignore[arg-type]
        log, settings = Log("analyse"), Settings()
        cards = preview_context(TEMPLATE).networks
        admit_received(self.ledger, self.spool, RULES, WORKER, log)
        analyst = Analyst(self.engine, self.ledger, self.spool, settings, WORKER, log)  # type: ignore[arg-type]
        while analyst.work():
            pass
        if not kinds:
            return
        self.ledger.quieten(0)
        reporter = Reporter(self.ledger, self.spool, settings, TEMPLATE, cards, WORKER, log)
        while reporter.work({"PACS": remote}):
            pass

    def instances(self) -> list[Instance]:
        return [one for study in self.ledger.studies() for one in self.ledger.instances(study.id)]

    def results(self) -> list[Dataset]:
        """Return every object that was written."""
        studies = self.ledger.studies()
        digests = [one.digest for study in studies for one in self.ledger.results(study.id)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the film's own oddities come back
            return [pydicom.dcmread(io.BytesIO(self.spool.read(digest))) for digest in digests]


def walk(film: Film, folder: Path, kinds: Sequence[str] = ()) -> End:
    """Bring one film to its end; write what ``kinds`` names, if any."""
    museum = Museum.at(folder)
    with closing(museum.ledger):
        try:
            museum.receive(film)
        except StoreError as error:
            return End(f"refused: {error.message}")
        museum.work(kinds)
        (instance,), (study,) = museum.instances(), museum.ledger.studies()
        said = "analysed"
        if instance.state is not InstanceState.ANALYSED:
            said = f"{instance.state}: {instance.reason}"
        seen = museum.engine.seen[0] if museum.engine.seen else None
        return End(said, seen, museum.results(), study.reason or "")


ALL_KINDS = tuple(str(kind) for kind in ObjectKind)
