"""The AE table: one file in ``remotes/`` for each remote AE."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from dicom_node.settings.faults import Fault, explain
from dicom_node.settings.model import Remote, Settings
from dicom_node.settings.source import SettingsFile, parse, read_text

RemoteTexts = Mapping[str, str | Fault]


def read_remotes(folder: Path) -> RemoteTexts:
    """Return the text of each ``*.toml`` in ``folder``, by name; a missing folder is empty."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return {}
    except OSError as error:
        what = f"the folder cannot be read: {error.strerror or error}"
        return {"": Fault("remotes", "", what, "let the node's user read it")}
    texts = {
        name: read_text(folder / name, f"remotes/{name}")
        for name in names
        if name.endswith(".toml") and not name.startswith(".")
    }
    return {name: text for name, text in texts.items() if not _vanished(folder / name, text)}


def unread(folder: Path) -> list[str]:
    """Return the names of files in ``folder`` that look like a remote's and are not read.

    Samples, hidden files and the copies that editors leave are nobody's mistake.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError:
        return []
    return [name for name in names if not name.startswith(".") and not name.endswith(_NOT_MEANT)]


_NOT_MEANT = (".toml", ".sample", "~")


def _vanished(path: Path, text: str | Fault) -> bool:
    """Tell whether a file was deleted between listing and reading."""
    return isinstance(text, Fault) and not path.exists()


def build_table(
    texts: RemoteTexts, settings: Settings | None
) -> tuple[Mapping[str, Remote], list[Fault]]:
    """Return the AE table by AE title, and every fault within and between the files.

    ``settings`` are the node's own, for checks against its AE title and TLS; None skips these.
    """
    sources: dict[str, SettingsFile] = {}
    remotes: dict[str, Remote] = {}
    faults: list[Fault] = []
    for name, text in texts.items():
        source = text if isinstance(text, Fault) else parse(text, f"remotes/{name}")
        if isinstance(source, Fault):
            faults.append(source)
            continue
        try:
            remotes[name] = Remote.model_validate_json(
                json.dumps(source.tables, default=str), strict=True
            )
            sources[name] = source
        except ValidationError as error:
            faults += explain(error, Remote, source.places)
    faults += _between(remotes, sources, settings, complete=not faults)
    return {remote.ae_title: remote for remote in remotes.values()}, faults


def find_remote(remotes: Mapping[str, Remote], ae_title: str) -> Remote | None:
    """Return the remote that calls itself ``ae_title``; case counts unless its file says not."""
    exact = remotes.get(ae_title)
    if exact is not None:
        return exact
    lower = ae_title.lower()
    for remote in remotes.values():
        if remote.case_insensitive and remote.ae_title.lower() == lower:
            return remote
    return None


def _between(
    remotes: Mapping[str, Remote],
    sources: Mapping[str, SettingsFile],
    settings: Settings | None,
    *,
    complete: bool,
) -> Iterator[Fault]:
    """Find what is wrong between files; ``complete`` says that every file could be read."""
    table = {remote.ae_title: remote for remote in remotes.values()}
    first: dict[str, str] = {}
    for name, remote in remotes.items():
        places = sources[name].places
        same = first.setdefault(remote.ae_title, name)
        if same != name:
            what = f"{remote.ae_title!r} is also in remotes/{same}"
            yield places.fault(("ae_title",), what, "keep one file for each AE title")
        twin = _case_twin(remote, table)
        if twin:
            what = f"{remote.ae_title!r} and {twin!r} differ only by case"
            yield places.fault(("case_insensitive",), what, "set it to false in both files")
        for position, title in enumerate(remote.results_to):
            wrong = _unreachable(title, table, complete=complete)
            if wrong:
                yield places.fault(("results_to", position), *wrong)
        if settings is not None:
            yield from _against_node(remote, sources[name], settings)


def _case_twin(remote: Remote, table: Mapping[str, Remote]) -> str | None:
    """Return another AE title of the table that a case-insensitive remote would shadow."""
    if not remote.case_insensitive:
        return None
    lower = remote.ae_title.lower()
    return next((t for t in table if t != remote.ae_title and t.lower() == lower), None)


def _unreachable(
    title: str, table: Mapping[str, Remote], *, complete: bool
) -> tuple[str, str] | None:
    """Return what is wrong with ``title`` as a destination, and what to do."""
    if title in table:
        if table[title].host is not None:
            return None
        return (f"{title!r} has no address", "give host and port in the file of that AE")
    if not complete:
        return None  # its file may be one of those that could not be read
    return (f"no file in remotes/ has the AE title {title!r}", "add its file, or correct the name")


def _against_node(remote: Remote, source: SettingsFile, settings: Settings) -> Iterator[Fault]:
    if remote.ae_title == settings.node.ae_title:
        what = f"{remote.ae_title!r} is the AE title of this node: it would send to itself"
        yield source.places.fault(("ae_title",), what, "write the AE title of the remote")
    shows = settings.tls is not None and settings.tls.require_client_certificate
    if remote.certificates and not shows:
        what = "certificates are named, but nobody who calls has to show one"
        remedy = "add [tls] with require_client_certificate = true to node.toml, or name none"
        yield source.places.fault(("certificates",), what, remedy)
    if remote.tls and settings.tls is None:
        what = "this remote wants TLS, but node.toml has no [tls] table"
        yield source.places.fault(("tls",), what, "add [tls] to node.toml, or set tls = false")
