"""All checks, one after the other: none that fails keeps the next from being made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from dicom_node.errors import NodeError, SettingsError
from dicom_node.ledger import Ailments, Symptoms, Workers
from dicom_node.line.doctor import machine, storage, work
from dicom_node.line.doctor.checked import Checked, MoreChecks, fault, warning, well
from dicom_node.settings import Configuration, configuration_folder, load_configuration

Check = Callable[[], Iterator[Checked]]
Checks = list[tuple[str, Check]]
Told = Callable[[str, int, int], None]


class AskedLedger(Symptoms, Workers, Ailments, Protocol):
    """What a ledger is asked."""

    def close(self) -> None:
        """Close it."""


@dataclass(slots=True)
class Examined:
    """What was found. ``site``: the configuration, None where it cannot be used."""

    site: Configuration | None
    checked: list[Checked] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether there is no fault; warnings are none."""
        return all(each.condition != "fault" for each in self.checked)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"well": self.well, "checked": [each.to_json() for each in self.checked]}


def examine(
    folder: Path | None,
    data_dir: Path | None,
    wanted: MoreChecks,
    opened: Callable[[Configuration], AskedLedger | None],
    told: Told,
) -> Examined:
    """Look at everything. ``opened``: opens the ledger where that changes nothing, else None."""
    site, faults = _settings(folder, data_dir)
    found = Examined(site)
    checks: Checks = [
        ("versions", machine.versions), ("versions", machine.installation),
        ("machine", machine.machine), ("confinement", machine.confinement),
        ("clock", partial(machine.clock, site.settings if site else None)),
        ("settings", lambda: iter(faults)),
    ]  # fmt: skip
    if site is not None:
        checks += _of_storage(site)
    found.checked += _made(checks, told)
    ledger = None
    if site is not None:
        try:
            ledger = opened(site) if site.ledger_path.exists() else None
        except (NodeError, OSError) as error:
            found.checked.append(storage.unreadable("ledger", error))
        try:
            found.checked += _made(_of_work(site, ledger, wanted), told)
        finally:
            if ledger is not None:
                ledger.close()
    if wanted.log is not None:
        found.checked += _made([("log", partial(work.log_lines, wanted.log))], told)
    return found


def _settings(
    folder: Path | None, data_dir: Path | None
) -> tuple[Configuration | None, list[Checked]]:
    where = configuration_folder(folder)
    try:
        site = load_configuration(folder, data_dir=data_dir, thorough=True)
    except SettingsError as error:
        remedy = f"Correct it, then run `dicom-node config check --config {where}`."
        faults = [fault("settings", each, remedy) for each in error.faults or (error.message,)]
        try:
            # What keeps pages or networks from working keeps nobody from looking at the rest.
            site = load_configuration(folder, data_dir=data_dir, pages=False)
        except SettingsError:
            return None, faults
        return site, faults
    return site, [well("settings", f"No fault in {where}")]


def _of_storage(site: Configuration) -> Checks:
    return [
        ("disk", partial(storage.disk, site)),
        ("permissions", partial(storage.permissions, site)),
        ("ledger", partial(storage.ledger_file, site)),
        ("spool", partial(storage.spool_files, site)),
        ("certificates", partial(work.dates, site)),
    ]


def _of_work(
    site: Configuration, ledger: AskedLedger | None, wanted: MoreChecks
) -> list[tuple[str, Check]]:
    checks: Checks = []
    if ledger is not None:
        checks += [
            ("roles", partial(work.roles, site, ledger)),
            ("queues", partial(work.queues, ledger)),
            ("events", partial(work.events, ledger)),
            ("pages", partial(work.pages, site, ledger)),
        ]
    elif site.ledger_path.exists():
        checks.append(("ledger", _of_another_release))
    return [
        *checks,
        ("ports", partial(work.ports, site, ledger)),
        ("networks", partial(work.networks, site, ledger, self_test=wanted.self_test)),
        ("peers", partial(work.peers, site, ledger, ask=wanted.echo)),
        ("backups", partial(storage.backups, ledger, wanted.backups)),
    ]


def _of_another_release() -> Iterator[Checked]:
    yield warning(
        "ledger",
        "It is of another release than this program, or cannot be read: roles and queues are not"
        " looked at, for to open it would change it",
        "Run the doctor of the release that the node runs by; or start the node by this one.",
    )


def _made(checks: Checks, told: Told) -> Iterator[Checked]:
    for number, (area, check) in enumerate(checks):
        told(area, number, len(checks))
        try:
            yield from check()
        except (NodeError, OSError) as error:
            yield storage.unreadable(area, error)
