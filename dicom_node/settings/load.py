"""From a configuration folder and the environment to a checked `Configuration`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from dicom_node import resources
from dicom_node.settings.alarms import alarm_faults
from dicom_node.settings.certificates import certificates
from dicom_node.settings.environment import Overrides, overrides
from dicom_node.settings.faults import Fault, KeyPlaces, explain, refusal, suggestion
from dicom_node.settings.files import authorities, pair, private
from dicom_node.settings.model import (
    AnalysisSection,
    MonitorSection,
    NodeSection,
    OidcSection,
    Remote,
    Settings,
    WebSection,
)
from dicom_node.settings.remotes import build_table, read_remotes
from dicom_node.settings.source import SettingsFile, missing_folder, parse, read_text
from dicom_node.settings.suites import suite_faults
from dicom_node.settings.values import is_loopback

LEDGER = "ledger.sqlite"
FOLDER_VARIABLE = "DICOM_NODE_CONFIG"


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that the node was told: checked, complete, with absolute paths.

    ``remotes`` is the AE table by AE title as it was when the configuration was read; a role that
    lives long asks a `RemotesTable` instead.
    """

    folder: Path
    settings: Settings
    remotes: Mapping[str, Remote]

    @property
    def data_dir(self) -> Path:
        """Folder of ledger, spool and engines."""
        return self.settings.node.data_dir

    @property
    def ledger_path(self) -> Path:
        """The ledger's file."""
        return self.data_dir / LEDGER

    @property
    def spool_path(self) -> Path:
        """The folder of received and produced objects."""
        return self.data_dir / "spool"

    @property
    def remotes_path(self) -> Path:
        """The folder of the AE table."""
        return self.folder / "remotes"

    @property
    def admission_path(self) -> Path:
        """The file of the admission rules: the site's own if there is one, else the shipped."""
        own = self.folder / "admission.toml"
        return own if own.is_file() else resources.default_configuration() / "admission.toml"

    @property
    def models_path(self) -> Path:
        """The folder of the model bundles."""
        return self.settings.analysis.models_dir or resources.model_bundles()

    @property
    def templates_path(self) -> Path:
        """The folder of the report templates."""
        return self.settings.results.templates_dir or resources.report_templates()


def load_configuration(
    folder: Path | None = None,
    *,
    data_dir: Path | None = None,
    thorough: bool = False,
    dates: bool = False,
    pages: bool = True,
) -> Configuration:
    """Read and check the configuration in ``folder``.

    Without ``folder``, the environment variable ``DICOM_NODE_CONFIG`` names it; without that, the
    shipped default is taken. ``data_dir`` overrides ``node.data_dir``. ``thorough`` also checks
    that the model bundles and the report template are there, which receiving does not need;
    ``dates``, that certificates are good today, without which a node starts all the same. Without
    ``pages``, what only the pages need (their certificate, signing in) is not checked.
    Raises `SettingsError` with every fault found.
    """
    folder = configuration_folder(folder)
    source, faults = _read_node(folder, os.environ)
    settings, more = _validate(source)
    faults += more
    if settings is not None:
        written = settings.node
        settings = _absolute(settings, folder, data_dir)
        faults += _between_keys(settings, source.places)
        faults += _of_pages(settings, source.places) if pages else ()
        if written.data_dir.parts[:1] and written.data_dir.parts[0].startswith("~"):
            what = f"{str(written.data_dir)!r}: ~ is no home folder here"
            faults.append(source.places.fault(("node", "data_dir"), what, "write the whole path"))
        if not (data_dir or written.data_dir.is_absolute() or is_shipped(folder)):
            faults += _left_behind(written.data_dir, folder, source.places)
        faults += _missing_resources(settings, source.places) if thorough else ()
        faults += _dates(settings, source.places) if dates else ()
    texts = {} if folder.is_file() else read_remotes(folder / "remotes")
    remotes, more = build_table(texts, settings)
    faults += more
    if settings is None or faults:
        raise refusal(faults)
    return Configuration(folder, settings, remotes)


def checked_settings(configuration: Configuration, text: str) -> Settings:
    """Return the settings as they would be with this text of ``node.toml``.

    The bundles that it names must be there. Raises `SettingsError` with every fault found.
    """
    source = parse(text, "node.toml")
    if isinstance(source, Fault):
        raise refusal([source])
    found, faults = overrides(os.environ, Settings)
    source = _merged(source, found)
    settings, more = _validate(source)
    faults += more
    if settings is not None:
        settings = _absolute(settings, configuration.folder, configuration.data_dir)
        faults += _missing_resources(settings, source.places)
    if settings is None or faults:
        raise refusal(faults)
    return settings


def configuration_folder(folder: Path | None = None) -> Path:
    """Return the configuration folder that is meant, as an absolute path."""
    if folder is None:
        named = os.environ.get(FOLDER_VARIABLE)
        folder = Path(named) if named else resources.default_configuration()
    return folder.absolute()


