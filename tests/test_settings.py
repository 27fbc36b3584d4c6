"""The configuration: one truth, every fault named, the AE table watched."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import subprocess
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_node import resources
from dicom_node.errors import SettingsError
from dicom_node.settings import (
    Configuration,
    Remote,
    RemotesTable,
    Settings,
    find_remote,
    host_and_port,
    load_configuration,
)
from dicom_node.settings.reference import node_keys, remote_keys, schema
from dicom_node.settings.remotes import unread

SHIPPED = Path(__file__).parent.parent / "ae_config"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a configuration folder: ``node.toml`` and remotes by name."""
    monkeypatch.delenv("DICOM_NODE_CONFIG", raising=False)

    def written(node: str = "", **remotes: str) -> Path:
        folder = tmp_path / "config"
        (folder / "remotes").mkdir(parents=True, exist_ok=True)
        (folder / "node.toml").write_text(node, "utf-8")
        for name, text in remotes.items():
            (folder / "remotes" / f"{name}.toml").write_text(text, "utf-8")
        return folder

    return written


def remote(ae_title: str, more: str = 'host = "10.0.0.5"\nport = 104') -> str:
    return f'ae_title = "{ae_title}"\n{more}\n'


def faults_of(folder: Path) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_configuration(folder)
    return caught.value.faults


# One truth


def uncommented(text: str) -> str:
    """Return the shipped file with its commented-out tables in force."""
    return re.sub(r"^#(?=\[\[?\w+\]\]?$|\w+ = )", "", text, flags=re.MULTILINE)


def test_the_shipped_node_toml_names_every_key_with_its_default_and_no_other() -> None:
    tables = tomllib.loads(uncommented((SHIPPED / "node.toml").read_text("utf-8")))
    examples = tables.pop("suites")
    written = {(section, key) for section, table in tables.items() for key in table}
    written |= {("suites", key) for table in examples for key in table}
    assert written == {(key.section, key.name) for key in node_keys()}
    for key in node_keys():
        if not key.required and key.section != "suites":
            given = tables[key.section][key.name]
            assert given == ("" if key.default is None else key.default), key
            assert type(given) is type(key.default if key.default is not None else ""), key


def test_the_shipped_configuration_is_the_default_configuration() -> None:
    assert load_configuration(SHIPPED).settings == _with_absolute_data_dir(Settings())


def _with_absolute_data_dir(plain: Settings) -> Settings:
    node = plain.node.model_copy(update={"data_dir": plain.node.data_dir.absolute()})
    return plain.model_copy(update={"node": node})


def test_the_sample_remote_names_every_key_and_is_valid_but_inactive() -> None:
    sample = SHIPPED / "remotes" / "example-pacs.toml.sample"
    tables = tomllib.loads(sample.read_text("utf-8"))
    assert set(tables) == {key.name for key in remote_keys()}
    assert Remote.model_validate_json(json.dumps(tables), strict=True).ae_title == "MAINPACS"
    assert load_configuration(SHIPPED).remotes == {}


def test_every_key_has_a_meaning() -> None:
    assert [key for key in node_keys() + remote_keys() if not key.meaning] == []


def test_every_key_is_read_by_some_code() -> None:
    """A key that nothing reads would be believed and do nothing."""
    package = SHIPPED.parent / "dicom_node"
    told = {"model.py", "reference.py"}  # where keys are defined and listed
    read = {
        node.attr
        for path in package.rglob("*.py")
        if path.parent.name != "settings" or path.name not in told
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
    }
    keys = {key.name for key in (*node_keys(), *remote_keys())}
    # `timezone`, `viewer`, `objects` and `sr_classes` are read through properties of the model.
    model = (package / "settings" / "model.py").read_text("utf-8")
    through = {name for name in keys if re.search(rf"self\.{name}\b", model)}
    assert keys - read - through == set()


def test_the_generated_documentation_is_up_to_date() -> None:
    from dicom_node.settings.reference import node_table, remote_table

    page = (SHIPPED.parent / "docs" / "configuration.md").read_text("utf-8")
    assert node_table() in page, "run `make docs`"
    assert remote_table() in page, "run `make docs`"


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    found = schema(Settings)
    assert set(found["properties"]) == set(Settings.model_fields)
    assert all(table["additionalProperties"] is False for table in found["$defs"].values())


