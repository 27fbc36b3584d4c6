"""The conformance statement says what the node does, and the node does what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_description
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts
from typer.testing import CliRunner

from dicom_node.cli.main import app
from dicom_node.conformance import objects, statement
from dicom_node.dimse.contexts import RESULT_SOP_CLASSES
from dicom_node.dimse.status import STATUS_OF_ERROR
from dicom_node.records import ObjectKind
from dicom_node.resources import report_templates
from dicom_node.results.templates import Template, load_template
from dicom_node.settings import Remote, Settings
from tests.receiving.conftest import Receiver, _running, receiver  # noqa: F401

PAGE = Path(__file__).parents[1] / "docs" / "conformance-statement.md"
_CONTEXTS = 128


@pytest.fixture(scope="module")
def template() -> Template:
    return load_template(report_templates() / "chest-radiograph-measurement-report.toml")


@pytest.fixture(scope="module")
def created(template: Template) -> Mapping[ObjectKind, Sequence[Dataset]]:
    """One object of each kind and SOP class."""
    return objects.created(template)


@pytest.fixture(scope="module")
def text(created: Mapping[ObjectKind, Sequence[Dataset]], template: Template) -> str:
    """The statement of the shipped configuration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "created", lambda _: created)
        return statement(Settings(), {}, template)


@pytest.fixture
def _written_once(
    created: Mapping[ObjectKind, Sequence[Dataset]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The objects do not depend on the site: no statement of these tests writes its own."""
    monkeypatch.setattr(objects, "created", lambda _: created)


def section(text: str, title: str) -> str:
    """Return what stands under a heading."""
    _, _, rest = text.partition(f"{title}\n")
    return re.split(r"\n#+ ", rest)[0]


def rows(part: str) -> list[list[str]]:
    """Return the cells of all tables of a part, without their heads."""
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    return [
        line for line in lines if not line[0].startswith("---") and line[0] != "abstract syntax"
    ]


def test_the_page_is_the_statement_of_the_shipped_configuration(text: str) -> None:
    assert PAGE.read_text("utf-8") == text, "run `make docs`"


def proposals() -> Iterator[tuple[str, str]]:
    """Yield every storage SOP class of the standard with every transfer syntax."""
    for context in AllStoragePresentationContexts:
        for syntax in AllTransferSyntaxes:
            yield str(context.abstract_syntax), str(syntax)


@pytest.mark.timeout(300)
def test_the_node_accepts_on_the_wire_exactly_what_the_statement_says(
    receiver: Receiver,  # noqa: F811
    text: str,
) -> None:
    part = section(text, "#### 3.2.1 Association acceptance")
    told = rows(part)
    classes = {uid for row in told for uid in row if uid.startswith("1.2.840.10008.5.1.4.1")}
    syntaxes = {row[1] for row in told if row[1] in {str(uid) for uid in AllTransferSyntaxes}}
    stated = {(one, other) for one in classes for other in syntaxes}
    waiting, accepted = list(proposals()), set()
    while waiting:
        entity = AE("MOD1")
        for sop_class, syntax in waiting[:_CONTEXTS]:
            entity.add_requested_context(sop_class, syntax)
        association = entity.associate("127.0.0.1", receiver.port, ae_title="DICOMNODE")
        for context in association.accepted_contexts:
            accepted.add((str(context.abstract_syntax), str(context.transfer_syntax[0])))
        if association.is_established:
            association.release()
        waiting = waiting[_CONTEXTS:]
    assert len(stated) == 45
    assert accepted == stated


def test_every_status_that_the_node_answers_is_stated(text: str) -> None:
    part = section(text, "#### 3.2.1 Association acceptance")
    told = {(row[0], row[1]) for row in rows(part) if row[0].startswith("0x")}
    wanted = {(f"0x{status:04X}", error.__name__) for error, status in STATUS_OF_ERROR.items()}
    assert told == wanted | {("0x0000", "Success")}


def test_every_class_that_is_written_is_proposed_and_every_proposed_one_is_written(
    created: Mapping[ObjectKind, Sequence[Dataset]], text: str
) -> None:
    written = {str(document.SOPClassUID) for each in created.values() for document in each}
    assert written == {str(uid) for uid in RESULT_SOP_CLASSES}
    part = section(text, "#### 3.2.2 Association initiation")
    assert {row[1] for row in rows(part) if row[1].startswith("1.2.840")} == written


def test_every_attribute_of_every_object_stands_in_its_table(
    created: Mapping[ObjectKind, Sequence[Dataset]], text: str
) -> None:
    assert set(created) == set(ObjectKind)
    for kind, documents in created.items():
        for document in documents:
            name = UID(document.SOPClassUID).name
            heading = next(
                line for line in text.splitlines()
                if line.startswith("#### ") and name in line and f"`{kind}`" in line
            )  # fmt: skip
            part = section(text, heading)
            for element in document:
                assert f"| {element.tag} | {dictionary_description(element.tag)} |" in part


def test_the_attributes_that_decide_on_a_film_are_those_that_are_read(text: str) -> None:
    part = section(text, "### 7.2 Attributes of received films that are used")
    named = {row[0] for row in rows(part)}
    assert {"Modality", "Body Part Examined", "View Position", "Patient Orientation"} <= named


@pytest.mark.usefixtures("_written_once")
def test_the_statement_of_a_site_names_its_own_addresses(template: Template) -> None:
    remote = Remote(ae_title="MAINPACS", host="10.0.0.5", port=104, viewer="air")
    node = Settings().node.model_copy(update={"ae_title": "RADIOLOGY", "port": 4242})
    said = statement(Settings(node=node), {"MAINPACS": remote}, template)
    assert "| AE title | RADIOLOGY |" in said
    assert "port 4242" in said
    assert "| MAINPACS | 10.0.0.5:104 | yes | MAINPACS | sr, capture, segmentation |" in said
    assert "{{" not in said


def test_the_command_prints_the_statement() -> None:
    shown = CliRunner().invoke(app, ["conformance"])
    assert shown.exit_code == 0
    assert shown.output.startswith("# DICOM Conformance Statement")
