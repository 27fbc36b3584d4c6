"""The report of a study as an Encapsulated PDF (PS3.3 A.45.1): to print, mail, or file.

The same words as the Structured Report and the capture's panel, from the same template.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from PIL import Image
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    Flowable,
    KeepTogether,
    PageBreak,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
)
from reportlab.platypus import Image as Picture

from dicom_node.chest import ZONES
from dicom_node.imaging.identity import identity_of
from dicom_node.results.films import AnalysedFilm, Context, once_a_study, part_examined, taken_at
from dicom_node.results.lettering import Colour
from dicom_node.results.mapped import map_sentences
from dicom_node.results.modules import code_item, copy_identity, set_equipment, set_times
from dicom_node.results.observed_picture import colours_of
from dicom_node.results.observed_words import Row, rows, unanswered
from dicom_node.results.picture import draw_lettered, draw_weighed
from dicom_node.results.regions import Places, places_of
from dicom_node.results.templates import Template
from dicom_node.results.wording import (
    Wording,
    appearance_sentence,
    course,
    every_appearance,
    heading_of,
    interval,
    knows,
    opacity_sentence,
    ordered,
    probability,
    remarks,
    view,
    view_name,
    wording_of,
)

SERIES_OFFSET = 5
_DESCRIPTION = "AI CXR PDF - RESEARCH USE ONLY"
_PLAIN, _BOLD = "DejaVuSans", "DejaVuSans-Bold"
_PICTURE_WIDTH, _PICTURE_HEIGHT = 150 * mm, 84 * mm
_PICTURE_PIXELS, _WORDS_PIXELS = 1100, 26
_JPEG_QUALITY = 85
_GREY, _AMBER = colors.HexColor("#555555"), colors.HexColor("#a05a00")
_JAPANESE, _CHINESE, _KOREAN = "HeiseiMin-W3", "STSong-Light", "HYSMyeongJo-Medium"
"""Not embedded: every PDF viewer has, or fetches, a font for these names (PDF 32000-1, 9.7.5.2)."""

_SHORT_HEADLINE = 80
"""Characters of a headline that is written in the largest type."""

_KANA = re.compile("[\u3040-\u30ff]")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
_RIGHT_TO_LEFT = r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]"
_WRITTEN_LEFTWARDS = re.compile(rf"{_RIGHT_TO_LEFT}(?:(?:{_RIGHT_TO_LEFT}|\s)*{_RIGHT_TO_LEFT})?")


@dataclass(frozen=True, slots=True)
class _PagePicture:
    """A picture as it is on a page, and the size that it was drawn in."""

    jpeg: bytes
    width: int
    height: int


def document(films: Sequence[AnalysedFilm], context: Context, uid: str) -> Dataset:
    """Return the report on the analysed films of one study as a data set."""
    source, result = films[0].dataset, Dataset()
    copy_identity(source, result)
    set_times(source, result, [film.dataset for film in films])
    set_equipment(source, result, context.cards(films), context.node_ae_title)
    result.SOPClassUID = EncapsulatedPDFStorage
    result.SOPInstanceUID = uid
    result.Modality = "DOC"
    result.SeriesInstanceUID = context.series_uid(source, "document")
    result.SeriesNumber = context.series_number_base + SERIES_OFFSET
    result.SeriesDescription = _DESCRIPTION
    result.InstanceNumber = context.revision
    result.ConversionType = "WSD"
    result.AcquisitionDateTime = ""
    # Patient and study stand on the page, as on any report that is printed.
    result.BurnedInAnnotation = "YES"
    result.DocumentTitle = f"{_title(films)} - research use only"
    result.ConceptNameCodeSequence = [code_item("18748-4", "LN", "Diagnostic imaging study")]
    result.MIMETypeOfEncapsulatedDocument = "application/pdf"
    data = pdf(films, context)
    result.EncapsulatedDocumentLength = len(data)
    result.EncapsulatedDocument = data + b"\0" * (len(data) % 2)
    return result


def pdf(films: Sequence[AnalysedFilm], context: Context) -> bytes:
    """Return the report as a PDF, A4, the same bytes for the same input."""
    _fonts()
    buffer = io.BytesIO()
    page = SimpleDocTemplate(
        buffer, pagesize=A4, invariant=1, leftMargin=20 * mm, rightMargin=20 * mm,
        topMargin=18 * mm, bottomMargin=22 * mm, title=_title(films),
        author="dicom-node",
    )  # fmt: skip

    # A page that is printed and mislaid still says whose it is.
    whose = "; ".join(dict.fromkeys(map(_named, films)))

    def footer(canvas: Any, _page: Any) -> None:
        line = _text(whose, 8, colour=_GREY)
        line.wrap(A4[0] - 40 * mm, 6 * mm)
        line.drawOn(canvas, 20 * mm, 6 * mm)
        canvas.setFont(_BOLD, 8)
        canvas.drawCentredString(A4[0] / 2, 12 * mm, context.template.research_sentence)

    story: list[Flowable] = []
    for number, film in enumerate(films):
        context.alive()
        story += [PageBreak()] if number else []
        story += _film(film, context)
    page.build(story, onFirstPage=footer, onLaterPages=footer)
    return buffer.getvalue()


def _title(films: Sequence[AnalysedFilm]) -> str:
    part = "chest " if part_examined(films) == "CHEST" else ""
    return f"AI {part}radiograph report"


def _fonts() -> None:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    # reportlab keeps them for the process; reading their tables takes longer than a page.
    known = pdfmetrics.getRegisteredFontNames()
    for name in (name for name in (_PLAIN, _BOLD) if name not in known):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    for name in (_JAPANESE, _CHINESE, _KOREAN):
        pdfmetrics.registerFont(UnicodeCIDFont(name))


def _film(film: AnalysedFilm, context: Context) -> Iterator[Flowable]:
    template, panel = context.template, context.template.panel
    places = places_of(film)
    wording = wording_of(film, context, has_contour=bool(places.salient))
    yield _text(heading_of([film], template), 10, colour=_GREY)
    yield _table(list(_who(film, template)))
    # What contradicts what takes several lines, and so does all that networks observed.
    is_long = film.findings.finding is None and len(wording.headline) > _SHORT_HEADLINE
    size = 12 if film.findings.contradictions or is_long else 15
    yield _text(wording.headline, size, bold=True, colour=_colour(film))
    yield _text(f"{knows(film, context)} {view(film, template)}", 9)
    yield from _probabilities(film, context)
    yield from _severity(film, context)
    yield from _observed(film, context)
    for line in course(context):
        yield _text(f"{panel.course}: {line}", 9)
    for said in remarks(film.findings, template):
        yield _text(said, 9, bold=True)
    if film.explanation.opacity is None:
        if wording.explanation:
            yield _text(wording.explanation, 9)
        yield Spacer(1, 3 * mm)
        yield _picture(_film_on_page(film, context), _PICTURE_WIDTH)
    else:
        yield Spacer(1, 2 * mm)
        yield _two_pictures(film, context, places, wording)
    yield Spacer(1, 3 * mm)
    networks = "; ".join(_cards(film, context))
    # What only networks observed is based on all of them.
    basis = [wording.basis] if film.findings.finding is not None else []
    calibration = [wording.calibration] if wording.calibration else []
    limits = _limits(film, context)
    for said in (panel.unverified, *basis, *calibration, *limits, networks):
        yield _text(said, 8, colour=_GREY)


def _limits(film: AnalysedFilm, context: Context) -> tuple[str, ...]:
    """Return what the networks are made for: that of the finding, and those that observed."""
    observed = (context.card(film, one.network) for one in film.findings.observed)
    cards = (context.detector(film), *observed)
    return tuple(dict.fromkeys(card.intended_use for card in cards))


def _colour(film: AnalysedFilm) -> Any:
    return _AMBER if film.findings.contradictions else colors.black


def _named(film: AnalysedFilm) -> str:
    """Return whose film it is: name and ID."""
    who = identity_of(film.dataset)
    name = who.patient_name.replace("^", " ").strip()
    return f"{name or '-'}  ({who.patient_id or '-'})"


def _who(film: AnalysedFilm, template: Template) -> Iterator[tuple[str, str]]:
    """Yield the lines by which a report is filed."""
    who, words = identity_of(film.dataset), template.panel
    birth = _day(who.patient_birth_date)
    born = f",  {words.birth.format(date=birth)}" if birth else ""
    yield words.patient, f"{_named(film)}{born}"
    yield words.accession, who.accession_number or "-"
    yield words.study, f"{taken_at(film.dataset) or '-'}  {who.study_description}".strip()
    yield words.view, view_name(film, template)


def _day(value: str) -> str:
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if len(value) == 8 else value


def _probabilities(film: AnalysedFilm, context: Context) -> Iterator[Flowable]:
    """Yield opacity or not, the classes and the appearance, as far as the network tells them."""
    findings, template, panel = film.findings, context.template, context.template.panel
    detection, opacity, appearance = findings.finding, findings.opacity, findings.appearance
    if detection is None:
        return
    rows = [
        (template.classes[name].wording, f"{probability(detection, name, template)} %")
        for name in ordered(detection, template)
    ]
    if opacity is not None:
        rows.insert(0, (panel.opacity, opacity_sentence(opacity, template)))
    if appearance is not None:
        said = appearance_sentence(appearance, template)
        rows.append((panel.appearance, f"{said}. {every_appearance(appearance, template)}"))
    yield _table(rows)


def _severity(film: AnalysedFilm, context: Context) -> Iterator[Flowable]:
    findings, template, words = film.findings, context.template, context.template.severity
    rows = [(words.scores[name].wording, interval(score, template))
            for name, score in findings.scores.items()]  # fmt: skip
    if (airspace := findings.airspace) is not None:
        level = words.levels[airspace.level].meaning
        rows.append(
            (
                words.airspace.wording,
                f"{level} ({context.template.percent(airspace.probability)} %)",
            )
        )
        # As one looks at a film: the patient's right at the left.
        for right, left in zip(ZONES[:3], ZONES[3:], strict=True):
            pair = ((z, airspace.parts[z]) for z in (right, left) if z in airspace.parts)
            said = (f"{words.zone.named(z)} {template.score(v)}" for z, v in pair)
            rows.append((template.panel.parts if right == ZONES[0] else "", ",  ".join(said)))
    if rows:
        yield _text(context.template.panel.severity, 9, colour=_GREY)
        yield _table(rows)


def _observed(film: AnalysedFilm, context: Context) -> Iterator[Flowable]:
    """Yield what networks observed that declare themselves, a table each: what is found first.

    The colour before a name is that of its places in the picture.
    """
    colours, observed = colours_of(film), film.findings.observed
    for network in dict.fromkeys(one.network for one in observed):
        card = context.card(film, network)
        heading = _text(f"{card.title} {card.version}", 9, colour=_GREY)
        said = [one for one in observed if one.network == network]
        cells = [
            _row(row, colours.get((network, one.key)))
            for one in said
            for row in sorted(rows(one, context), key=lambda row: not row[2])
        ]
        yield KeepTogether([Spacer(1, 1.5 * mm), heading, _laid_out(cells)])
        for comment in filter(None, (context.words(one).comment for one in said)):
            yield _text(comment, 8, colour=_GREY)
    for sentence in unanswered(film.findings, context):
        yield _text(sentence, 9, bold=True)


def _row(row: Row, mark: Colour | None) -> list[Flowable]:
    """Return a line of a table: bold what is found."""
    name, value, found = row
    label = _text(name, 9, bold=found, mark=mark)
    return [label, _text(value, 9, bold=found)]


def _cards(film: AnalysedFilm, context: Context) -> Iterator[str]:
    words = context.template.panel
    for card in context.cards([film]):
        digest = card.weights.removeprefix("sha256:")[:8]
        yield words.network.format(network=card.title, version=card.version, digest=digest)


def _two_pictures(
    film: AnalysedFilm, context: Context, places: Places, wording: Wording
) -> Flowable:
    """Return the opacity map and what weighed for the class side by side, each with its words."""
    mapped = " ".join(map_sentences(film, places, context.template))
    panel, width = context.template.panel, _PICTURE_WIDTH / 2
    columns = [
        [
            _text(panel.mapped, 9, bold=True),
            _picture(_film_on_page(film, context), width),
            _text(mapped, 8),
        ],
        [
            _text(panel.explanation, 9, bold=True),
            _picture(_weighed_on_page(film), width),
            _text(wording.explanation, 8),
        ],
    ]
    table = Table([columns], colWidths=[85 * mm, 85 * mm], hAlign="LEFT")
    table.setStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (0, -1), 0)])
    return table


def draw_for_page(film: AnalysedFilm, context: Context) -> None:
    """Draw what a page shows of an analysed film, while its pixels are at hand; it is kept."""
    _film_on_page(film, context)
    if film.explanation.opacity is not None:
        _weighed_on_page(film)


@once_a_study
def _film_on_page(film: AnalysedFilm, context: Context) -> _PagePicture:
    return _for_page(draw_lettered(film, context, _WORDS_PIXELS))


@once_a_study
def _weighed_on_page(film: AnalysedFilm) -> _PagePicture:
    return _for_page(draw_weighed(film))


def _for_page(picture: Image.Image) -> _PagePicture:
    height = round(_PICTURE_PIXELS * picture.height / picture.width)
    buffer = io.BytesIO()
    smaller = picture.resize((_PICTURE_PIXELS, height), Image.Resampling.LANCZOS)
    smaller.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return _PagePicture(buffer.getvalue(), picture.width, picture.height)


def _picture(picture: _PagePicture, width: float) -> Flowable:
    scale = min(width / picture.width, _PICTURE_HEIGHT / picture.height)
    return Picture(
        io.BytesIO(picture.jpeg), width=scale * picture.width, height=scale * picture.height
    )


def _text(
    text: str,
    size: int,
    *,
    bold: bool = False,
    colour: Any = colors.black,
    mark: Colour | None = None,
) -> Flowable:
    """Return a paragraph. ``mark``: the colour of a square before it."""
    square = "" if mark is None else f'<font color="#{bytes(mark).hex()}">\u25a0</font> '
    style = ParagraphStyle(
        "text", fontName=_BOLD if bold else _PLAIN, fontSize=size, leading=size * 1.35,
        textColor=colour, spaceAfter=size * 0.35,
    )  # fmt: skip
    return Paragraph(square + "".join(_written(text)), style)


def _written(text: str) -> Iterator[str]:
    """Yield a text as marked-up runs, each in a font that has its letters."""
    # Letters are set from left to right: those read the other way are turned, though not joined.
    text = _WRITTEN_LEFTWARDS.sub(lambda found: found[0][::-1], text)
    for font, letters in groupby(text, partial(_font_of, text)):
        run = escape("".join(letters))
        yield f'<font name="{font}">{run}</font>' if font else run


def _font_of(text: str, letter: str) -> str:
    """Return the font for a letter that `_PLAIN` does not have, else ""."""
    if ord(letter) in pdfmetrics.getFont(_PLAIN).face.charToGlyph:
        return ""
    if _HANGUL.match(letter):
        return _KOREAN
    return _JAPANESE if _KANA.search(text) else _CHINESE


def _table(rows: Sequence[tuple[str, str]]) -> Flowable:
    return _laid_out([[_text(label, 9), _text(value, 9, bold=True)] for label, value in rows])


def _laid_out(cells: Sequence[list[Flowable]]) -> Flowable:
    table = Table(cells, colWidths=[65 * mm, 105 * mm], hAlign="LEFT")
    table.setStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (0, -1), 0),
                    ("TOPPADDING", (0, 0), (-1, -1), 0.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 0.5),
                    ])  # fmt: skip
    return table
