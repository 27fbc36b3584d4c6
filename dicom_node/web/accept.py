"""What a client takes: the Accept header of a request (RFC 9110 12.5.1, PS3.18 8.7.5)."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import HTTPException, Request

from dicom_node.web.multipart import parameters_of

_ANY = "*/*"


@dataclass(frozen=True, slots=True)
class Offer:
    """A representation that there is. ``parts``: the type of the parts of a multipart/related."""

    media_type: str
    parts: str = ""

    def __str__(self) -> str:
        return f'{self.media_type}; type="{self.parts}"' if self.parts else self.media_type


@dataclass(frozen=True, slots=True)
class Range:
    """A media range of an Accept header with its parameters."""

    media_type: str
    parameters: dict[str, str]

    def takes(self, offer: Offer) -> bool:
        """Whether an offer is in the range, that of its parts included."""
        parts = self.parameters.get("type", _ANY).strip().lower()
        return _covers(self.media_type, offer.media_type) and (
            not offer.parts or _covers(parts, offer.parts)
        )


def ranges_of(request: Request) -> list[Range]:
    """Return what a client takes, in its order; everything where it does not say."""
    header = ",".join(request.headers.getlist("accept")) or _ANY
    found = [_range(part) for part in _split(header) if part.strip()]
    return [each for each in found if not _is_zero(each.parameters.get("q", "1"))]


def chosen(request: Request, *offers: Offer) -> tuple[Offer, Range]:
    """Return the first offer that the client takes, and by which of its ranges. Raises 406."""
    for each in ranges_of(request):
        for offer in offers:
            if each.takes(offer):
                return offer, each
    raise HTTPException(406, f"There are only {', '.join(map(str, offers))}.")


def _covers(wanted: str, offered: str) -> bool:
    return wanted in (_ANY, offered, f"{offered.partition('/')[0]}/*")


def _range(part: str) -> Range:
    media_type, parameters = parameters_of(part.strip())
    # "*/*" reads as text/plain to the email parser.
    named = part.partition(";")[0].strip().lower()
    return Range(_ANY if named in (_ANY, "*") else media_type, parameters)


def _split(header: str) -> list[str]:
    """Return the parts between commas that stand outside quotes."""
    parts, quoted = [""], False
    for letter in header:
        quoted ^= letter == '"'
        if letter == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _is_zero(quality: str) -> bool:
    try:
        return float(quality) == 0.0
    except ValueError:
        return False