def is_shipped(folder: Path) -> bool:
    """Whether a configuration folder is the defaults that came with the program."""
    return folder.resolve() == resources.default_configuration().resolve()


def _left_behind(data_dir: Path, folder: Path, places: KeyPlaces) -> Iterator[Fault]:
    """Find a ledger where a relative data_dir was looked up once: beside the command, not here."""
    old, new = data_dir.absolute(), folder / data_dir
    # Whoever runs a command may not be let into the folder that it is given in: nothing lies there.
    if os.access(old / LEDGER, os.F_OK) and not (new / LEDGER).exists():
        what = f"{old} holds the ledger of a node, but this key is relative to {folder}"
        remedy = (
            f'stop the node and move {old} to {new}, or write data_dir = "{old}"; to begin with'
            f' an empty ledger all the same, write data_dir = "{new}"'
        )
        yield places.fault(("node", "data_dir"), what, remedy)


def _read_node(folder: Path, environment: Mapping[str, str]) -> tuple[SettingsFile, list[Fault]]:
    """Return what ``node.toml`` and the environment say together."""
    found, faults = overrides(environment, Settings)
    if folder.is_file():
        remedy = f"name its folder instead: {folder.parent}"
        faults.append(Fault(str(folder), "", "is a file, not the configuration folder", remedy))
        return _merged(SettingsFile({}, KeyPlaces("node.toml")), found), faults
    text = missing_folder(folder) or read_text(folder / "node.toml", _node_file(folder))
    source = text if isinstance(text, Fault) else parse(text, "node.toml")
    if isinstance(source, Fault):
        faults.insert(0, source)
        source = SettingsFile({}, KeyPlaces("node.toml"))
    return _merged(source, found), faults


def _node_file(folder: Path) -> str:
    """Return how messages name the file: with its folder if it is not there."""
    return "node.toml" if (folder / "node.toml").is_file() else str(folder / "node.toml")


def _merged(source: SettingsFile, found: Overrides) -> SettingsFile:
    tables: dict[str, Any] = dict(source.tables)
    for (section, key), (_, value) in found.items():
        table = tables.get(section, {})
        if isinstance(table, dict):
            tables[section] = {**table, key: value}
    variables: Mapping[tuple[str, ...], str] = {
        (section, key): variable for (section, key), (variable, _) in found.items()
    }
    return SettingsFile(tables, KeyPlaces(source.places.file, source.places.lines, variables))


def _validate(source: SettingsFile) -> tuple[Settings | None, list[Fault]]:
    text = json.dumps(source.tables, default=str)
    try:
        return Settings.model_validate_json(text, strict=True), []
    except ValidationError as error:
        return None, explain(error, Settings, source.places)


def _absolute(settings: Settings, folder: Path, data_dir: Path | None) -> Settings:
    """Return the settings with absolute paths, all of them from ``folder``.

    But no data go into the shipped defaults: there, data_dir is relative to the working directory,
    as one that is given with the command is.
    """
    node = settings.node
    home = Path.cwd() if is_shipped(folder) else folder
    data = data_dir.absolute() if data_dir else home / node.data_dir
    update: dict[str, object] = {"node": node.model_copy(update={"data_dir": data})}
    if settings.tls is not None:
        tls = {key: folder / getattr(settings.tls, key) for key in ("certificate", "key", "ca")}
        update["tls"] = settings.tls.model_copy(update=tls)
    if settings.analysis.models_dir is not None:
        models = {"models_dir": folder / settings.analysis.models_dir}
        update["analysis"] = settings.analysis.model_copy(update=models)
    if settings.results.templates_dir is not None:
        templates = {"templates_dir": folder / settings.results.templates_dir}
        update["results"] = settings.results.model_copy(update=templates)
    if settings.oidc is not None:
        secret = {"client_secret": folder / settings.oidc.client_secret}
        update["oidc"] = settings.oidc.model_copy(update=secret)
    told = {
        key: folder / path
        for key in ("webhook_token", "smtp_ca", "smtp_password")
        if (path := getattr(settings.alarms, key)) is not None
    }
    update["alarms"] = settings.alarms.model_copy(update=told)
    web = {
        key: folder / path
        for key in ("certificate", "key")
        if (path := getattr(settings.web, key)) is not None
    }
    update["web"] = settings.web.model_copy(update=web)
    return settings.model_copy(update=update)


def _between_keys(settings: Settings, places: KeyPlaces) -> Iterator[Fault]:
    """Find what is wrong between keys, and in the files that keys name."""
    node, delivery = settings.node, settings.delivery
    if node.max_associations_per_address > node.max_associations:
        what = f"{node.max_associations_per_address} is more than node.max_associations"
        remedy = f"write at most {node.max_associations}"
        yield places.fault(("node", "max_associations_per_address"), what, remedy)
    if delivery.retry_first_seconds > delivery.retry_longest_seconds:
        what = f"{delivery.retry_first_seconds} is more than delivery.retry_longest_seconds"
        remedy = f"write at most {delivery.retry_longest_seconds}"
        yield places.fault(("delivery", "retry_first_seconds"), what, remedy)
    yield from _engine(settings.analysis, places)
    if settings.tls is not None:
        yield from pair(settings.tls.certificate, settings.tls.key, "tls", places)
        yield from authorities(settings.tls.ca, ("tls", "ca"), places)
    yield from _ports(settings, places)
    yield from alarm_faults(settings.alarms, places)


