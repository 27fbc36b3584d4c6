"""``dicom-node alarms``: what people were told is wrong, and a test of how they are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption, JsonOption, UtcOption, pass_down

if TYPE_CHECKING:
    from datetime import tzinfo

    from dicom_node.line.alarm_words import AlarmWording
    from dicom_node.records import Alarm, AlarmNotice


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    group = typer.Typer(help="Alarms: what is wrong, what was, and a test of how people are told.")
    group.callback(invoke_without_command=True)(_default)
    group.command("list")(list_alarms)
    group.command("test")(try_channels)
    app.add_typer(group, name="alarms")


def _default(
    context: typer.Context,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    utc: UtcOption = False,
) -> None:
    if pass_down(context) is None:
        list_alarms(config, data_dir, as_json, utc=utc)


def list_alarms(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    utc: UtcOption = False,
) -> None:
    """List the latest alarms, newest first: since when, until when, and what they say."""
    from dicom_node.cli.options import cell, configuration, ledger_of, wide_console, zone_for
    from dicom_node.line.alarm_words import shipped_or_own_wording

    settings = configuration(config, data_dir)
    wording = shipped_or_own_wording(settings)
    ledger = ledger_of(settings)
    alarms = ledger.latest_alarms(limit)
    untold = ledger.untold()
    ledger.close()
    if as_json:
        told = [_json(alarm, wording) for alarm in alarms]
        typer.echo(json.dumps({"alarms": told, "untold": dict(untold)}, indent=1))
        return
    console, zone = wide_console(), zone_for(settings, utc=utc)
    for alarm in alarms:
        console.print(cell(_line(alarm, wording, zone)))
    for channel, number in untold.items():
        console.print(cell(f"{number} not told by {channel} yet: the log says why (alarm.untold)."))
    if not alarms:
        typer.echo("No alarm so far.")


def try_channels(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Send a test by each channel of [alarms] in node.toml. Exit 1 if one does not take it."""
    from dicom_node.cli.options import configuration
    from dicom_node.line.alarm_channels import CHANNELS
    from dicom_node.line.alarm_words import wording_of

    settings = configuration(config, None)
    alarms, wording = settings.settings.alarms, wording_of(settings)
    answers = {name: CHANNELS[name](alarms, _notice(), wording) for name in alarms.channels}
    if as_json:
        told = {
            name: None if untold is None else {"reason": untold.reason, "remedy": untold.remedy}
            for name, untold in answers.items()
        }
        typer.echo(json.dumps(told, indent=1))
    else:
        for name, untold in answers.items():
            said = "taken" if untold is None else f"not taken: {untold.reason}. {untold.remedy}"
            typer.echo(f"{name}: {said}")
        if not answers:
            typer.echo(
                "Nobody is told: give alarms.webhook, or alarms.mail_to, in node.toml"
                " (docs/operate.md)."
            )
    if not answers or any(answers.values()):
        raise typer.Exit(1)


def _notice() -> AlarmNotice:
    from datetime import UTC, datetime

    from dicom_node.ledger.alarms import RISEN
    from dicom_node.records import Alarm, AlarmKind, AlarmNotice

    return AlarmNotice(0, Alarm(0, AlarmKind.TEST, "", {}, datetime.now(UTC)), RISEN)


def _line(alarm: Alarm, wording: AlarmWording, zone: tzinfo | None) -> str:
    begun = f"{alarm.risen_at.astimezone(zone):%Y-%m-%d %H:%M}"
    until = f"{alarm.ended_at.astimezone(zone):%Y-%m-%d %H:%M}" if alarm.ended_at else "now"
    return f"{begun} to {until:<16}  {wording.title(alarm)}. {wording.sentence(alarm)}"


def _json(alarm: Alarm, wording: AlarmWording) -> dict[str, object]:
    return {
        "id": alarm.id,
        "alarm": alarm.kind,
        "subject": alarm.subject,
        "since": alarm.risen_at.isoformat(),
        "until": alarm.ended_at.isoformat() if alarm.ended_at else None,
        "title": wording.title(alarm),
        "sentence": wording.sentence(alarm),
    }
