"""What the pages stand on: the ledger, the spool, the configuration, and what roles do for them.

The pages know neither pynetdicom nor Keras. What needs them comes in as a `Doors`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dicom_node.intake.menu import Menu
from dicom_node.intake.take import FrontDoor
from dicom_node.ledger import ReadingRoom
from dicom_node.line.health import NodeState
from dicom_node.line.trial_step import TrialStep
from dicom_node.logs import Log
from dicom_node.records import Instance, Study, StudyId
from dicom_node.resources import report_templates
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.stored import StoredFilms, newest
from dicom_node.results.templates import Template, load_template
from dicom_node.settings import Configuration, Remote, Settings
from dicom_node.spool import Spool
from dicom_node.web.album import Album


@dataclass(frozen=True, slots=True)
class ModelOnShelf:
    """A bundle: ``folder`` holds its card, figures and evaluation; ``macs`` of one film.

    ``parameters`` and ``macs`` are 0 where the manifest does not say. ``is_broken``: it is named in
    a suite and left out, and ``intended_use`` says why.
    """

    id: str
    title: str
    version: str
    task: str
    digest: str
    parameters: int
    macs: int
    intended_use: str
    folder: Path
    in_use: bool
    is_broken: bool = False


class Doors(Protocol):
    """What the pages ask of the roles."""

    def state(self, *, counted: bool = False) -> NodeState:
        """Return how the node is; ``counted``: with what waits, which takes a look at every row."""

    def echo(self, ae_title: str, remote: Remote) -> str:
        """C-ECHO a remote; return what to tell. Raises `NodeError`."""

    def retract(self, study: Study, reason: str, who: str) -> Sequence[str]:
        """Take a study's results back; return the destinations that get a rejection note."""

    def try_whole_way(self) -> Sequence[TrialStep]:
        """Send a phantom through the real port and wait for its answer at a loop AE."""

    def verify(self, bundle_id: str) -> str | None:
        """Let a bundle prove itself now; return its fault, None if it is well."""


@dataclass(frozen=True, slots=True)
class House:
    """Everything a page may use. ``remotes``: the AE table, read again when its files change."""

    configuration: Configuration
    ledger: ReadingRoom
    spool: Spool
    menu: Menu
    cards: Mapping[str, NetworkCard]
    shelf: tuple[ModelOnShelf, ...]
    remotes: Callable[[], Mapping[str, Remote]]
    doors: Doors
    log: Log = field(default_factory=lambda: Log("web"))
    album: Album = field(default_factory=Album)

    @property
    def settings(self) -> Settings:
        """The node's settings."""
        return self.configuration.settings

    @property
    def front_door(self) -> FrontDoor:
        """The way in of what comes by STOW-RS or the browser: that of C-STORE."""
        return FrontDoor.of(self.settings, self.spool, self.ledger, self.log)

    @property
    def stored(self) -> StoredFilms:
        """Films with their findings."""
        return StoredFilms.of(self.ledger, self.spool, self.settings)

    @property
    def template_names(self) -> list[str]:
        """The report templates that there are."""
        return sorted(path.stem for path in self._templates.glob("*.toml"))

    @property
    def _templates(self) -> Path:
        return self.settings.results.templates_dir or report_templates()

    def template(self, name: str = "") -> Template:
        """Return a template by name; the configured one for "" or an unknown name."""
        known = name if name in self.template_names else self.settings.results.template
        return load_template(self._templates / f"{known}.toml")

    def context(self, study: Study, films: Sequence[AnalysedFilm], template: Template) -> Context:
        """Return the circumstances of a report on a study, as it stands now."""
        return Context(
            node_ae_title=self.settings.node.ae_title,
            template=template,
            series_number_base=self.settings.results.series_number_base,
            networks=self.cards,
            revision=max(study.revision, 1),
            predecessors=(),
            earlier=self.stored.earlier(study.id, films),
        )

    def films_of(self, study_id: StudyId) -> list[tuple[Instance, AnalysedFilm]]:
        """Return the analysed films of a study."""
        pairs = ((item, self.stored.film(item)) for item in newest(self.ledger.instances(study_id)))
        return [(item, film) for item, film in pairs if film is not None and film.is_analysed]
