"""`dicom-node train`: from labelled films to a bundle."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress

from dicom_node.cli.options import FilmsOption, ModelsOption, RunsOption, need_training

if TYPE_CHECKING:
    from dicom_node.training.teaching.loop import EpochReport

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("train")(train)
    app.command("ablate")(ablate)
    app.command("transfer")(transfer)


def train(
    bundle_id: Annotated[str, typer.Argument(metavar="ID", help="Model bundle, e.g. covidnet.")],
    data: FilmsOption,
    models: ModelsOption = None,
    runs: RunsOption = Path("runs"),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs in all; default: the recipe's.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Go on with an unfinished run, or begin anew.")
    ] = True,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Stop after the epoch in which they are over; a course only. The same "
            "command goes on.",
        ),
    ] = None,
) -> None:
    """Train a network by its recipe or course and write its bundles."""
    need_training()
    from dicom_node import resources

    folder = models or resources.model_bundles()
    if _by_course(bundle_id, data, folder, runs, epochs=epochs, fresh=not resume, minutes=minutes):
        return
    # Not before: what a course sets for TensorFlow counts when it is first imported.
    from dicom_node.training.teaching.export import export
    from dicom_node.training.teaching.loop import Watcher
    from dicom_node.training.teaching.loop import train as run_training
    from dicom_node.training.teaching.recipe import RECIPE_FILE, read_share

    if minutes is not None and (folder / bundle_id / RECIPE_FILE).is_file():
        raise typer.BadParameter("--minutes goes with a course.toml; this bundle has a recipe.")
    share = read_share(folder / bundle_id / RECIPE_FILE)
    bundle_id = share.taught_with if share else bundle_id
    with Progress(console=console) as progress:
        task = progress.add_task("films are read", total=None)

        def on_step(epoch: int, step: int, steps: int) -> None:
            progress.update(task, description=f"epoch {epoch + 1}", completed=step, total=steps)

        watcher = Watcher(on_step, lambda report: _print_epoch(progress.console, report))
        run = run_training(
            bundle_id, data, folder, runs, epochs=epochs, fresh=not resume, watcher=watcher
        )
        bundle = export(run, data, folder)
    console.print(f"{bundle.id} {bundle.manifest.version}: {bundle.manifest.weights.file}")
    console.print(
        f"Now: dicom-node evaluate {bundle.id} {_given(data)} --split test --write", soft_wrap=True
    )


def _by_course(
    bundle_id: str, data: list[Path], folder: Path, runs: Path, *,
    epochs: int | None, fresh: bool, minutes: float | None,
) -> bool:  # fmt: skip
    """Teach by the bundle's course and write its bundles; False where it has none."""
    from dicom_node.training.teaching.course import COURSE_FILE, read_course

    course = read_course(folder / bundle_id / COURSE_FILE)
    if course is None:
        return False
    # oneDNN's kernels teach half as fast again on processors for which TensorFlow leaves them off.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from dicom_node.training.teaching.course_bundles import write_bundles
    from dicom_node.training.teaching.courses import teach

    if epochs is not None:
        course = course.model_copy(update={"epochs": epochs})
    run = runs / f"{course.id}-{course.digest}"
    if fresh and run.is_dir():
        shutil.rmtree(run)
    with Progress(console=console) as progress:
        task = progress.add_task("films are read", total=None)

        def tell(what: str, done: int, of: int) -> None:
            progress.update(task, description=what, completed=done, total=of)

        told = teach(course, data, folder, runs, tell, minutes or float("inf"))
    if told is None:
        console.print(f"{run}: stopped after its time. The same command goes on.", soft_wrap=True)
        return True
    for bundle in write_bundles(told, folder):
        console.print(f"{bundle.id} {bundle.manifest.version}: {bundle.manifest.weights.file}")
    return True


def ablate(
    bundle_id: Annotated[str, typer.Argument(metavar="ID", help="covidnet-vlad.")],
    data: FilmsOption,
    models: ModelsOption = None,
    runs: RunsOption = Path("runs"),
) -> None:
    """Train a network by its recipe with parts left out, and measure what each part is worth."""
    need_training()
    from dicom_node import resources
    from dicom_node.training.evaluation.ablation import ablate as run_ablation
    from dicom_node.training.evaluation.card import ablation_table
    from dicom_node.training.teaching.loop import Watcher

    def watcher(variant: str) -> Watcher:
        console.print(f"variant {variant}")
        return Watcher(on_epoch=lambda report: _print_epoch(console, report))

    folder = models or resources.model_bundles()
    path = run_ablation(bundle_id, data, folder, runs, watcher=watcher)
    console.print(Markdown(ablation_table(json.loads(path.read_text(encoding="utf8")))))


def transfer(
    bundle_id: Annotated[str, typer.Argument(metavar="ID", help="covidnet-pyramid.")],
    data: FilmsOption,
    models: ModelsOption = None,
    runs: RunsOption = Path("runs"),
) -> None:
    """Teach by the bundle's transfer.toml without each large source, and measure on its films."""
    need_training()
    from dicom_node import resources

    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from dicom_node.training.evaluation.card import transfer_table
    from dicom_node.training.evaluation.transfer import transfer as run_transfer

    folder = models or resources.model_bundles()
    with Progress(console=console) as progress:
        task = progress.add_task("films are read", total=None)
        path = run_transfer(
            bundle_id, data, folder, runs,
            lambda what, done, of: progress.update(
                task, description=what, completed=done, total=of
            ),
        )  # fmt: skip
    console.print(Markdown(transfer_table(json.loads(path.read_text(encoding="utf8")))))


def _given(data: Sequence[Path]) -> str:
    """Return the films as they are given to the next command."""
    return " ".join(f"--data {shlex.quote(str(folder))}" for folder in data)


def _print_epoch(output: Console, report: EpochReport) -> None:
    figures = ", ".join(f"{name} {value:.3f}" for name, value in report.validation.items())
    output.print(
        f"epoch {report.epoch:3d}/{report.epochs}  {report.size} px  loss {report.loss:.3f}  "
        f"validation: {figures}  {report.seconds:.0f} s" + ("  best" if report.best else ""),
        soft_wrap=True,
    )