def test_without_a_folder_the_environment_names_it_else_the_shipped_one_is_taken(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_configuration().folder == resources.default_configuration()
    folder = write('[node]\nae_title = "OTHER"')
    monkeypatch.setenv("DICOM_NODE_CONFIG", str(folder))
    assert load_configuration().settings.node.ae_title == "OTHER"


def test_paths_are_absolute_and_data_dir_can_be_given(write: Write, tmp_path: Path) -> None:
    folder = write('[analysis]\nmodels_dir = "own-models"')
    configuration = load_configuration(folder, data_dir=tmp_path / "data")
    assert configuration.ledger_path == tmp_path / "data" / "ledger.sqlite"
    assert configuration.spool_path == tmp_path / "data" / "spool"
    assert configuration.models_path == folder / "own-models"
    assert configuration.templates_path == resources.report_templates()


def test_data_dir_is_relative_to_the_configuration_folder_and_never_within_the_shipped_one(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write()
    monkeypatch.chdir(tmp_path)
    assert load_configuration(Path("config")).data_dir == folder / "var"
    assert load_configuration(folder, data_dir=Path("here")).data_dir == tmp_path / "here"
    assert load_configuration().data_dir == tmp_path / "var"
    monkeypatch.setenv("DICOM_NODE__NODE__DATA_DIR", "elsewhere")
    assert load_configuration(folder).data_dir == folder / "elsewhere"


def test_a_ledger_where_data_dir_was_looked_up_once_is_a_fault_with_what_to_move(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write('[node]\nport = 104\ndata_dir = "data"\n')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ledger.sqlite").touch()
    (fault,) = faults_of(folder)
    assert fault.startswith(f"node.toml:3: node.data_dir: {tmp_path / 'data'} holds the ledger")
    assert f"move {tmp_path / 'data'} to {folder / 'data'}" in fault
    (tmp_path / "data").rename(folder / "data")
    assert load_configuration(folder).ledger_path.exists()


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("10.0.0.5:104", 'meant is host "10.0.0.5", port 104'),
        ("pacs.example:11112", 'meant is host "pacs.example", port 11112'),
        ("[::1]:104", 'meant is host "::1", port 104'),
        ("dicom://pacs:104", 'meant is host "pacs", port 104'),
        ("http://pacs/", "no host name and no address"),
        ("pacs one", "no host name and no address"),
        ("10.0.0", "no host name and no address"),
        ("10.0.0.256", "no host name and no address"),
        ("[pacs]", "no host name and no address"),
    ],
)
@pytest.mark.parametrize("section", ["node", "web", "remote"])
def test_a_host_that_is_no_name_or_address_is_a_fault_that_says_what_was_meant(
    write: Write, section: str, host: str, said: str
) -> None:
    if section == "remote":
        found = faults_of(write(pacs=remote("PACS", f'host = "{host}"\nport = 104')))
    else:
        found = faults_of(write(f'[{section}]\nhost = "{host}"\n'))
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    ("host", "address"),
    [("[::1]", "[::1]:104"), ("::1", "[::1]:104"), ("fe80::1%eth0", "[fe80::1%eth0]:104"),
     ("10.0.0.5", "10.0.0.5:104"), ("pacs_1.röntgen.example", "pacs_1.röntgen.example:104")],
)  # fmt: skip
def test_an_ipv6_host_may_stand_in_brackets_and_is_shown_in_them(
    write: Write, host: str, address: str
) -> None:
    folder = write(pacs=remote("PACS", f'host = "{host}"\nport = 104'))
    found = load_configuration(folder).remotes["PACS"]
    assert found.host == host.strip("[]")
    assert host_and_port(found.host, found.port) == address


def test_a_site_may_have_its_own_admission_rules(write: Write) -> None:
    folder = write()
    assert load_configuration(folder).admission_path == SHIPPED / "admission.toml"
    (folder / "admission.toml").touch()
    assert load_configuration(folder).admission_path == folder / "admission.toml"


# Faults

