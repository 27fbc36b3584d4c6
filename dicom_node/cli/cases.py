"""``dicom-node cases``: what the ledger knows of each study."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption, JsonOption, UtcOption, pass_down

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dicom_node.ledger import Ledger
    from dicom_node.records import Instance, Study

_ID_DIGITS = 19

StudyArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Number from `cases list`, or a Study Instance UID.")
]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    group = typer.Typer(help="Studies: what was received, found, and answered; or why not.")
    group.callback(invoke_without_command=True)(_default)
    group.command("list")(list_cases)
    group.command("show")(show)
    group.command("retry")(retry)
    group.command("reanalyse")(reanalyse)
    group.command("retract")(retract)
    app.add_typer(group, name="cases")


def _default(
    context: typer.Context,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    utc: UtcOption = False,
) -> None:
    if pass_down(context) is None:
        list_cases(config, data_dir, as_json, utc=utc)


def list_cases(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, help="How many, latest first.")] = 50,
    utc: UtcOption = False,
) -> None:
    """List studies, the latest change first."""
    from rich.table import Table

    from dicom_node.cli.options import cell, configuration, ledger_of, wide_console, zone_for
    from dicom_node.moments import shown

    settings = configuration(config, data_dir)
    ledger, zone = ledger_of(settings), zone_for(settings, utc=utc)
    rows = [_row(ledger, study) for study in ledger.studies(limit=limit)]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        typer.echo("No study: nothing has been received yet.")
        return
    table = Table("ID", "changed", "state", "films", "result", "delivery", "why", box=None)
    for row in rows:
        values = (
            row["id"], shown(row["changed_at"], zone), row["state"],
            row["films"], row["result"], row["delivery"], row["reason"],
        )  # fmt: skip
        table.add_row(*map(cell, values))
    wide_console().print(table)
    if len(rows) == limit and (left := ledger.study_count() - limit):
        typer.echo(f"and {left} more: --limit says how many are shown.")


def _row(ledger: Ledger, study: Study) -> dict[str, Any]:
    instances = ledger.instances(study.id)
    deliveries = ledger.deliveries(study_id=study.id)
    return {
        "id": study.id,
        "study_instance_uid": study.study_instance_uid,
        "state": str(study.state),
        "changed_at": study.changed_at.isoformat(),
        "films": _counted(str(item.state) for item in instances),
        "result": ", ".join(filter(None, map(_finding, instances))),
        "delivery": _counted(f"{item.state} to {item.destination}" for item in deliveries),
        "reason": "; ".join(
            dict.fromkeys(filter(None, [*(item.reason for item in instances), study.reason]))
        )
        or None,
    }


def _counted(names: Any) -> str:
    from collections import Counter

    return ", ".join(f"{number} {name}" for name, number in Counter(names).items())


def _finding(instance: Instance) -> str | None:
    from dicom_node.findings import FilmFindings

    if instance.findings_json is None:
        return None
    detection = FilmFindings.from_json(json.loads(instance.findings_json)).finding
    if detection is None:
        return None
    name = "undetermined" if detection.abstained else detection.finding_class
    return f"{name} {detection.probability:.0%}"


def show(
    study: StudyArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    utc: UtcOption = False,
) -> None:
    """Show one study: its films, findings, deliveries, and its whole story."""
    from rich.console import Console

    from dicom_node.cli.options import cell, configuration, ledger_of, zone_for
    from dicom_node.moments import shown

    settings = configuration(config, data_dir)
    ledger, zone = ledger_of(settings), zone_for(settings, utc=utc)
    found = _find(ledger, study)
    instances = ledger.instances(found.id)
    if as_json:
        from dicom_node.results.stored import findings_document

        documents = [{"file": None, **findings_document(item)} for item in instances]
        typer.echo(json.dumps(documents, indent=2))
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"Study {found.id}  {found.study_instance_uid}", style="bold", markup=False)
    for line in _summary(ledger, found, instances):
        console.print(cell(line))
    console.print("\nStory", style="bold")
    for event in ledger.events(study_id=found.id):
        told = f"  {event.detail}" if event.detail else ""
        when = shown(event.at, zone, seconds=True)
        console.print(cell(f"  {when}  {event.what:<20} {event.who}{told}"))


def _summary(ledger: Ledger, study: Study, instances: Sequence[Instance]) -> Iterator[str]:
    yield f"{study.state}, report {study.revision}" + (f": {study.reason}" * bool(study.reason))
    for item in instances:
        told = _finding(item) or item.reason or ""
        yield f"  film {item.sop_instance_uid}  {item.state}  {told}"
    for delivery in ledger.deliveries(study_id=study.id):
        told = f": {delivery.reason}" if delivery.reason else ""
        yield f"  {delivery.kind} to {delivery.destination}  {delivery.state}{told}"


def retry(
    study: StudyArgument, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Analyse the failed and declined films of a study again."""
    from dicom_node.records import InstanceState

    _again(study, config, data_dir, {InstanceState.FAILED, InstanceState.DECLINED})


def reanalyse(
    study: StudyArgument, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Analyse every film of a study again; an unchanged suite gives no new result."""
    from dicom_node.ledger.again import FINISHED

    _again(study, config, data_dir, FINISHED)


def retract(
    study: StudyArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    reason: Annotated[
        str, typer.Option(help="Why: quality, or patient-safety (the wrong patient, say).")
    ] = "quality",
) -> None:
    """Take the results of a study back: sends a rejection note to everyone who has them.

    The PACS hides or deletes what the note names if it knows rejection notes (IHE IOCM).
    """
    from dicom_node.cli.options import configuration, ledger_of, person
    from dicom_node.results.key_objects import REASONS
    from dicom_node.roles.retract import Retractor
    from dicom_node.spool import Spool

    known = {name: name for name in REASONS}
    if reason not in known:
        raise typer.BadParameter(f"there are: {', '.join(known)}", param_hint="--reason")
    settings = configuration(config, data_dir)
    ledger = ledger_of(settings)
    retractor = Retractor(ledger, Spool(settings.spool_path), settings.settings, person())
    told = retractor.retract(_find(ledger, study), known[reason])
    if told:
        typer.echo(f"A rejection note is in the outbox for {', '.join(told)}.")
    else:
        typer.echo("No result had been delivered yet; what waited was dropped.")


def _again(study: str, config: Any, data_dir: Any, states: Any) -> None:
    from dicom_node.cli.options import configuration, ledger_of, person
    from dicom_node.ledger.again import ask_again

    ledger = ledger_of(configuration(config, data_dir))
    found = _find(ledger, study)
    asked = ask_again(ledger, found.id, states, person())
    typer.echo(f"{asked} of the study's films will be analysed again.")
    raise typer.Exit(0 if asked else 1)


def _find(ledger: Ledger, text: str) -> Study:
    from dicom_node.errors import RowMissing
    from dicom_node.records import StudyId

    # A longer number is no id of the ledger (and beyond its range), but may be a UID.
    if text.isascii() and text.isdigit() and len(text) < _ID_DIGITS:
        return ledger.study(StudyId(int(text)))
    found = ledger.find_study(text)
    if found is None:
        raise RowMissing(f"There is no study {text!r}.")
    return found
