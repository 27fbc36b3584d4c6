"""`dicom-node train`: from labelled films to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from dicom_node.training.loop import EpochReport

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("train")(train)


def train(
    bundle_id: Annotated[str, typer.Argument(metavar="ID", help="Model bundle, e.g. covidnet.")],
    data: Annotated[Path, typer.Option(help="Folder with cases.csv and images/.")],
    models: Annotated[
        Path | None, typer.Option(help="Folder of the bundles; default: the installed ones.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where runs and their checkpoints are kept.")] = Path(
        "runs"
    ),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs in all; default: the recipe's.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Go on with an unfinished run, or begin anew.")
    ] = True,
) -> None:
    """Train a network by its recipe and write its bundle."""
    from dicom_node import resources
    from dicom_node.training.export import export
    from dicom_node.training.loop import Watcher
    from dicom_node.training.loop import train as run_training

    folder = models or resources.model_bundles()
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
        f"Now: dicom-node evaluate {bundle.id} --data {data} --split test --write", soft_wrap=True
    )


def _print_epoch(output: Console, report: EpochReport) -> None:
    output.print(
        f"epoch {report.epoch:3d}/{report.epochs}  {report.size} px  loss {report.loss:.3f}  "
        f"validation: log loss {report.validation_log_loss:.3f}, balanced accuracy "
        f"{report.validation_balanced_accuracy:.3f}  {report.seconds:.0f} s"
        + ("  best" if report.best else ""),
        soft_wrap=True,
    )
