"""What is fuzzed: each target takes bytes, and raises only where the node would be at fault.

A target's input is bytes whatever it is, so that what was found once can lie in a file and be met
again; where an input is made by chance from its seed alone (elements of a film), the bytes are the
seed.
"""

from __future__ import annotations

import io
import itertools
import random
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes

from dicom_node.bundles.declared import faults_of
from dicom_node.errors import NodeError, SettingsError, TemplateInvalid
from dicom_node.imaging.header import read_header
from dicom_node.imaging.phantom import Encoding, phantom_dataset
from dicom_node.intake.rules import load_rules
from dicom_node.intake.take import FrontDoor, split
from dicom_node.ledger import open_ledger
from dicom_node.logs import Log
from dicom_node.records import Origin
from dicom_node.resources import default_configuration, report_templates
from dicom_node.results.templates import load_template
from dicom_node.settings import load_configuration
from dicom_node.spool import Spool
from tests.declared_kit import OUTPUTS, declared_bundle
from tests.fuzzing.mutations import bytes_changed, elements_changed, text_changed
from tests.museum.exhibit import walk
from tests.museum.film import film
from tests.receiving.conftest import make_receiver
from tests.receiving.hostile import LATEST_SECONDS
from tests.receiving.wire import associate_rq, c_store_rq, p_data, pdu
from tests.web.conftest import csrf_of, site_in

Meet = Callable[[bytes], None]
SENDER = Origin("MOD1", "DICOMNODE", "127.0.0.1")
_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70")
_LEAST_MEGABYTES = 20_000_000


@dataclass(frozen=True)
class Target:
    """``open``: gives a function that meets one input, below a folder. ``make``: the next input.

    ``short``: so many inputs in the default suite.
    """

    name: str
    open: Callable[[Path], AbstractContextManager[Meet]]
    make: Callable[[random.Random], bytes]
    short: int


@contextmanager
def data_sets(folder: Path) -> Iterator[Meet]:
    """Take a file and a data set at the front door, and read its header."""
    ledger = open_ledger(folder / "ledger.sqlite", who="receive")
    door = FrontDoor(Spool(folder / "spool"), ledger, Log("receive"), _LEAST_MEGABYTES)

    def meet(data: bytes) -> None:
        syntax = _SYNTAXES[len(data) % len(_SYNTAXES)]
        for act in (
            lambda: door.take_file(data, SENDER),
            lambda: door.take(data, syntax, SENDER),
            lambda: read_header(data),
        ):
            with suppress(NodeError):
                act()

    yield meet
    ledger.close()


def _film_file() -> bytes:
    buffer = io.BytesIO()
    dataset = phantom_dataset(rows=64, columns=64, encoding=Encoding(kind="CR", bits=16))
    dataset.save_as(buffer, enforce_file_format=True)
    # Pixels are no header: what is changed is read.
    return buffer.getvalue()[:4096]


def _some_data_set(chance: random.Random) -> bytes:
    whole = _film_file()
    _, begin = split(io.BytesIO(whole))
    return bytes_changed(whole if chance.random() < 0.5 else whole[begin:], chance)


@contextmanager
def elements(folder: Path) -> Iterator[Meet]:
    """Bring a film with odd elements to its end: refused, declined, failed, or answered."""
    number = itertools.count()

    def meet(seed: bytes) -> None:
        chance, place = random.Random(seed), folder / f"{next(number)}"
        place.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of what it meets
            end = walk(elements_changed(film(seed.hex()), chance), place, ("sr", "capture"))
        # Whatever it is, it is said; and whoever was analysed is answered, or it is said why not.
        assert end.said.rstrip(": "), seed
        assert not end.said.endswith("None"), end.said
        assert end.said != "analysed" or end.results or end.study_reason, seed

    yield meet


@contextmanager
def upper_layer(folder: Path) -> Iterator[Meet]:
    """Say bytes to a receiver that runs; it goes on answering others, and lets go of the peer."""
    receiver = make_receiver(folder)
    receiver.start()
    met = itertools.count(1)

    def meet(data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", receiver.port), LATEST_SECONDS) as peer:
            peer.settimeout(LATEST_SECONDS)
            with suppress(ConnectionError):
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65_536):
                    pass
        if next(met) % 25 == 0:
            assert receiver.echo() == 0

    try:
        yield meet
        assert receiver.echo() == 0
        assert '"level": "critical"' not in receiver.log
        assert "Traceback" not in receiver.log
    finally:
        receiver.stop()


def _some_talk(chance: random.Random) -> bytes:
    said = [associate_rq(), p_data(c_store_rq(b"1.2.3"), command=True)]
    said.append(p_data(_film_file()[:2000], command=False, last=chance.random() < 0.5))
    said.append(pdu(chance.choice((4, 5, 6, 7, 9)), chance.randbytes(chance.randint(0, 40))))
    rest = said[1:]
    chance.shuffle(rest)
    whole = [said[0], *rest]
    odd = chance.randrange(len(whole))
    whole[odd] = bytes_changed(whole[odd], chance)
    return b"".join(whole)


@contextmanager
def configuration(folder: Path) -> Iterator[Meet]:
    """Read node.toml, a remote and admission.toml: a configuration, or faults by file and key."""
    (folder / "remotes").mkdir(parents=True)

    def meet(data: bytes) -> None:
        for name in ("node.toml", "remotes/odd.toml", "admission.toml"):
            (folder / name).write_bytes(data)
            with suppress(SettingsError):
                load_configuration(folder, thorough=True)
            (folder / name).unlink()
        rules = folder / "admission.toml"
        rules.write_bytes(data)
        with suppress(SettingsError):
            load_rules(rules)
        rules.unlink()

    yield meet


