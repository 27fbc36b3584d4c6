"""Films from files, without any network service: findings, report and overlay in a folder."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydicom import Dataset

from dicom_node.analysis.engine import Engine
from dicom_node.bundles.declared import Declared
from dicom_node.errors import AnalysisError, ImageError, NodeError, ResultError, Unavailable
from dicom_node.findings import Explanation, FilmFindings, Outcome
from dicom_node.imaging.header import header_of, read_dataset
from dicom_node.imaging.wrap import PICTURES, wrap_picture
from dicom_node.intake.admit import Declined
from dicom_node.line.analyse import eaters, film_to_analyse
from dicom_node.line.networks import engine_alone, engine_of
from dicom_node.line.wiring import cards_of, menu_alone, menu_of, network_cards, template_of
from dicom_node.patience import place_of
from dicom_node.records import ObjectKind
from dicom_node.results.write import (
    AnalysedFilm,
    Context,
    Refused,
    WrittenObject,
    in_order,
    write_each,
)
from dicom_node.settings import Configuration


@dataclass(frozen=True, slots=True, eq=False)
class FileAnswer:
    """What became of one file; ``film`` is there if it was analysed."""

    file: Path
    findings: FilmFindings
    film: AnalysedFilm | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the contract's JSON object."""
        return {"file": str(self.file), **self.findings.to_json()}


class ByHand:
    """Analyses files one by one with the networks that eat them; nobody has sent them.

    ``alone``: a bundle that is asked instead of those of the suites; it need not be installed.
    ``eats_all``: films are shown to it that it does not eat.
    """

    def __init__(
        self, configuration: Configuration, alone: Declared | None = None, *, eats_all: bool = False
    ) -> None:
        self._settings, self._alone, self._eats_all = configuration.settings, alone, eats_all
        menu = menu_of(configuration) if alone is None else menu_alone(configuration, alone)
        self._menu = menu

    @cached_property
    def _engine(self) -> Engine:
        # Loading networks takes seconds: only for a film that is to be analysed.
        settings = self._settings
        engine = engine_alone(settings, self._alone) if self._alone else engine_of(settings)
        engine.warm()
        return engine

    def close(self) -> None:
        """End what computes the networks."""
        if "_engine" in self.__dict__:
            self._engine.declared.close()

    def answers(self, files: Iterable[Path]) -> Iterator[FileAnswer]:
        """Yield what became of each file, in order.

        Whatever one file raises is its own answer. Raises `Unavailable` for what ails the house.
        """
        for file in files:
            try:
                yield self._answer(file)
            except Unavailable:
                raise
            except NodeError as error:
                yield _failed(file, error.message)
            except Exception as error:  # noqa: BLE001 - the loop: one file's fault is its own
                yield _failed(file, f"It met an error that nobody foresaw: {place_of(error)}.")

    def _answer(self, file: Path) -> FileAnswer:
        uid = ""
        try:
            dataset = read_film(file)
            header = header_of(dataset)
            uid = header.sop_instance_uid
            networks = eaters(header, self._menu)
            if self._eats_all and isinstance(networks, Declined):
                networks = None
            if isinstance(networks, Declined):
                return FileAnswer(file, FilmFindings(uid, Outcome.DECLINED, networks.reason))
            film = film_to_analyse(dataset, self._settings.admission.max_megapixels)
        except ImageError as error:
            return _failed(file, error.message, uid)
        engine = self._engine
        try:
            findings, explanation = film.answer(
                engine.analyse(film.hung, uid, film.asked(networks))
            )
        except Unavailable:
            raise
        except AnalysisError as error:
            return _failed(file, error.message, uid)
        if findings.outcome is not Outcome.ANALYSED:
            return FileAnswer(file, findings)
        grey = film.hanging.store(film.hung)
        analysed = self._film(file, dataset, grey, (findings, explanation))
        return FileAnswer(file, findings, analysed)

    def _film(
        self,
        file: Path,
        dataset: Dataset,
        film: Any,
        answer: tuple[FilmFindings, Explanation],
    ) -> AnalysedFilm:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return AnalysedFilm(
            dataset=dataset, pixels=film, findings=answer[0], explanation=answer[1], digest=digest
        )

    def results(
        self,
        answer: FileAnswer,
        kinds: Collection[ObjectKind] = (ObjectKind.REPORT, ObjectKind.CAPTURE),
        refuse: Callable[[Refused], object] | None = None,
    ) -> tuple[WrittenObject, ...]:
        """Return the result objects of one analysed film. Raises `ResultError`.

        With ``refuse`` an object that cannot be written is told to it, and the others follow.
        """
        if answer.film is None:
            raise ResultError("A film that was not analysed has no results.")
        context = Context(
            node_ae_title=self._settings.node.ae_title,
            template=template_of(self._settings),
            series_number_base=self._settings.results.series_number_base,
            networks=cards_of([self._alone]) if self._alone else network_cards(self._settings),
            revision=1,
            predecessors=(),
        )
        return in_order(write_each([answer.film], context, kinds, refuse))


def _failed(file: Path, reason: str, uid: str = "") -> FileAnswer:
    return FileAnswer(file, FilmFindings(uid, Outcome.FAILED, reason))


def read_film(file: Path) -> Dataset:
    """Return the data set of a DICOM file, or of a PNG or JPEG picture wrapped as DX."""
    return wrap_picture(file) if file.suffix.lower() in PICTURES else read_dataset(file)


NAMES = {
    ObjectKind.REPORT: "report",
    ObjectKind.CAPTURE: "overlay",
    ObjectKind.OVERLAYS: "overlay-of-network",
    ObjectKind.PRESENTATION: "presentation",
    ObjectKind.SEGMENTATION: "segmentation",
    ObjectKind.DOCUMENT: "document",
    ObjectKind.KEY_OBJECTS: "key-objects",
}
"""What the files of each kind of object are called."""


def write_folder(objects: Iterable[WrittenObject], folder: Path, stem: str) -> list[Path]:
    """Write the results of one film into ``folder`` and return the paths.

    Of the report's alternatives the first (Comprehensive SR) is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    counted: Counter[ObjectKind] = Counter()
    for item in objects:
        if item.group in written:
            continue
        counted[item.kind] += 1
        number = f"-{counted[item.kind]}" if counted[item.kind] > 1 else ""
        path = folder / f"{stem}-{NAMES[item.kind]}{number}.dcm"
        path.write_bytes(item.data)
        written[item.group] = path
    return list(written.values())