NODE_FAULTS = {
    '[node]\nport = "11112"': "node.toml:2: node.port: '11112': must be a valid integer",
    "[node]\nport = 65536": "node.toml:2: node.port: 65536: must be less than or equal to 65535",
    "[node]\nmax_associations = true": "node.toml:2: node.max_associations: True: must be",
    "\n[node]\nprt = 1\nhost = 'h'": "node.toml:3: node.prt: unknown key — did you mean 'port'?",
    "[nod]\nport = 1": "node.toml:1: nod: unknown key — did you mean 'node'?",
    "[results]\nport = 1": "node.toml:2: results.port: unknown key — it belongs in [node] or [web]",
    '[node]\nae_title = "ABCDEFGHIJKLMNOPQ"': "at most 16 characters, this one 17",
    '[node]\nae_title = "A\\\\B"': "printable ASCII without backslash",
    '[node]\nae_title = "   "': "at least one character that is not a space",
    '[node]\nae_title = "RÖNTGEN"': "printable ASCII without backslash",
    '[results]\nwhen = "later"': "results.when: 'later': must be 'instance' or 'study-quiet'",
    "[results]\nquiet_seconds = nan": "results.quiet_seconds",
    "[node]\nport = ": "node.toml:2: not valid TOML",
    "[node]\nport = 1\nport = 2": "node.toml:3: not valid TOML",
    "node = 1": "node.toml:1: node: 1: ",
    '[tls]\nkey = "k"': "node.toml:1: tls.certificate: missing — write it",
    "[node]\nmax_associations = 4": "node.max_associations_per_address: 32 is more than",
    "[delivery]\nretry_first_seconds = 901": "delivery.retry_first_seconds: 901.0 is more than",
    '[analysis]\nengine = "openvino"\ndevice = "gpu"': "openvino computes on CPUs",
    '[analysis]\nengine = "ray"\ndevice = "gpu"': "ray computes on CPUs",
    '[analysis]\nengine = "ray"': "analysis.brain_address: analysis.engine is ray, and nobody is",
    '[analysis]\nbrain_address = "head:8000"': "analysis.brain_address",
    '[analysis]\nbrain_address = "http://head:8000/x"': "analysis.brain_address",
    "[analysis]\nbrain_timeout_seconds = 300": "300 is not less than analysis.lease_seconds",
}


@pytest.mark.parametrize(("text", "fault"), NODE_FAULTS.items())
def test_a_fault_in_node_toml_is_named_with_line_key_and_what_to_do(
    write: Write, text: str, fault: str
) -> None:
    found = faults_of(write(text))
    assert any(fault in line for line in found), found
    assert all(" — " in line for line in found)


REMOTE_FAULTS = {
    'ae_title = "A"': "remotes/a.toml: host: this AE may send, but its results would go nowhere",
    'ae_title = "A"\nhost = "h"': "remotes/a.toml: port: host and port belong together",
    remote("A") + "prot = 104": "remotes/a.toml:4: prot: unknown key — did you mean 'port'?",
    remote("A") + 'addresses = ["10.0.0.300"]': "remotes/a.toml:4: addresses[0]: '10.0.0.300'",
    remote("A") + 'results_to = ["B"]': "results_to[0]: no file in remotes/ has the AE title 'B'",
    remote("A") + 'objects = ["pdf"]': "remotes/a.toml:4: objects[0]: 'pdf': must be",
    remote("A")
    + "tls = true": "remotes/a.toml:4: tls: this remote wants TLS, but node.toml has no",
    remote("DICOMNODE"): "remotes/a.toml:1: ae_title: 'DICOMNODE' is the AE title of this node",
    'host = "h"\nport = 104': "remotes/a.toml: ae_title: missing",
}


@pytest.mark.parametrize(("text", "fault"), REMOTE_FAULTS.items())
def test_a_fault_in_a_remote_is_named_with_its_file(write: Write, text: str, fault: str) -> None:
    found = faults_of(write(a=text))
    assert any(fault in line for line in found), found
    assert all(" — " in line for line in found)


def test_two_files_with_one_ae_title_are_a_fault(write: Write) -> None:
    (fault,) = faults_of(write(a=remote("PACS"), b=remote(" PACS ")))
    assert fault.startswith("remotes/b.toml:1: ae_title: 'PACS' is also in remotes/a.toml")


