"""How long a C-ECHO takes while other peers stall, plain and over TLS.

``python benchmarks/stalled.py [--peers 60] [--echoes 100]`` starts a receiver, measures echoes,
each on an association of its own, then again while peers say one byte, half a request, half a PDU
of data, or nothing, and are kept at it: who is dropped comes again. Told are the median, the 99th
percentile and the longest. Exit status 1 where one takes a second longer than the median without
stalled peers.
"""

from __future__ import annotations

import argparse
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import socket

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from tests.certificates import make_keys
from tests.receiving.conftest import make_receiver
from tests.receiving.hostile import SILENT
from tests.receiving.wire import connect

ALLOWED_SECONDS = 1.0
Stall = Callable[[int], socket]


def echo_seconds(port: int, tls: ssl.SSLContext | None) -> float:
    """Return what an association with one C-ECHO takes."""
    entity = AE("MOD1")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    entity.add_requested_context(Verification)
    began = time.monotonic()
    how = {"tls_args": (tls, "127.0.0.1")} if tls else {}
    association = entity.associate("127.0.0.1", port, ae_title="DICOMNODE", **how)
    assert association.is_established, "the echo was refused"
    assert association.send_c_echo().Status == 0x0000
    association.release()
    return time.monotonic() - began


@contextmanager
def stalling(port: int, peers: int, kinds: list[Stall]) -> Iterator[None]:
    """Keep so many peers stalled: who is dropped comes again."""
    ends = threading.Event()

    def stall(number: int) -> None:
        while not ends.is_set():
            with suppress(OSError, AssertionError), kinds[number % len(kinds)](port) as raw:
                raw.settimeout(0.5)
                while not ends.is_set():
                    try:
                        if not raw.recv(4096):
                            break
                    except TimeoutError:
                        continue

    threads = [threading.Thread(target=stall, args=(n,), daemon=True) for n in range(peers)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    try:
        yield
    finally:
        ends.set()
        for thread in threads:
            thread.join(30)


def measured(port: int, echoes: int, tls: ssl.SSLContext | None) -> np.ndarray:
    return np.array([echo_seconds(port, tls) for _ in range(echoes)])


def told(name: str, seconds: np.ndarray) -> str:
    return (
        f"{name}: median {np.median(seconds) * 1000:.0f} ms, 99 % "
        f"{np.percentile(seconds, 99) * 1000:.0f} ms, longest {seconds.max() * 1000:.0f} ms"
    )


def compared(folder: Path, peers: int, echoes: int, keys: Path | None) -> tuple[str, bool]:
    """Return what is told of plain or TLS (with ``keys``), and whether nobody was delayed."""
    context, extra = None, "\n[node]\n"
    if keys is not None:
        extra = f'\n[tls]\ncertificate = "{keys}/node.pem"\nkey = "{keys}/node.key"\n'
        extra += f'ca = "{keys}/hospital.pem"\n'
        context = ssl.create_default_context(cafile=str(keys / "hospital.pem"))
        context.load_cert_chain(str(keys / "modality.pem"), str(keys / "modality.key"))
    receiver = make_receiver(folder, pdu_seconds=5.0, extra=extra if keys else "")
    node = folder / "config" / "node.toml"
    text = node.read_text("utf-8")
    for key in ("max_associations", "max_associations_per_address"):
        if key not in text:
            text = text.replace("[node]\n", f"[node]\n{key} = {peers + 40}\n", 1)
    node.write_text(text, "utf-8")
    receiver.start()
    try:
        quiet = measured(receiver.port, echoes, context)
        # Over TLS they stall before and within the handshake: bytes that are none of it, or none.
        kinds: list[Stall] = [*SILENT, connect] if keys is None else [connect]
        with stalling(receiver.port, peers, kinds):
            busy = measured(receiver.port, echoes, context)
    finally:
        receiver.stop()
    name = "plain" if keys is None else "TLS"
    is_well = bool(busy.max() - np.median(quiet) < ALLOWED_SECONDS)
    print(told(f"{name}, nobody stalls", quiet))
    print(told(f"{name}, {peers} stall", busy), flush=True)
    return f"{name} {np.percentile(busy, 99) * 1000:.0f} ms", is_well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=60)
    parser.add_argument("--echoes", type=int, default=100)
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "keys").mkdir()
        keys = make_keys(folder / "keys")
        found = [
            compared(folder / name, asked.peers, asked.echoes, each)
            for name, each in (("plain", None), ("tls", keys))
        ]
    is_well = all(well for _, well in found)
    print(
        f"with {asked.peers} stalled peers an echo takes (99 %) "
        + ", ".join(said for said, _ in found)
        + ("" if is_well else ": TOO LONG")
    )
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
