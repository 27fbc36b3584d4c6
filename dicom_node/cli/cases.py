"""``dicom-node cases``: what the ledger knows of each study."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.cli.case_query import (
    AtLeastOption,
    ObservationOption,
    ObservedOption,
    OrderOption,
    SearchOption,
    export,
)
from dicom_node.cli.options import ConfigOption, DataDirOption, JsonOption, UtcOption, pass_down

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo

    from dicom_node.ledger import Cases, Deliveries
    from dicom_node.ledger.cases import CaseQuery
    from dicom_node.records import Delivery, Instance, Study
    from dicom_node.results.cards import NetworkCard
    from dicom_node.settings import Configuration

_ID_DIGITS = 19

StudyArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Number from `cases list`, Study Instance UID or accession number."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    group = typer.Typer(help="Studies: what was received, found, and answered; or why not.")
    group.callback(invoke_without_command=True)(_default)
    group.command("list")(list_cases)
    group.command("show")(show)
    group.command("export")(export)
    group.command("retry")(retry)
    group.command("reanalyse")(reanalyse)
    group.command("retract")(retract)
    group.command("route")(route)
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
    search: SearchOption = "",
    observation: ObservationOption = "",
    observed: ObservedOption = "found",
    at_least: AtLeastOption = None,
    order: OrderOption = "received",
    limit: Annotated[int, typer.Option(min=1, help="How many, latest first.")] = 50,
    utc: UtcOption = False,
) -> None:
    """List studies, the latest change first; what is searched for in its --order."""
    from dicom_node.cli.case_query import cards_of, query_of
    from dicom_node.cli.options import configuration, ledger_of, zone_for

    query = query_of(search, observation, observed, at_least, order)
    settings = configuration(config, data_dir)
    ledger, cards = ledger_of(settings), cards_of(settings)
    searched = bool(search or observation or order != "received")
    studies = _searched(ledger, query, limit) if searched else ledger.studies(limit=limit)
    rows = [_row(ledger, ledger, study, cards, settings) for study in studies]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo(f"No study: {'none matches' if searched else 'nothing has been received yet'}.")
    else:
        _print(rows, zone_for(settings, utc=utc))
    if searched and len(rows) == limit:
        which = "latest" if order == "received" else "first"
        typer.echo(f"The {which} {limit}: --limit says how many are shown.", err=as_json)
    elif len(rows) == limit and (left := ledger.study_count() - limit):
        typer.echo(f"and {left} more: --limit says how many are shown.", err=as_json)


def _print(rows: Sequence[Mapping[str, Any]], zone: tzinfo | None) -> None:
    from rich.table import Table

    from dicom_node.cli.options import cell, wide_console
    from dicom_node.moments import shown

    table = Table("ID", "accession", "changed", "state", "films", "result", "delivery", "why",
                  box=None)  # fmt: skip
    for row in rows:
        values = (
            row["id"], row["accession_number"], shown(row["changed_at"], zone), row["state"],
            row["films"], row["told"], row["delivery"], row["why"],
        )  # fmt: skip
        table.add_row(*map(cell, values))
    wide_console().print(table)


def _searched(ledger: Cases, query: CaseQuery, limit: int) -> Sequence[Study]:
    from dataclasses import replace

    found = ledger.cases(replace(query, limit=limit)).cases
    return [ledger.study(case.study_id) for case in found]


def _row(
    ledger: Cases,
    outbox: Deliveries,
    study: Study,
    cards: Mapping[str, NetworkCard],
    settings: Configuration,
) -> dict[str, Any]:
    from dataclasses import asdict

    from dicom_node.cli.case_query import headline_lines

    case = ledger.case(study.id)
    told = list(headline_lines(case.observations, cards, settings))
    instances = ledger.instances(study.id)
    deliveries = outbox.deliveries(study_id=study.id)
    reasons = [*(item.reason for item in instances), study.reason]
    held = [f"{item.destination}: {item.told}" for item in deliveries if item.held is not None]
    result = ", ".join(filter(None, map(_finding, instances)))
    # What the list tells in words is not told by its keys, too.
    ours = ", ".join(filter(None, (_finding(item, ours=True) for item in instances)))
    return {
        "id": study.id,
        "study_instance_uid": study.study_instance_uid,
        "state": str(study.state),
        "changed_at": study.changed_at.isoformat(),
        "films": _counted(str(item.state) for item in instances),
        "result": result,
        "told": "; ".join(filter(None, (ours, *told))) if told else result,
        "observations": [asdict(each) for each in case.observations],
        "delivery": _counted(f"{item.state} to {item.destination}" for item in deliveries),
        "accession_number": case.accession_number,
        "reason": "; ".join(dict.fromkeys(filter(None, reasons))) or None,
        "why": "; ".join(dict.fromkeys(filter(None, [*reasons, *held]))) or None,
        "deliveries": [
            {
                "object": str(item.kind), "words": item.words, "destination": item.destination,
                "state": str(item.state), "sent_at": item.sent_at and item.sent_at.isoformat(),
            }
            for item in deliveries
        ],
    }  # fmt: skip


def _counted(names: Any) -> str:
    from collections import Counter

    return ", ".join(f"{number} {name}" for name, number in Counter(names).items())


def _finding(instance: Instance, *, ours: bool = False) -> str:
    from dicom_node.cli.one_line import cell
    from dicom_node.findings import FilmFindings

    if instance.findings_json is None:
        return ""
    findings = FilmFindings.from_json(json.loads(instance.findings_json))
    return cell(findings.with_observed(()) if ours else findings)


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
    deliveries = ledger.deliveries(study_id=found.id)
    for line in _summary(found, instances, deliveries, zone, settings):
        console.print(cell(line))
    console.print("\nStory", style="bold")
    named = {item.id: item for item in deliveries}
    for event in ledger.events(study_id=found.id):
        when, told = shown(event.at, zone, seconds=True), event.sentence(named)
        console.print(cell(f"  {when}  {event.what:<20} {event.who}  {told}".rstrip()))


def _summary(
    study: Study, instances: Sequence[Instance], deliveries: Sequence[Delivery],
    zone: tzinfo | None, settings: Configuration,
) -> Iterator[str]:  # fmt: skip
    from dicom_node.cli.case_query import cards_of
    from dicom_node.moments import shown

    yield f"{study.state}, report {study.revision}" + (f": {study.reason}" * bool(study.reason))
    cards = cards_of(settings)
    for item in instances:
        told = _finding(item) or item.reason or ""
        yield f"  film {item.sop_instance_uid}  {item.state}  {told}"
        yield from (f"    {line}" for line in _observed(item, cards, settings))
    for delivery in deliveries:
        when = f", sent {shown(delivery.sent_at, zone, seconds=True)}" if delivery.sent_at else ""
        told = f": {delivery.told}" if delivery.told else ""
        yield f"  {delivery.words} to {delivery.destination}  {delivery.state}{when}{told}"


def _observed(
    film: Instance, cards: Mapping[str, NetworkCard], settings: Configuration
) -> Iterator[str]:
    """Yield the headlines of a film, and which networks said nothing of it."""
    from dicom_node.cli.case_query import headline_lines
    from dicom_node.findings import FilmFindings
    from dicom_node.line.headlines import headlines_of

    if film.findings_json is None:
        return
    findings = FilmFindings.from_json(json.loads(film.findings_json))
    manifests = {name: each.declaration for name, each in cards.items() if each.declaration}
    yield from headline_lines(headlines_of(findings, manifests), cards, settings)
    for network, reason in findings.unanswered.items():
        yield f"{network} said nothing: {reason}"


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
    from dicom_node.line.retract import Retractor
    from dicom_node.results.key_objects import REASONS
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


def route(
    study: StudyArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell who would get which results of a study by today's AE table; sends nothing."""
    from dicom_node.cli.options import configuration, ledger_of
    from dicom_node.cli.route import route_study, say_study

    settings = configuration(config, data_dir)
    ledger = ledger_of(settings)
    told = route_study(ledger, ledger.peers(), _find(ledger, study), settings)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
    else:
        say_study(told)
    raise typer.Exit(0 if told["recipients"] else 1)


