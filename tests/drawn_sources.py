"""Films and tables as public sources distribute them, drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dicom_node.imaging.wrap import Identity, wrap_picture


def drawn(seed: int, size: tuple[int, int] = (300, 260)) -> Image.Image:
    """A picture of its own: smooth noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (24, 20)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def recompressed(picture: Image.Image, size: tuple[int, int], quality: int) -> Image.Image:
    stream = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=quality)
    return Image.open(io.BytesIO(stream.getvalue()))


def table(path: Path, rows: Sequence[Mapping[str, str]], encoding: str = "utf8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def dicom(path: Path, seed: int, patient: str = "P1", **attributes: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = path.with_name(f"{path.name}.source.png")
    drawn(seed, (180, 200)).save(picture)
    dataset = wrap_picture(picture, identity=Identity(patient_id=patient))
    picture.unlink()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
