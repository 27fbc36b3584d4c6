"""Tables as CSV in which nothing that a person typed ever becomes a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_FORMULA = re.compile(r"""((?:^|[;,|\t\r\n])[\s"\0-\x1f]*)(?=[=+\-@＝＋－＠])""")
"""Where a cell may begin, by any list separator or line end, and a formula with it."""

_PIECE = 1 << 16


def csv_parts(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a table in pieces, every cell quoted; what a row has no column for is left out.

    Whatever the list separator of the spreadsheet, no text is a formula there.
    """
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, columns, extrasaction="ignore", quoting=csv.QUOTE_ALL)
    table.writeheader()
    for row in rows:
        if buffer.tell() > _PIECE:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
        table.writerow({name: _as_text(value) for name, value in row.items()})
    yield buffer.getvalue()


def _as_text(value: Any) -> Any:
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else value
