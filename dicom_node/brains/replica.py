"""A replica of the functions on a Ray cluster: the other end of `dicom_node.brains.ray`.

It runs in a process of Ray's and needs `dicom_node` there, with OpenVINO and Ray. What it computes
came as files whose digest it checks; what it is asked, and what it answers, are arrays.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from dicom_node.brains import Answers
from dicom_node.brains.exported import digest, read_contents
from dicom_node.brains.openvino import OpenVinoBrain
from dicom_node.brains.wire import (
    ENGINE,
    FAILED,
    FUNCTIONS,
    OTHER_FUNCTIONS,
    REPLICA,
    BodyUnreadable,
    Call,
    pack_answers,
    unpack_calls,
)
from dicom_node.errors import EngineUnproved
from dicom_node.patience import place_of


class Replica:
    """Answers by functions in memory, as many calls at once as it has cores.

    ``files``: a folder of functions (`dicom_node.brains.exporting`); ``functions``: its digest. A
    call is of one film, so that no film's answer depends on others; calls that wait when the ones
    before them end are computed together, each on a core. Raises `EngineUnproved` for files that
    are not those of the digest.
    """

    def __init__(self, files: Mapping[str, bytes], functions: str, cores: int) -> None:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            for name, content in files.items():
                (folder / Path(name).name).write_bytes(content)
            contents = read_contents(folder)
            if contents is None or digest(folder, contents) != functions:
                raise EngineUnproved("The functions are not those that were deployed.")
            self._brain = OpenVinoBrain(folder, contents, "f32", cores=cores, abreast=True)
        self._headers = {
            FUNCTIONS: functions,
            REPLICA: secrets.token_hex(8),
            ENGINE: self._brain.name,
        }
        self._threads = ThreadPoolExecutor(cores, "film")
        batched: Any = serve.batch(max_batch_size=cores, batch_wait_timeout_s=0.0)
        self._answer = batched(self._together)

    async def __call__(self, request: Request) -> Response:
        """Answer the calls of one request, all of them here."""
        if request.headers.get(FUNCTIONS) != self._headers[FUNCTIONS]:
            return Response(status_code=OTHER_FUNCTIONS, headers=self._headers)
        try:
            calls = unpack_calls(await request.body())
            found = [_raised(one) for one in await asyncio.gather(*map(self._answer, calls))]
        except (RuntimeError, KeyError, BodyUnreadable) as fault:
            # Kind and place: an error's words may quote what was asked.
            return Response(place_of(fault), FAILED, headers=self._headers)
        return Response(pack_answers(found), headers=self._headers)

    async def _together(self, calls: Sequence[Call]) -> Sequence[Answers | BaseException]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(loop.run_in_executor(self._threads, self._one, call) for call in calls),
            return_exceptions=True,
        )

    def _one(self, call: Call) -> Answers:
        return self._brain.run(call.function, call.films)


def _raised(found: Answers | BaseException) -> Answers:
    """Return an answer; raise what was met instead of one: that of others stays theirs."""
    if isinstance(found, BaseException):
        raise found
    return found
