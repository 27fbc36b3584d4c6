"""How the networks of the second edition are taught, as data: ``course.toml``, typed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dicom_node.training.teaching.changes import Extent
from dicom_node.training.teaching.recipe import read_part

COURSE_FILE = "course.toml"
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class TaughtWith(BaseModel):
    """A course that says only: taught together with another bundle, by that one's course."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    taught_with: str


class Course(BaseModel):
    """Everything but the data that decides which weights come out.

    ``films_per_epoch``: draws an epoch; ``group_exponent``: a group (source and reading) of n films
    is drawn in proportion to n to this power; ``favoured``: by how much more often films of some
    kinds are drawn. ``ema``: momentum of the averaged weights, a step. ``initial``: weights to
    begin with. ``variant``: which EfficientNet-Lite. ``without``: sources left out.
    ``kept_at``: the layer of the trunk whose output is computed once for ``versions`` changed
    versions of each film (every other one, from the first on, as ``mild`` says, the rest as
    ``changes``), kept, and taught from; empty: films are changed anew each time, and the whole
    trunk is taught. ``frozen``: the last layer that is not taught. ``norms``: whether batch norms
    go on learning the statistics of batches.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    task: Literal["chest", "gate"]
    seed: int
    size: int = Field(ge=32, le=1024)
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    films_per_epoch: int = Field(ge=1)
    learning_rate: float = Field(gt=0.0)
    warmup: int = Field(default=1, ge=0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    label_smoothing: Fraction = 0.05
    dropout: Fraction = 0.3
    ema: Fraction = 0.0
    variant: int = Field(default=0, ge=0, le=2)
    initial: str = ""
    group_exponent: Fraction = 0.5
    favoured: dict[str, float] = {}
    without: tuple[str, ...] = ()
    kept_at: str = ""
    versions: int = Field(default=1, ge=1, le=64)
    frozen: str = ""
    norms: Literal["taught", "kept"] = "taught"
    changes: Extent = Extent()
    mild: Extent | None = None

    @model_validator(mode="after")
    def _something_is_kept(self) -> Self:
        if self.frozen and not self.kept_at:
            raise ValueError(
                "'frozen' needs 'kept_at': films are then not taught from their pixels"
            )
        return self

    @property
    def digest(self) -> str:
        """Names the run: eight hex digits of all that decides the weights."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return max(1, self.films_per_epoch // self.batch)


def read_course(path: Path) -> Course | None:
    """Return the course beside a bundle, that of ``taught_with`` if it names one; no file: None.

    Raises `TrainingError` naming file, key and fault.
    """
    if not path.is_file():
        return None
    if "taught_with" in path.read_text(encoding="utf8"):
        share = read_part(path, TaughtWith)
        return read_course(path.parent.parent / share.taught_with / COURSE_FILE)
    return read_part(path, Course)