def test_titles_that_differ_by_case_alone_are_a_fault_where_case_is_ignored(write: Write) -> None:
    folder = write(a=remote("PACS") + "case_insensitive = true", b=remote("pacs"))
    (fault,) = faults_of(folder)
    assert "'PACS' and 'pacs' differ only by case" in fault
    assert len(load_configuration(write(a=remote("PACS"), b=remote("pacs"))).remotes) == 2


def test_certificates_of_an_ae_are_fingerprints_of_what_it_has_to_show(write: Write) -> None:
    own = 'host = "h"\nport = 104\n'
    (fault,) = faults_of(write("", a=remote("A", own + 'certificates = ["12:34"]')))
    assert "no SHA-256 fingerprint" in fault
    (fault,) = faults_of(write("", a=remote("A", own + f'certificates = ["{"ab" * 32}"]')))
    assert "nobody who calls has to show one" in fault


def test_results_may_not_go_to_an_ae_without_address(write: Write) -> None:
    silent = 'ae_title = "B"\nmay_send = false'
    (fault,) = faults_of(write(a='ae_title = "A"\nresults_to = ["B"]', b=silent))
    assert fault.startswith("remotes/a.toml:2: results_to[0]: 'B' has no address")


def test_all_faults_of_all_files_are_named_at_once(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DICOM_NODE__NODE__HOTS", "x")
    folder = write("[node]\nport = 0.5\n[webb]\n", a="ae_title = ", b=remote("B") + "tsl = true")
    found = faults_of(folder)
    assert len(found) == 5, found
    assert {line.split(":")[0] for line in found} == {
        "environment DICOM_NODE__NODE__HOTS",
        "node.toml",
        "remotes/a.toml",
        "remotes/b.toml",
    }


def test_a_missing_or_unreadable_folder_is_a_fault_not_a_default(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    (fault,) = faults_of(nowhere)
    assert fault.startswith(f"{nowhere}: there is no such folder")
    assert f"`dicom-node config init {nowhere}`" in fault
    nowhere.mkdir()
    (fault,) = faults_of(nowhere)
    assert f"{nowhere / 'node.toml'}: cannot be read" in fault


def test_a_file_in_the_folder_s_place_is_a_fault_that_names_the_folder(write: Write) -> None:
    folder = write()
    (fault,) = faults_of(folder / "node.toml")
    assert f"is a file, not the configuration folder — name its folder instead: {folder}" in fault


def test_bytes_that_are_no_text_are_a_fault(write: Write) -> None:
    folder = write()
    (folder / "node.toml").write_bytes(b"\xff\xfe")
    assert faults_of(folder) == ("node.toml: is not UTF-8 text — save it as UTF-8",)


def test_a_bundle_or_template_that_is_not_there_is_named_when_asked(write: Write) -> None:
    folder = write('[analysis]\nsuite = ["covidnot"]\n[results]\ntemplate = "poem"')
    assert load_configuration(folder).settings.analysis.suite == ("covidnot",)
    with pytest.raises(SettingsError) as caught:
        load_configuration(folder, thorough=True)
    bundle, template = caught.value.faults
    assert bundle.startswith("node.toml:2: analysis.suite[0]: there is no bundle 'covidnot'")
    assert template.startswith("node.toml:4: results.template: there is no template 'poem'")


def test_a_gate_that_is_not_there_is_named_when_asked(write: Write) -> None:
    folder = write('[analysis]\ngate = "chest-gaze"')
    with pytest.raises(SettingsError) as caught:
        load_configuration(folder, thorough=True)
    assert "analysis.gate: there is no bundle 'chest-gaze'" in caught.value.faults[0]


def test_a_suite_without_a_network_that_names_findings_is_a_fault(write: Write) -> None:
    folder = write('[analysis]\nsuite = ["covidnet-cxr-s"]')
    with pytest.raises(SettingsError) as caught:
        load_configuration(folder, thorough=True)
    assert "analysis.suite: reports need a detection network" in caught.value.faults[0]
    load_configuration(write('[analysis]\nsuite = ["covidnet"]'), thorough=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.binary(max_size=200) | st.text("[]=\"'.#\n ae_titlenodeport0123", max_size=80))
def test_no_file_content_does_anything_but_load_or_name_faults(
    write: Write, content: bytes | str
) -> None:
    folder = write()
    data = content if isinstance(content, bytes) else content.encode()
    for name in ("node.toml", "remotes/x.toml"):
        (folder / name).write_bytes(data)
    with contextlib.suppress(SettingsError):
        load_configuration(folder)


# TLS


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    for name in ("node", "other"):
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files]
        subject = ["-subj", f"/CN={name}"]
        subprocess.run([*command, *subject], cwd=folder, check=True, capture_output=True)
    return folder


def tls(folder: Path, key: str = "node.key", ca: str = "node.pem") -> str:
    return f'[tls]\ncertificate = "{folder}/node.pem"\nkey = "{folder}/{key}"\nca = "{folder}/{ca}"'


def test_tls_files_that_fit_are_accepted(write: Write, pair: Path) -> None:
    (pair / "node.key").chmod(0o600)
    assert load_configuration(write(tls(pair))).settings.tls is not None


def test_a_key_that_others_can_read_is_refused(write: Write, pair: Path) -> None:
    (pair / "node.key").chmod(0o644)
    (fault,) = faults_of(write(tls(pair)))
    assert "can be read by other users — chmod 600" in fault
    (pair / "node.key").chmod(0o640)
    load_configuration(write(tls(pair)))


def test_tls_files_that_are_missing_or_do_not_fit_are_named(write: Write, pair: Path) -> None:
    (pair / "node.key").chmod(0o600)
    (fault,) = faults_of(write(tls(pair, key="none.key")))
    assert fault.startswith(f"node.toml:3: tls.key: {pair}/none.key is not a readable file")
    (fault,) = faults_of(write(tls(pair, key="other.key")))
    assert "are not a certificate and its own key" in fault
    (fault,) = faults_of(write(tls(pair, ca="node.key")))
    assert fault.startswith("node.toml:4: tls.ca:")


def web(folder: Path, **files: str) -> str:
    lines = [f'{name} = "{folder}/{file}"' for name, file in files.items()]
    return "\n".join(["[web]", 'host = "0.0.0.0"', *lines])


def test_the_pages_are_served_to_others_with_a_certificate_and_its_own_private_key(
    write: Write, pair: Path
) -> None:
    (pair / "node.key").chmod(0o600)
    load_configuration(write(web(pair, certificate="node.pem", key="node.key")))
    (fault,) = faults_of(write(web(pair, certificate="other.pem", key="node.key")))
    assert "web.certificate" in fault
    assert "are not a certificate and its own key" in fault
    (fault,) = faults_of(write(web(pair, certificate="node.pem")))
    assert "web.key: certificate and key belong together" in fault
    (pair / "node.key").chmod(0o644)
    (fault,) = faults_of(write(web(pair, certificate="node.pem", key="node.key")))
    assert "web.key" in fault
    assert "can be read by other users — chmod 600" in fault


# Environment


def test_the_environment_overrides_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_NODE__NODE__PORT", "104")
    monkeypatch.setenv("DICOM_NODE__NODE__AE_TITLE", "1234")
    monkeypatch.setenv("DICOM_NODE__ADMISSION__VIEWS", "PA, LL")
    monkeypatch.setenv("DICOM_NODE__ADMISSION__BODY_PARTS", '["CHEST"]')
    monkeypatch.setenv("DICOM_NODE__ADMISSION__CHECK_CALLED_AE_TITLE", "False")
    monkeypatch.setenv("DICOM_NODE__ANALYSIS__MODELS_DIR", "")
    found = load_configuration(write('[node]\nport = 11113\nhost = "127.0.0.1"')).settings
    assert (found.node.port, found.node.ae_title, found.node.host) == (104, "1234", "127.0.0.1")
    assert found.admission.views == ("PA", "LL")
    assert found.admission.body_parts == ("CHEST",)
    assert found.admission.check_called_ae_title is False
    assert found.analysis.models_dir is None


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("DICOM_NODE__NODE__PORT", "high", "node.port: 'high': must be a valid integer"),
        ("DICOM_NODE__NODE__PROT", "1", "node.prot: unknown key — did you mean 'port'?"),
        ("DICOM_NODE__NOED__PORT", "1", "noed: unknown section — did you mean 'node'?"),
    ],
)
def test_a_fault_in_the_environment_names_the_variable(
    write: Write, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, fault: str
) -> None:
    monkeypatch.setenv(variable, value)
    (found,) = faults_of(write())
    assert found.startswith(f"environment {variable}: {fault}")