def _some_settings(chance: random.Random) -> bytes:
    name = chance.choice(("node.toml", "admission.toml", "remotes/example-pacs.toml.sample"))
    text = (default_configuration() / name).read_text("utf-8")
    data = text_changed(text.replace("\n# ", "\n"), chance).encode("utf-8", "replace")
    return bytes_changed(data, chance) if chance.random() < 0.2 else data


@contextmanager
def manifests(folder: Path) -> Iterator[Meet]:
    """Read the manifest of a network: its faults, or none."""
    bundle = declared_bundle(folder, "odd", *OUTPUTS["labels"])

    def meet(data: bytes) -> None:
        (bundle / "model.toml").write_bytes(data)
        assert all(isinstance(fault, str) and fault for fault in faults_of(folder, "odd"))

    yield meet


def _some_manifest(texts: Sequence[str], chance: random.Random) -> bytes:
    data = text_changed(chance.choice(texts), chance).encode("utf-8", "replace")
    return bytes_changed(data, chance) if chance.random() < 0.2 else data


@contextmanager
def templates(folder: Path) -> Iterator[Meet]:
    """Read a report template: a template, or its faults."""
    path = folder / "odd.toml"

    def meet(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(TemplateInvalid):
            load_template(path)

    yield meet


def _some_template(chance: random.Random) -> bytes:
    paths = sorted(report_templates().glob("*.toml"))
    data = text_changed(chance.choice(paths).read_text("utf-8"), chance).encode("utf-8", "replace")
    return bytes_changed(data, chance) if chance.random() < 0.2 else data


_PATHS = (
    "/cases?order={}",
    "/cases?q={}",
    "/cases?before={}&finding={}",
    "/cases/{}",
    "/outbox?state={}",
    "/cases.csv?limit={}",
    "/api/cases?limit={}&cursor={}",
    "/api/cases/{}",
    "/models/{}",
    "/dicom-web/studies?PatientID={}&limit={}",
    "/dicom-web/studies?00100010={}&includefield={}",
    "/dicom-web/studies/{}",
    "/dicom-web/studies/{}/series/{}/instances",
    "/dicom-web/studies/{}/series/{}/instances/{}/frames/{}",
    "/remotes/{}",
    "/people/{}",
    "/{}",
)
_TYPES = (
    'multipart/related; type="application/dicom"; boundary=B',
    "application/x-www-form-urlencoded",
    "application/json",
    "multipart/form-data; boundary=B",
    'multipart/related; boundary="',
    "",
)


@contextmanager
def requests(folder: Path) -> Iterator[Meet]:
    """Ask the pages and DICOMweb anything as an administrator: an answer that is no fault."""
    with ExitStack() as stack:
        site = stack.enter_context(site_in(folder))
        site.receive(1, report=True)
        client = site.client("admin")
        token = csrf_of(client)

        def meet(data: bytes) -> None:
            head, _, body = data.partition(b"\n")
            method, _, target = head.partition(b" ")
            kind, _, content = body.partition(b"\n")
            headers = {"Content-Type": kind.decode("latin-1")} if kind.strip() else {}
            path = target.decode("latin-1") or "/"
            if method == b"POST" and b"urlencoded" in kind:
                content = b"csrf=" + token.encode() + b"&" + content
            answer = client.request(
                method.decode("latin-1"), path, content=content, headers=headers,
                follow_redirects=False,
            )  # fmt: skip
            assert answer.status_code < 500, (head, answer.text[:200])

        yield meet


def _some_request(chance: random.Random) -> bytes:
    path = chance.choice(_PATHS)
    while "{}" in path:
        odd = chance.choice((
            b"1", b"-1", b"0", b"9" * 30, b"1.2.3", b"..", b"\xff\xfe", b"%", b"'", b"*", b"?",
            b"a" * 3000, chance.randbytes(chance.randint(1, 12)),
        ))  # fmt: skip
        path = path.replace("{}", quote_from_bytes(odd), 1)
    method = chance.choice(("GET", "GET", "GET", "POST", "HEAD"))
    body = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + _film_file() + b"\r\n--B--\r\n"
    kind = chance.choice(_TYPES)
    content = bytes_changed(body, chance) if chance.random() < 0.7 else b""
    return f"{method} {path}\n{kind}\n".encode("latin-1") + content


def _manifest_texts(folder: Path) -> Sequence[str]:
    made = (declared_bundle(folder, name, *OUTPUTS[name]) for name in sorted(OUTPUTS))
    return [(bundle / "model.toml").read_text("utf-8") for bundle in made]


def targets(folder: Path) -> Sequence[Target]:
    """Return every target; ``folder`` holds what their inputs are made from."""
    texts = _manifest_texts(folder)
    return (
        Target("upper-layer", upper_layer, _some_talk, 60),
        Target("data-set", data_sets, _some_data_set, 120),
        Target("element", elements, lambda chance: chance.randbytes(8), 30),
        Target("configuration", configuration, _some_settings, 40),
        Target("manifest", manifests, lambda chance: _some_manifest(texts, chance), 200),
        Target("template", templates, _some_template, 60),
        Target("request", requests, _some_request, 90),
    )