def _again(study: str, config: Any, data_dir: Any, states: Any) -> None:
    from dicom_node.cli.options import configuration, ledger_of, person
    from dicom_node.ledger.again import ask_again

    ledger = ledger_of(configuration(config, data_dir))
    found = _find(ledger, study)
    asked = ask_again(ledger, found.id, states, person())
    typer.echo(f"{asked} of the study's films will be analysed again.")
    raise typer.Exit(0 if asked else 1)


def _find(ledger: Cases, text: str) -> Study:
    """Return a study by number, Study Instance UID or accession number."""
    from dicom_node.errors import RowMissing
    from dicom_node.ledger.cases import CaseQuery
    from dicom_node.records import StudyId

    # A longer number is no id of the ledger (and beyond its range), but may be a UID.
    if text.isascii() and text.isdigit() and len(text) < _ID_DIGITS:
        with contextlib.suppress(RowMissing):
            return ledger.study(StudyId(int(text)))
    if (found := ledger.find_study(text)) is not None:
        return found
    cases = ledger.cases(CaseQuery(accession_number=text, limit=100)).cases if text else ()
    if len(cases) == 1:
        return ledger.study(cases[0].study_id)
    if cases:
        numbers = ", ".join(str(case.study_id) for case in cases)
        raise RowMissing(
            f"{len(cases)} studies have the accession number {text!r}.",
            remedy=f"Name one by its number: {numbers}.",
        )
    raise RowMissing(
        f"There is no study {text!r}.",
        remedy="`dicom-node cases list --search TEXT` finds by patient, ID or accession number.",
    )