# The AE table while the node runs


class Watched:
    """A `RemotesTable` with a clock that stands still until it is moved."""

    def __init__(self, configuration: Configuration) -> None:
        self.now = 0.0
        self.rejected: list[SettingsError] = []
        self.loaded: list[int] = []
        self.table = RemotesTable(
            configuration, self.rejected.append, self.loaded.append, clock=lambda: self.now
        )

    def later(self) -> set[str]:
        self.now += 1
        return set(self.table.current())


def test_a_dropped_in_file_takes_effect_and_a_deleted_one_goes(write: Write) -> None:
    folder = write(a=remote("A"))
    watched = Watched(load_configuration(folder))
    assert set(watched.table.current()) == {"A"}
    write(b=remote("B"))
    assert set(watched.table.current()) == {"A"}, "not before a second has passed"
    assert watched.later() == {"A", "B"}
    (folder / "remotes" / "a.toml").unlink()
    assert watched.later() == {"B"}
    assert watched.later() == {"B"}
    assert watched.loaded == [1, 2, 1]
    assert watched.rejected == []


def test_a_broken_file_keeps_the_old_table_and_is_reported_once(write: Write) -> None:
    watched = Watched(load_configuration(write(a=remote("A"))))
    watched.later()
    write(a=remote("A2"), b="ae_title = ")
    assert watched.later() == watched.later() == {"A"}
    (error,) = watched.rejected
    assert error.faults[0].startswith("remotes/b.toml:1: not valid TOML")
    write(b="ae_title = 1")
    assert watched.later() == {"A"}
    assert len(watched.rejected) == 2
    write(b=remote("B"))
    assert watched.later() == {"A2", "B"}
    assert watched.loaded == [1, 2]


