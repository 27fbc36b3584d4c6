"""The admission rules as data: ``admission.toml``, checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dicom_node.settings.faults import Fault, explain, refusal
from dicom_node.settings.model import AdmissionSection
from dicom_node.settings.source import parse, read_text


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ObjectRules(_Table):
    """What kind of object is a radiograph at all."""

    sop_classes: tuple[str, ...] = Field(description="SOP Class UIDs that are looked at")
    modalities: tuple[str, ...] = Field(description="Modality (0008,0060) of a radiograph")
    image_types_declined: tuple[str, ...] = Field(
        description="values of Image Type (0008,0008) that are no plain radiograph"
    )


class BodyPartRules(_Table):
    """Which part of the body is a chest; ``words`` are for Body Part Examined and descriptions."""

    accept: tuple[str, ...] = Field(description="Body Part Examined (0018,0015) that is a chest")
    unspecific: tuple[str, ...] = Field(description="values that say nothing, like an empty one")
    regions: tuple[str, ...] = Field(description="codes SCHEME:VALUE of a chest")
    words: tuple[str, ...] = Field(description="words that mean a chest")
    other_words: tuple[str, ...] = Field(description="words that mean another part of the body")
    positioning: tuple[str, ...] = Field(
        default=(), description="phrases that name other parts only to say how the patient stood"
    )
    when_unspecific: Literal["ask-pixels", "decline"] = Field(
        default="ask-pixels", description="admission.when_unspecific in node.toml replaces it"
    )


class ViewRules(_Table):
    """Which view is frontal; in ``codes`` and ``words`` the key is the view that is meant."""

    accept: tuple[str, ...] = Field(description="View Position (0018,5101) that is frontal")
    unspecific: tuple[str, ...] = Field(
        default=(), description="values that say nothing, like an empty one"
    )
    when_unknown: Literal["admit", "decline"] = Field(
        description="what happens to a chest film that does not say its view"
    )
    codes: dict[str, tuple[str, ...]] = Field(description="view codes SCHEME:VALUE by view")
    words: dict[str, tuple[str, ...]] = Field(description="words by view")
    other_words: tuple[str, ...] = Field(description="words that mean a view that is not frontal")


class PriorityRule(_Table):
    """Which films go before others; every list that is named must fit, one entry of it is enough.

    AE titles, stations and priorities are compared whole, descriptions by their words.
    """

    value: int = Field(ge=-100, le=100, description="the highest goes first; 0 is any other film")
    calling_ae_titles: tuple[str, ...] = Field(default=(), description="AE titles that sent it")
    stations: tuple[str, ...] = Field(default=(), description="Station Name (0008,1010)")
    requested: tuple[str, ...] = Field(
        default=(), description="Requested Procedure Priority (0040,1003), like STAT"
    )
    words: tuple[str, ...] = Field(default=(), description="words of its descriptions")

    @model_validator(mode="after")
    def _names_something(self) -> PriorityRule:
        if not (self.calling_ae_titles or self.stations or self.requested or self.words):
            raise ValueError("name calling_ae_titles, stations, requested or words")
        return self


class AdmissionRules(_Table):
    """The whole of ``admission.toml``.

    Words are compared with single words of a text, without case and accents; ``*`` stands for any
    letters.
    """

    object: ObjectRules
    body_part: BodyPartRules
    view: ViewRules
    priority: tuple[PriorityRule, ...] = ()
    earlier_findings_first: bool = Field(
        default=True, description="admission.earlier_findings_first in node.toml replaces it"
    )


def load_rules(path: Path, admission: AdmissionSection | None = None) -> AdmissionRules:
    """Read the rules of ``path``; ``admission``, from node.toml, replaces body parts and views.

    Raises SettingsError with every fault, by file, line and key.
    """
    text = read_text(path, path.name)
    source = text if isinstance(text, Fault) else parse(text, path.name)
    if isinstance(source, Fault):
        raise refusal([source])
    try:
        rules = AdmissionRules.model_validate_json(
            json.dumps(source.tables, default=str), strict=True
        )
    except ValidationError as error:
        raise refusal(explain(error, AdmissionRules, source.places)) from error
    if admission is None:
        return rules
    return rules.model_copy(
        update={
            "body_part": rules.body_part.model_copy(
                update={
                    "accept": admission.body_parts,
                    "when_unspecific": admission.when_unspecific,
                }
            ),
            "view": rules.view.model_copy(update={"accept": admission.views}),
            "earlier_findings_first": admission.earlier_findings_first,
        }
    )
