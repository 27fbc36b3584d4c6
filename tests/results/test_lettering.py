"""Words beside a film are measured and drawn once, and look as if they were drawn at once."""

from __future__ import annotations

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from dicom_node.results.lettering import Face, width_of, wrapped, write

SENTENCE = "Opacity: yes (87\N{NO-BREAK SPACE}%; threshold 50\N{NO-BREAK SPACE}%). Ähnelt Aufnahmen"
FACE = Face(17)
PILLOWS = ImageFont.truetype(
    f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", FACE.size, layout_engine=ImageFont.Layout.BASIC
)


def paper() -> Image.Image:
    return Image.new("RGB", (700, 40), (16, 17, 20))


def test_a_line_of_kept_words_is_the_line_that_pillow_draws() -> None:
    ours, theirs = paper(), paper()
    write(ours, (10, 5), SENTENCE, FACE, ((240, 242, 244), "la"))
    ImageDraw.Draw(theirs).text((10, 5), SENTENCE, font=PILLOWS, fill=(240, 242, 244))
    assert np.abs(np.asarray(ours).astype(int) - np.asarray(theirs)).max() <= 1


def test_a_line_is_as_wide_as_pillow_says() -> None:
    assert width_of(SENTENCE, FACE) == PILLOWS.getlength(SENTENCE)


def test_lines_hold_every_word_and_no_line_is_wider_than_its_room() -> None:
    lines = wrapped(SENTENCE, FACE, 150)
    assert len(lines) > 2
    assert " ".join(lines) == SENTENCE
    assert all(width_of(line, FACE) <= 150 or " " not in line for line in lines)


def test_text_ends_where_it_is_anchored_at_the_right() -> None:
    image = paper()
    write(image, (600, 5), "87 %", FACE, ((255, 255, 255), "ra"))
    inked = np.flatnonzero((np.asarray(image) > 60).any(axis=(0, 2)))
    assert 590 < inked.max() <= 600