def test_changed_files_are_checked_against_each_other(write: Write) -> None:
    watched = Watched(load_configuration(write(a=remote("A"))))
    write(b=remote("A"))
    assert watched.later() == {"A"}
    assert "is also in remotes/a.toml" in watched.rejected[0].faults[0]


def test_the_table_stays_when_the_whole_folder_vanishes(write: Write) -> None:
    folder = write(a=remote("A"))
    watched = Watched(load_configuration(folder))
    (folder / "remotes").rename(folder / "elsewhere")
    assert watched.later() == {"A"}
    assert "the folder is gone" in watched.rejected[0].faults[0]
    (folder / "elsewhere").rename(folder / "remotes")
    assert watched.later() == {"A"}
    assert watched.loaded == [1]


def test_a_folder_that_cannot_be_read_is_a_fault_and_not_an_empty_table(write: Write) -> None:
    folder = write(a=remote("A"))
    watched = Watched(load_configuration(folder))
    (folder / "remotes").rename(folder / "elsewhere")
    (folder / "remotes").touch()
    assert watched.later() == {"A"}
    assert watched.rejected[0].faults == faults_of(folder)
    assert "remotes: the folder cannot be read" in faults_of(folder)[0]


def test_files_of_editors_and_samples_are_not_remotes(write: Write) -> None:
    folder = write(a=remote("A"))
    for name in (".#a.toml", "a.toml~", "b.toml.sample", ".b.toml.swp"):
        (folder / "remotes" / name).write_text(remote("B"), "utf-8")
    assert set(load_configuration(folder).remotes) == {"A"}


def test_an_address_of_the_wrong_form_is_told_without_a_pattern(write: Write) -> None:
    (fault,) = faults_of(write('[analysis]\nengine = "ray"\nbrain_address = "head:8000"\n'))
    assert "'head:8000': is not of this form — " in fault
    assert "http://head:8000" in fault
    assert "pattern" not in fault


def test_a_remote_s_file_under_a_name_that_is_not_read_is_warned_of(write: Write) -> None:
    folder = write(a=remote("A"))
    meant, others = ("pacs.txt", "P.TOML", "p.toml.txt"), ("b.toml.sample", ".c.toml", "a.toml~")
    for name in meant + others:
        (folder / "remotes" / name).write_text(remote("B"), "utf-8")
    assert unread(folder / "remotes") == sorted(meant)


