"""OHIF from npm, served beside a PACS: the viewer as a hospital would have it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import subprocess
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PACKAGE, VERSION = "@ohif/app", "3.12.10"
INTEGRITY = (
    "0kuF66Mq9c9dMD++bUsTjMrJpXJwaZhz9B4uS244DawAjSkTwIYFU93pxPuRUQixaRi7QAHlF3Fe1qudBlZrmA=="
)
"""SHA-512 of the package, as npm's registry states it."""

CONFIG = """\
window.config = {
  routerBasename: '/',
  extensions: [], modes: [], customizationService: {},
  showStudyList: true,
  showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false,
  showLoadingIndicator: true, showErrorDetails: 'always',
  defaultDataSourceName: 'dicomweb',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
    sourceName: 'dicomweb',
    configuration: {
      friendlyName: 'PACS', name: 'pacs',
      wadoUriRoot: '/dicom-web', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web',
      qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true,
      bulkDataURI: { enabled: true, relativeResolution: 'studies' },
      omitQuotationForMultipartRequest: true,
    },
  }],
};
"""


def fetch(folder: Path) -> Path:
    """Return the folder of the built viewer, fetched once. Raises where npm cannot."""
    app = folder / f"ohif-{VERSION}" / "package" / "dist"
    if not app.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"],
            cwd=folder, check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        archive = folder / f"ohif-app-{VERSION}.tgz"
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        assert digest == INTEGRITY, "the package is not the one that was looked at"
        with tarfile.open(archive) as packed:
            packed.extractall(folder / f"ohif-{VERSION}", filter="data")
    return app


class _Handler(SimpleHTTPRequestHandler):
    """Serves the viewer's files, and the PACS's DICOMweb as if it were its own."""

    pacs_port = 0

    def do_GET(self) -> None:
        if self.path.startswith("/dicom-web"):
            self._forward()
            return
        if self.path.partition("?")[0] == "/app-config.js":
            self._answer(200, "text/javascript", CONFIG.encode())
            return
        if not Path(self.translate_path(self.path)).is_file():
            self.path = "/index.html"  # the viewer's own pages
        super().do_GET()

    def end_headers(self) -> None:
        # Shared memory between its workers needs a page of its own.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def _forward(self) -> None:
        pacs = http.client.HTTPConnection("127.0.0.1", self.pacs_port, timeout=60)
        wanted = {"Accept": self.headers.get("Accept", "*/*"), "Host": self.headers["Host"]}
        pacs.request("GET", self.path, headers=wanted)
        answer = pacs.getresponse()
        self._answer(answer.status, answer.getheader("Content-Type", ""), answer.read())
        pacs.close()

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Site:
    """The viewer's web site in front of a PACS."""

    def __init__(self, app: Path, pacs_port: int) -> None:
        handler = type("Handler", (_Handler,), {"pacs_port": pacs_port})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(app)))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
