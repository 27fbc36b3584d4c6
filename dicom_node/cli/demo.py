"""``dicom-node demo``."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("demo")(demo)


def demo(
    image: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A chest radiograph: DICOM, PNG or JPEG."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the results are written.")] = Path("demo-out"),
) -> None:
    """Start a node and a small PACS, send a chest radiograph, show what comes back.

    Without --image a synthetic film is sent, marked as a phantom wherever it is shown. The exit
    status is 0 only if the results came back over C-STORE.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.panel import Panel

    from dicom_node.line.demo import demonstrate

    console = Console()
    if image is None:
        console.print("The film is a [bold]phantom[/bold]: synthetic, no patient.")
    with console.status("Working …"):
        shown = demonstrate(image, out, lambda line: console.print(f"• {escape(line)}"))
    console.print(f"• The answer came back by C-STORE after {shown.seconds:.1f} s.\n")
    console.print(Panel(escape(shown.report.rstrip()), title="report.txt", expand=False))
    console.print("\nWritten:")
    for path in shown.files:
        console.print(f"  {path}")
    console.print(
        "\nTry next:\n"
        f"  look at [bold]{out / 'overlay.png'}[/bold]\n"
        f"  {called_as()} demo --image YOUR-FILM.dcm\n"
        f"  {called_as()} report {out / 'report.dcm'} --json\n"
        f"  {called_as()} config init my-node     (then README: connect a PACS in five minutes)",
        soft_wrap=True,
    )


def called_as() -> str:
    """Return how this shell calls the program: by its path where PATH does not lead to it."""
    if shutil.which("dicom-node") is not None:
        return "dicom-node"
    beside = Path(sys.executable).with_name("dicom-node")
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))