def test_many_threads_may_ask_while_files_change(write: Write) -> None:
    folder = write(a=remote("A"))
    table = RemotesTable(
        load_configuration(folder), lambda _error: None, lambda _count: None, interval_seconds=0
    )
    seen: list[bool] = []

    def ask() -> None:
        seen.extend("A" in table.current() for _ in range(200))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(50):
        write(b=remote(f"B{number}"))
    for thread in threads:
        thread.join()
    assert len(seen) == 1600
    assert all(seen)


def test_case_counts_unless_the_remote_says_not() -> None:
    strict = Remote(ae_title="Pacs", host="h", port=104)
    lax = Remote(ae_title="CT", host="h", port=104, case_insensitive=True)
    table = {"Pacs": strict, "CT": lax}
    assert find_remote(table, "Pacs") is strict
    assert find_remote(table, "PACS") is None
    assert find_remote(table, "ct") is lax


def test_results_go_to_the_sender_unless_its_file_says_otherwise() -> None:
    assert Remote(ae_title="A", host="h", port=104).destinations == ("A",)
    assert Remote(ae_title="A", results_to=("B",)).destinations == ("B",)


@pytest.mark.parametrize("engine", ["openvino", "ray"])
def test_an_engine_that_is_not_installed_is_a_fault_before_anything_starts(
    write: Write, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """On Ray too, functions are made here: what answers elsewhere is held to them."""
    monkeypatch.setattr("dicom_node.settings.load.find_spec", lambda name: None)
    folder = write(f'[analysis]\nengine = "{engine}"\nbrain_address = "http://head:8000"')
    assert load_configuration(folder).settings.analysis.engine == engine
    with pytest.raises(SettingsError) as refused:
        load_configuration(folder, thorough=True)
    assert "node.toml:2: analysis.engine: OpenVINO is not installed" in str(refused.value.faults)
    assert "dicom-node[cpu]" in str(refused.value.faults)


@pytest.mark.parametrize("node", ["0.0.0.0", "127.0.0.1"])
def test_two_doors_on_one_port_are_a_fault_before_anything_starts(
    tmp_path: Path, node: str
) -> None:
    (tmp_path / "remotes").mkdir()
    text = '[node]\nhost = "{}"\nport = 8080\n[web]\nhost = "127.0.0.1"\nport = 8080\n'
    (tmp_path / "node.toml").write_text(text.format(node), "utf-8")
    (fault,) = faults_of(tmp_path)
    assert "node.toml:6: web.port: 8080 is node.port as well" in fault
    (tmp_path / "node.toml").write_text(text.format("127.0.0.2"), "utf-8")
    assert load_configuration(tmp_path).settings.node.port == 8080


def test_a_home_folder_that_no_shell_has_written_out_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "remotes").mkdir()
    (tmp_path / "node.toml").write_text('[node]\ndata_dir = "~/films"\n', "utf-8")
    (fault,) = faults_of(tmp_path)
    assert fault.startswith("node.toml:2: node.data_dir: '~/films': ~ is no home folder here")


def test_a_command_given_where_one_may_not_look_finds_no_ledger_left_there(tmp_path: Path) -> None:
    # Root may look everywhere; a name that no file system takes cannot be looked up either.
    (tmp_path / "remotes").mkdir()
    name = 300 * "x"
    (tmp_path / "node.toml").write_text(f'[node]\ndata_dir = "{name}"\n', "utf-8")
    assert load_configuration(tmp_path).data_dir == tmp_path / name


def test_a_certificate_of_the_pages_that_was_spoilt_keeps_no_other_role_from_coming_back(
    tmp_path: Path,
) -> None:
    (tmp_path / "remotes").mkdir()
    text = '[web]\ncertificate = "gone.pem"\nkey = "gone.key"\n'
    (tmp_path / "node.toml").write_text(text, "utf-8")
    with pytest.raises(SettingsError):
        load_configuration(tmp_path)
    assert load_configuration(tmp_path, pages=False).settings.web.port