def _ports(settings: Settings, places: KeyPlaces) -> Iterator[Fault]:
    """Find ports of which one could not be listened on, since another role does."""
    taken: list[tuple[str, NodeSection | WebSection | MonitorSection]] = [("node", settings.node)]
    for name, section in (("web", settings.web), ("monitor", settings.monitor)):
        for other, earlier in taken:
            if section.port == earlier.port != 0 and _meet(earlier.host, section.host):
                what = f"{section.port} is {other}.port as well: one of the two could not listen"
                yield places.fault((name, "port"), what, "write another port")
        taken.append((name, section))


def _engine(analysis: AnalysisSection, places: KeyPlaces) -> Iterator[Fault]:
    """Find what keeps the wanted engine from answering."""
    if analysis.engine in ("openvino", "ray") and analysis.device == "gpu":
        what = f"{analysis.engine} computes on CPUs, and analysis.device is gpu"
        yield places.fault(("analysis", "engine"), what, 'write "auto" or "keras"')
    if analysis.engine == "ray" and not analysis.brain_address:
        what = "analysis.engine is ray, and nobody is named to be asked"
        remedy = "write where Ray Serve listens, e.g. http://head:8000"
        yield places.fault(("analysis", "brain_address"), what, remedy)
    if analysis.brain_timeout_seconds >= analysis.lease_seconds:
        what = f"{analysis.brain_timeout_seconds:g} is not less than analysis.lease_seconds"
        remedy = f"write less than {analysis.lease_seconds:g}"
        yield places.fault(("analysis", "brain_timeout_seconds"), what, remedy)


def _of_pages(settings: Settings, places: KeyPlaces) -> Iterator[Fault]:
    yield from _web(settings.web, places)
    if settings.oidc is not None:
        yield from _oidc(settings.oidc, places)


def _meet(one: str, other: str) -> bool:
    """Tell whether two addresses to listen on are one, or either of them is every address."""
    return one == other or not {one, other}.isdisjoint({"0.0.0.0", "::"})  # noqa: S104 - compared


def _oidc(oidc: OidcSection, places: KeyPlaces) -> Iterator[Fault]:
    yield from private(oidc.client_secret, ("oidc", "client_secret"), places)
    issuer = urlsplit(oidc.issuer)
    if issuer.scheme != "https" and not is_loopback(issuer.hostname or ""):
        what = f"{oidc.issuer} is not https: anyone on the way could sign in"
        yield places.fault(("oidc", "issuer"), what, "give its https address")
    if not (oidc.readers or oidc.operators or oidc.admins):
        what = "no group may sign in"
        yield places.fault(("oidc", "readers"), what, "name groups in readers, operators or admins")


def _web(web: WebSection, places: KeyPlaces) -> Iterator[Fault]:
    """Find what is wrong with the door of the pages: passwords cross no network in the clear."""
    if web.certificate is not None and web.key is not None:
        yield from pair(web.certificate, web.key, "web", places)
        return
    for name, given in (("key", web.certificate), ("certificate", web.key)):
        if given is not None:
            yield places.fault(("web", name), "certificate and key belong together", "give both")
            return
    if not is_loopback(web.host):
        what = f"{web.host} can be reached by others, and there is no certificate"
        remedy = "give web.certificate and web.key, or listen on 127.0.0.1 behind a proxy"
        yield places.fault(("web", "host"), what, remedy)


def _dates(settings: Settings, places: KeyPlaces) -> Iterator[Fault]:
    """Find certificates that are no good today."""
    now = datetime.now(UTC)
    for found in certificates(settings):
        if fault := found.fault(now):
            yield places.fault(found.key, f"{found.path} {fault[0]}", fault[1])


def _missing_resources(settings: Settings, places: KeyPlaces) -> Iterator[Fault]:
    # Of Ray a node needs nothing: it is asked over HTTP.
    if settings.analysis.engine in ("openvino", "ray") and find_spec("openvino") is None:
        what, remedy = "OpenVINO is not installed", 'install dicom-node[cpu], or write "auto"'
        yield places.fault(("analysis", "engine"), what, remedy)
    yield from suite_faults(settings, places)
    templates = settings.results.templates_dir or resources.report_templates()
    known = sorted(path.stem for path in templates.glob("*.toml"))
    if settings.results.template not in known:
        what = f"there is no template {settings.results.template!r} in {templates}"
        remedy = suggestion(settings.results.template, known)
        yield places.fault(("results", "template"), what, remedy)
