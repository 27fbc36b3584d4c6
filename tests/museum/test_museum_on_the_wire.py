"""The museum's films through a real node, all at once, and a sound one behind them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dicom_node.imaging.phantom import Encoding
from tests.conftest import debian
from tests.museum.exhibits import EXHIBITS, MET
from tests.museum.film import Film, film
from tests.node.peers import Storescp, free_port, make_node, wait_for
from tests.receiving.wire import associate_rq, c_store_rq, connect, p_data, read_pdu, status_of

pytestmark = [
    pytest.mark.pacs("storescp"),
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # The films' own oddities come back in their results.
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
]

FILLS = 40
"""Of the neighbours, every so manieth comes too."""


def sent(port: int, odd: Film) -> int:
    """Send the bytes of a film as they are; return the status."""
    named = odd.identity
    with connect(port) as raw:
        request = associate_rq(
            b"PACS", abstract_syntax=named["SOPClassUID"], transfer_syntax=odd.transfer_syntax
        )
        raw.sendall(request)
        assert read_pdu(raw)[0] == 0x02
        command = c_store_rq(
            named["SOPInstanceUID"].encode(), sop_class_uid=named["SOPClassUID"].encode()
        )
        raw.sendall(p_data(command, command=True))
        data = odd.data
        for at in range(0, len(data), 16_000):
            part = data[at : at + 16_000]
            raw.sendall(p_data(part, command=False, last=at + 16_000 >= len(data)))
        kind, body = read_pdu(raw)
        assert kind == 0x04
        return status_of(body)


def test_a_sound_film_is_answered_behind_all_of_the_museum_and_no_role_dies(
    tmp_path: Path,
) -> None:
    pacs = Storescp("PACS", free_port(), tmp_path / "pacs", debian("storescp"))
    pacs.start()
    node = make_node(tmp_path / "node")
    node.add_remote("PACS", pacs.port, viewer="air", answer_always=True)
    chosen = [one for one in EXHIBITS if one.name in MET] + EXHIBITS[::FILLS]
    node.start()
    try:
        statuses = {
            one.name: sent(
                node.port,
                one.recipe(film(one.name, Encoding(**one.encoding))),  # type: ignore[arg-type]
            )
            for one in {one.name: one for one in chosen}.values()
        }
        sound = film("sound")
        assert sent(node.port, sound) == 0
        assert set(statuses.values()) <= {0x0000, 0xC000}, statuses
        wait_for(node.finished, 800, "every film has come to its end")
        study = sound.identity["StudyInstanceUID"]
        answers = {str(one.Modality) for one in pacs.received() if one.StudyInstanceUID == study}
        assert answers == {"SR", "OT", "SEG"}
        ill = re.findall(r'"event": "role\.(?:died|error)"', node.log)
        assert ill == []
        # Nobody who sent a film that was taken is left without an answer.
        answered = {str(one.StudyInstanceUID) for one in pacs.received()}
        taken = {
            film(name).identity["StudyInstanceUID"] for name, status in statuses.items()
            if not status
        }  # fmt: skip
        assert taken <= answered
    finally:
        node.stop()
        pacs.stop()
