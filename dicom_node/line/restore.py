"""A ledger of yesterday on the spool of today: put in place, and told what it does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from dicom_node.intake.take import FrontDoor
from dicom_node.ledger import FilmOnRecord, Restored, open_ledger
from dicom_node.line.backup import networks_in_use
from dicom_node.line.backup_files import (
    LEDGER_COPY,
    POOL,
    SPOOL_LIST,
    BackedUpNetwork,
    BackupManifest,
    Told,
    copy_durably,
    files_under,
    free_name,
    private_folders,
    room_at,
    sync_folder,
)
from dicom_node.line.carrying import Carried, carry_all
from dicom_node.line.upkeep import SweptLedger, take_left_over
from dicom_node.logs import Log
from dicom_node.records import Digest
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_SHARDS = tuple(f"{number:02x}" for number in range(256))
_MARGIN = timedelta(hours=1)
"""So much before the copy was made notes may be newer than it: clocks, and files under way."""

_TELL_EVERY = 20


class RestoredLedger(Restored, SweptLedger, Protocol):
    """What is compared with the spool, and told of what it does not know."""


@dataclass(slots=True)
class Reconciled:
    """What a restored ledger was told. ``adopted``: received files that it did not know.

    ``senders``: how often a film that it knew had come from somebody more. ``left``: files that
    could be neither taken in nor removed. ``missing``: films that it knows and that are not stored.
    """

    adopted: int = 0
    removed: int = 0
    left: int = 0
    senders: int = 0
    missing: list[FilmOnRecord] = field(default_factory=list)


def aside_name(moment: datetime) -> str:
    """Return how the folder is called that keeps what is replaced."""
    return f"aside-{moment:%Y-%m-%dT%H%M%SZ}"


def restore_ledger(configuration: Configuration, backup: Path | None, who: str) -> Path:
    """Put the ledger of a backup in place, or a new one; return where the old one is kept.

    The caller holds the roles' locks (`alone`) and has verified the backup. Until the new one is
    whole, of this release, and read through, the old one stays. Raises `LedgerUnavailable`,
    `SchemaTooNew` and `OSError`.
    """
    data_dir, path = configuration.data_dir, configuration.ledger_path
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with room_at(data_dir), _staged(path) as staged:
        if backup is not None:
            copy_durably(backup / LEDGER_COPY, staged)
        ledger = open_ledger(staged, who=who, verify=True)
        ledger.wake_up()
        ledger.note(who, "ledger.restored", "from the spool" if backup is None else backup.name)
        ledger.close()
        aside = free_name(data_dir / aside_name(datetime.now(UTC)))
        aside.mkdir(mode=0o700)
        # The main file last: killed in between, there is no ledger, and none is begun unasked.
        for name in (f"{path.name}-wal", f"{path.name}-shm", path.name):
            if (data_dir / name).exists():
                (data_dir / name).rename(aside / name)
        staged.rename(path)
        sync_folder(aside)
        sync_folder(data_dir)
    if not any(aside.iterdir()):
        aside.rmdir()
    return aside


@contextmanager
def _staged(path: Path) -> Iterator[Path]:
    staged = path.with_name(f"{path.name}.restoring")
    beside = [staged, *(staged.with_name(f"{staged.name}{end}") for end in ("-wal", "-shm"))]
    for each in beside:
        each.unlink(missing_ok=True)
    try:
        yield staged
    finally:
        for each in beside:
            each.unlink(missing_ok=True)


def restore_spool(configuration: Configuration, place: Path, backup: Path, told: Told) -> Carried:
    """Bring back the stored files of a backup that are not in the spool. Raises like `carry_all`.

    ``place``: where the backups, and the files of all of them, lie.
    """
    digests = [Digest(each) for each in (backup / SPOOL_LIST).read_text("ascii").split()]
    spool = Spool(configuration.spool_path)
    return carry_all(digests, Spool(place / POOL), spool, told, "bringing back", len(digests))


def restore_configuration(backup: Path, folder: Path) -> Path | None:
    """Put the configuration of a backup in place; return where the one before is kept, if any was.

    Raises `OSError`.
    """
    source, aside = backup / "configuration", None
    if folder.is_dir() and any(folder.iterdir()):
        aside = free_name(folder.with_name(f"{folder.name}.{aside_name(datetime.now(UTC))}"))
        folder.rename(aside)
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    for path in files_under(source):
        target = folder / path.relative_to(source)
        target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        # Keys stay nobody else's; what the group may read an administrator says again.
        copy_durably(path, target)
    return aside


def restore_beside(configuration: Configuration, backup: Path) -> Sequence[Path]:
    """Put back the site's own templates and added bundles where they are not; return the files.

    Raises `OSError`.
    """
    wanted = {"added-models": configuration.data_dir / "models"}
    own = configuration.settings.results.templates_dir
    if own is not None:
        wanted["templates"] = own
    written = []
    for name, folder in wanted.items():
        for path in files_under(backup / name) if (backup / name).is_dir() else ():
            target = folder / path.relative_to(backup / name)
            if not target.exists():
                private_folders(target.parent)
                copy_durably(path, target)
                written.append(target)
    return written


def other_networks(configuration: Configuration, manifest: BackupManifest) -> Sequence[str]:
    """Tell which networks are not those that were in use, in sentences."""

    def words(network: BackedUpNetwork | None) -> str:
        return "not in use" if network is None else f"{network.version} {network.weights[:15]}"

    here = {network.id: network for network in networks_in_use(configuration.settings)}
    then = {network.id: network for network in manifest.networks}
    return [
        f"{name}: then {words(then.get(name))}, now {words(here.get(name))}"
        for name in sorted(here.keys() | then.keys())
        if here.get(name) != then.get(name)
    ]


def reconcile(
    configuration: Configuration,
    ledger: RestoredLedger,
    since: datetime | None,
    log: Log,
    told: Told,
) -> Reconciled:
    """Tell a ledger what the spool holds beyond it, and find what it knows that is not stored.

    Received files are taken in as from who had sent them; films that came from somebody more since
    the copy was made (``since``; None: whenever) are owed to them too. Whatever is analysed again
    for that gives the same objects, which the PACS has. Raises `Unavailable` and its leaves.
    """
    spool = Spool(configuration.spool_path)
    door = FrontDoor.of(configuration.settings, spool, ledger, log)
    outcomes = Counter[str]()
    unknown = spool.sweep(ledger.digests_of_shard, min_age_seconds=0.0).unknown
    for number, each in enumerate(unknown):
        if number % _TELL_EVERY == 0:
            told("taking in", number, len(unknown))
        outcomes[take_left_over(door, each)] += 1
    told("taking in", len(unknown), len(unknown))
    found = Reconciled(outcomes["adopted"], outcomes["removed"], outcomes["left"])
    moment = 0.0 if since is None else (since - _MARGIN).timestamp()
    newly = set(spool.came_since(moment))
    for number, shard in enumerate(_SHARDS):
        told("comparing", number, len(_SHARDS))
        for film in ledger.films_of_shard(shard):
            if not spool.path(film.digest).exists():
                found.missing.append(film)
            elif film.digest in newly:
                found.senders += _owed(door, film)
    told("comparing", len(_SHARDS), len(_SHARDS))
    return found


def _owed(door: FrontDoor, film: FilmOnRecord) -> int:
    """Let the ledger know of senders of a film that it does not have; return how many."""
    comings = door.spool.comings(film.digest)
    more = [each for each in comings if each.origin.calling_ae_title not in film.senders]
    for each in more:
        door.take_file(door.spool.read(film.digest), each.origin, came=each)
    return len(more)
