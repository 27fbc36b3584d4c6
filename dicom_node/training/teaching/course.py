"""How the networks of the second edition are taught, as data: ``course.toml``, typed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from dicom_node.training.teaching.changes import Extent

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Course(BaseModel):
    """Everything but the data that decides which weights come out.

    ``films_per_epoch``: draws an epoch; ``group_exponent``: a group (source and reading) of n films
    is drawn in proportion to n to this power; ``favoured``: by how much more often films of some
    kinds are drawn. ``ema``: momentum of the averaged weights, a step. ``initial``: weights to
    begin with. ``variant``: which EfficientNet-Lite. ``without``: sources left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    task: Literal["chest", "gate", "lungs"]
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
    changes: Extent = Extent()

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return max(1, self.films_per_epoch // self.batch)
