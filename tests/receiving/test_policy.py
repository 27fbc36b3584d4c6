"""Who may associate, as a table."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace

import pytest

from dicom_node.association.policy import Accepted, Rejected, Requested, decide
from dicom_node.dimse.entity import APPLICATION_CONTEXT_NAME
from dicom_node.settings import Remote, Settings
from dicom_node.settings.model import AdmissionSection

REMOTES = {
    remote.ae_title: remote
    for remote in (
        Remote(ae_title="MOD1", host="h", port=104),
        Remote(ae_title="FIXED", host="h", port=104, addresses=("10.0.0.0/24",)),
        Remote(ae_title="Loose", host="h", port=104, case_insensitive=True),
        Remote(ae_title="ARCHIVE", host="h", port=104, may_send=False),
    )
}
OPEN = Settings(admission=AdmissionSection(unknown_ae="accept"))
ANY_CALLED = Settings(admission=AdmissionSection(check_called_ae_title=False))


def asked(calling: str, *, called: str = "DICOMNODE", address: str = "10.0.0.7") -> Requested:
    return Requested(calling, called, address, APPLICATION_CONTEXT_NAME)


@pytest.mark.parametrize(
    ("requested", "settings", "title"),
    [
        (asked("MOD1"), Settings(), "MOD1"),
        (asked("FIXED"), Settings(), "FIXED"),
        (asked("FIXED", address="::ffff:10.0.0.9"), Settings(), "FIXED"),
        (asked("LOOSE"), Settings(), "Loose"),
        (asked("MOD1", called="ANYTHING"), ANY_CALLED, "MOD1"),
        (asked("STRANGER"), OPEN, "STRANGER"),
    ],
)
def test_a_known_sender_is_accepted_under_the_title_of_the_table(
    requested: Requested, settings: Settings, title: str
) -> None:
    assert decide(requested, REMOTES, settings, established=0) == Accepted(
        title, () if title == "STRANGER" else (title,)
    )


OWN, OTHER = "ab" * 32, "cd" * 32
BOUND = {
    "BOUND": Remote(
        ae_title="BOUND", host="h", port=104, addresses=("10.0.0.0/24",), certificates=(OWN,)
    )
}


@pytest.mark.parametrize(
    ("address", "certificate", "is_let_in"),
    [
        ("10.0.0.7", OWN, True),
        ("10.0.0.7", OTHER, False),
        ("10.0.0.7", "", False),
        ("10.0.1.7", OWN, False),
    ],
)
def test_title_address_and_certificate_must_all_be_those_of_the_table(
    address: str, certificate: str, is_let_in: bool
) -> None:
    requested = replace(asked("BOUND", address=address), certificate=certificate)
    answer = decide(requested, BOUND, Settings(), established=0)
    assert isinstance(answer, Accepted) is is_let_in
    if isinstance(answer, Rejected):
        assert (answer.result, answer.source, answer.diagnostic) == (1, 1, 3)


def test_who_calls_with_another_certificate_is_told_with_its_fingerprint() -> None:
    requested = replace(asked("BOUND"), certificate=OTHER)
    answer = decide(requested, BOUND, Settings(), established=0)
    assert isinstance(answer, Rejected)
    assert answer.reason == "BOUND may not call with this certificate"
    assert OTHER in answer.remedy


@pytest.mark.parametrize(
    ("requested", "answer"),
    [
        (asked("STRANGER"), (1, 1, 3)),
        (asked("mod1"), (1, 1, 3)),
        (asked("FIXED", address="10.0.1.7"), (1, 1, 3)),
        (asked("ARCHIVE"), (1, 1, 3)),
        (asked("MOD1", called="OTHER"), (1, 1, 7)),
        (Requested("MOD1", "DICOMNODE", "10.0.0.7", "1.2.3"), (1, 1, 2)),
    ],
)
def test_everybody_else_is_rejected_with_the_standard_s_reason(
    requested: Requested, answer: tuple[int, int, int]
) -> None:
    rejected = decide(requested, REMOTES, Settings(), established=0)
    assert isinstance(rejected, Rejected)
    assert (rejected.result, rejected.source, rejected.diagnostic) == answer
    assert rejected.remedy


def test_beyond_the_limit_the_answer_is_to_try_again() -> None:
    rejected = decide(asked("MOD1"), REMOTES, Settings(), established=64)
    assert isinstance(rejected, Rejected)
    assert (rejected.result, rejected.source, rejected.diagnostic) == (2, 3, 2)


def test_beyond_the_limit_of_an_address_the_remedy_names_the_key_to_raise() -> None:
    rejected = decide(asked("MOD1"), REMOTES, Settings(), 40, established_from_address=32)
    assert isinstance(rejected, Rejected)
    assert rejected.limited
    assert "max_associations_per_address" in rejected.remedy


@pytest.mark.parametrize("title", ["$(reboot)'", '`id`"', "A; rm -rf ~", "PLAIN"])
def test_the_command_that_adds_a_stranger_is_safe_in_a_shell(title: str) -> None:
    rejected = decide(asked(title), REMOTES, Settings(), established=0)
    assert isinstance(rejected, Rejected)
    assert not rejected.limited
    assert shlex.split(rejected.remedy)[:4] == ["dicom-node", "ae", "add", title]
    echoed = subprocess.run(
        ["sh", "-c", rejected.remedy.replace("dicom-node ae add", "printf %s,")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert echoed.stdout.startswith(f"{title},")


def test_an_empty_table_takes_nobody() -> None:
    assert isinstance(decide(asked("MOD1"), {}, Settings(), established=0), Rejected)
