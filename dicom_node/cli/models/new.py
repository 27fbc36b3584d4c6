"""``dicom-node models new``: the draft of a bundle from a network's file."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dicom_node.observations import ObservationKind

if TYPE_CHECKING:
    from dicom_node.bundles.drafts import Draft
    from dicom_node.line.new_bundle import FoundNetwork, Wishes

Activation = Literal["none", "sigmoid", "softmax"]


def new(
    source: Annotated[
        Path,
        typer.Option(
            "--from",
            exists=True,
            help="The network: .onnx, .xml (OpenVINO), or the folder of a SavedModel or of a MONAI"
            " bundle.",
        ),
    ],
    folder: Annotated[
        Path, typer.Option("--dir", help="Where the bundle's folder is made.")
    ] = Path(),
    bundle_id: Annotated[
        str | None, typer.Option("--id", help="Name of bundle and folder: a-z, 0-9, hyphens.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="What people read in lists.")] = None,
    kind: Annotated[
        ObservationKind | None, typer.Option(help="What it says; more in the manifest.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Keys of its classes in their order, with commas.")
    ] = None,
    activation: Annotated[
        Activation | None, typer.Option(help="What makes probabilities of its numbers.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(help="Of its input, if the file leaves it open.")
    ] = None,
    columns: Annotated[int | None, typer.Option(help="The same.")] = None,
    channels: Annotated[int | None, typer.Option(help="The same.")] = None,
    region: Annotated[
        Literal["film", "lungs"] | None, typer.Option(help="Which part of a film it wants to see.")
    ] = None,
    body_part: Annotated[
        str | None, typer.Option(help="Body parts of its films, with commas, e.g. CHEST.")
    ] = None,
    view: Annotated[
        str | None, typer.Option(help="Views of its films, with commas, e.g. PA,AP.")
    ] = None,
    modality: Annotated[
        str | None, typer.Option(help="Modalities of its films, with commas, e.g. CR,DX.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Of the weights.")] = None,
    intended_use: Annotated[str | None, typer.Option(help="For what, and for what not.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: take what the file tells, and defaults.")
    ] = False,
) -> None:
    """Make the draft of a bundle: manifest, card, self-test and the network's file in a folder.

    What the file does not tell is asked on a terminal; what nobody was asked is marked # CHECK: in
    model.toml. Nothing is overwritten, nothing of the network's code is run.
    """
    from dicom_node.line.new_bundle import Wishes, draft_of, find_network, write_bundle

    found = find_network(source.absolute())
    wishes = Wishes(
        id=bundle_id, title=title, kind=kind, classes=_list(classes), activation=activation,
        rows=rows, columns=columns, channels=channels, region=region,
        body_parts=_list(body_part), views=_list(view), modalities=_list(modality),
        licence=licence, intended_use=intended_use,
    )  # fmt: skip
    if not yes and sys.stdin.isatty():
        wishes = ask(found, wishes)
    draft = draft_of(found, wishes)
    place = write_bundle(draft, found, folder)
    typer.echo(f"Wrote {place}: model.toml, CARD.md, self_test.json, {draft.file}.")
    if draft.unsure:
        typer.echo("Look at the lines that are marked # CHECK: in model.toml.")
    typer.echo(f"Fill in CARD.md, then: `dicom-node models check {place}`.")


@dataclass(frozen=True, slots=True)
class _Question:
    """A question: which wish it answers, the default by the draft, and which mark it takes off."""

    wish: str
    words: str
    default: Callable[[Draft], str]
    mark: str = ""
    is_list: bool = False
    form: str = ""
    """What an answer must look like; "": anything."""


_QUESTIONS = (
    _Question("id", "Name of the bundle (a-z, 0-9, hyphens)", lambda draft: draft.id,
              form=r"[a-z0-9-]{1,40}"),
    _Question("title", "Title, as people read it", lambda draft: draft.title),
    _Question(
        "modalities", "Modalities of its films, with commas",
        lambda draft: ",".join(draft.modalities), "eats.modalities", is_list=True,
    ),
    _Question(
        "body_parts", "Body parts, with commas (CHEST, HAND …; empty: any)",
        lambda draft: ",".join(draft.body_parts), "eats.body_parts", is_list=True,
    ),
    _Question(
        "views", "Views, with commas (PA, AP, LATERAL …; empty: any)",
        lambda draft: ",".join(draft.views), "eats.views", is_list=True,
    ),
    _Question("region", "Sees the whole film, or the lungs (film, lungs)",
              lambda draft: draft.pixels.region, form="film|lungs"),
    _Question("licence", "Licence of the weights", lambda draft: draft.licence or "unknown",
              "licence"),
    _Question(
        "intended_use", "What it is for, and for what not",
        lambda draft: draft.intended_use or "Research use only.", "intended_use",
    ),
)  # fmt: skip


def ask(found: FoundNetwork, wishes: Wishes) -> Wishes:
    """Return the wishes with what a person answers to what the file cannot tell."""
    from dicom_node.line.new_bundle import CLASSED, draft_of

    draft = draft_of(found, wishes)
    first, asked = draft.says[0], set(wishes.asked)
    if wishes.kind is None:
        kinds = ", ".join(ObservationKind)
        told = _prompt(f"What it says ({kinds})", first.kind.value, "|".join(ObservationKind))
        wishes = replace(wishes, kind=ObservationKind(told))
        asked.add(f"says.{draft_of(found, wishes).says[0].key}.kind")
        first = draft_of(found, wishes).says[0]
    if wishes.classes is None and first.kind in CLASSED:
        told = typer.prompt(
            "Its classes in their order, with commas", default=",".join(first.classes)
        )
        wishes = replace(wishes, classes=_list(told))
    draft = draft_of(found, wishes)
    for question in _QUESTIONS:
        if getattr(wishes, question.wish) is not None:
            continue
        default = question.default(draft)
        told = _prompt(question.words, default, question.form)
        answer: Any = _list(told) if question.is_list else told
        wishes = replace(wishes, **{question.wish: answer})
        asked.add(question.mark)
    return replace(wishes, asked=frozenset(asked))


def _prompt(words: str, default: str, form: str) -> str:
    """Return what a person types; asked again where it is not of the form."""

    def checked(told: str) -> str:
        if form and not re.fullmatch(form, told.strip()):
            raise typer.BadParameter(f"{told!r} is not of that form")
        return told.strip()

    told: str = typer.prompt(words, default=default, show_default=bool(default), value_proc=checked)
    return told


def _list(told: str | None) -> tuple[str, ...] | None:
    return None if told is None else tuple(part.strip() for part in told.split(",") if part.strip())
