"""A small PACS: writes whatever it receives to a folder. The other side of `dicom-node demo`.

``python -m dicom_node.line.demo_pacs --ae-title DEMOPACS --folder DIR`` listens on the loopback
address only, on a free port, and prints ``port N`` as its first line.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import threading
from pathlib import Path
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

_STORED = 0x0000
_OUT_OF_RESOURCES = 0xA700


def serve(ae_title: str, folder: Path, stop: threading.Event) -> None:
    """Store every instance as a Part 10 file named by its digest, until ``stop`` is set."""

    def store(event: evt.Event) -> int:
        data = event.encoded_dataset()
        temporary = folder / f".{threading.get_ident()}"
        try:
            temporary.write_bytes(data)
            temporary.rename(folder / f"{hashlib.sha256(data).hexdigest()}.dcm")
        except OSError:
            return _OUT_OF_RESOURCES
        return _STORED

    entity = AE(ae_title)
    entity.supported_contexts = AllStoragePresentationContexts
    entity.add_supported_context(Verification)
    server: Any = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    print(f"port {server.server_address[1]}", flush=True)
    stop.wait()
    server.shutdown()


def main() -> None:
    """Parse the command line and serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="archive")
    parser.add_argument("--ae-title", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve(arguments.ae_title, arguments.folder, stop)


if __name__ == "__main__":
    main()
