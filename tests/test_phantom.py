"""The phantom looks like a chest, says what it is, and is a valid image object."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset

from dicom_node.errors import HeaderUnreadable, PixelDataTooLarge
from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.phantom import (
    ZONES,
    Encoding,
    Identity,
    phantom,
    phantom_dataset,
    wrap_picture,
)

DCIODVFY = Path("/usr/bin/dciodvfy")


def complaints(dataset: FileDataset, folder: Path) -> list[str]:
    """Return what dciodvfy finds wrong with the object."""
    if not DCIODVFY.exists():
        pytest.skip("dciodvfy of dicom3tools is not installed")
    file = folder / "object.dcm"
    dataset.save_as(file)
    done = subprocess.run([str(DCIODVFY), str(file)], capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if line.startswith(("Error", "Warning"))]


def test_the_same_arguments_give_the_same_film_and_other_seeds_another() -> None:
    first, second = phantom(3, rows=256, columns=256), phantom(3, rows=256, columns=256)
    np.testing.assert_array_equal(first.film, second.film)
    assert not np.array_equal(first.film, phantom(4, rows=256, columns=256).film)


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (480, 480), (1024, 1024), (611, 500)])
def test_a_phantom_has_any_size_and_values_from_0_to_1(rows: int, columns: int) -> None:
    made = phantom(rows=rows, columns=columns)
    assert made.film.shape == made.lungs.shape == (rows, columns)
    assert made.film.dtype == np.float32
    assert made.film.min() == 0
    assert 0.9 < made.film.max() <= 1


def test_lungs_are_dark_the_mediastinum_is_bright_and_the_border_is_black() -> None:
    made = phantom(rows=512, columns=512)
    assert made.film[made.lungs].mean() < 0.45
    assert made.film[256, 240:272].mean() > 0.7
    assert made.film[480, 200:300].mean() > 0.6
    assert made.film[:, :4].max() == 0


def test_the_zones_cover_the_lungs_without_overlap_each_on_its_side() -> None:
    made = phantom(rows=400, columns=400)
    assert tuple(made.parts) == ZONES
    np.testing.assert_array_equal(sum(mask.astype(int) for mask in made.parts.values()), made.lungs)
    for name, mask in made.parts.items():
        column = np.nonzero(mask)[1].mean()
        assert (column < 200) == name.startswith("right"), name
    rows = [np.nonzero(made.parts[f"left_{h}"])[0].mean() for h in ("upper", "middle", "lower")]
    assert rows == sorted(rows)


@pytest.mark.parametrize("zone", ZONES)
def test_an_opacity_brightens_its_zone_and_hardly_any_other(zone: str) -> None:
    clear = phantom(5, rows=400, columns=400)
    ill = phantom(5, rows=400, columns=400, opacities={zone: 0.9})
    change = ill.film - clear.film
    assert change[clear.parts[zone]].mean() > 0.12
    for other in ZONES:
        if other != zone:
            assert change[clear.parts[other]].mean() < 0.05, other


def test_a_higher_degree_is_a_denser_opacity() -> None:
    means = []
    for degree in (0.0, 0.3, 0.6, 1.0):
        made = phantom(rows=256, columns=256, opacities={"left_lower": degree})
        means.append(made.film[made.parts["left_lower"]].mean())
    assert means == sorted(means)
    assert means[-1] - means[0] > 0.15


@pytest.mark.parametrize("opacities", [{"left": 0.5}, {"left_lower": 1.5}, {"left_lower": -0.1}])
def test_an_impossible_opacity_is_refused(opacities: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        phantom(opacities=opacities)


@pytest.mark.pacs
@pytest.mark.parametrize("kind", ["DX", "CR"])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_phantom_is_a_valid_image_object(
    kind: str, bits: int, photometric: str, tmp_path: Path
) -> None:
    encoding = Encoding(kind, bits, photometric)  # type: ignore[arg-type]
    assert complaints(phantom_dataset(rows=200, columns=200, encoding=encoding), tmp_path) == []


@pytest.mark.pacs
def test_a_wrapped_picture_is_a_valid_image_object(tmp_path: Path) -> None:
    picture = tmp_path / "film.jpg"
    Image.fromarray((phantom(rows=300, columns=280).film * 255).astype(np.uint8)).save(picture)
    assert complaints(wrap_picture(picture), tmp_path) == []


def test_a_phantom_says_that_it_is_one() -> None:
    dataset = phantom_dataset(rows=128, columns=128)
    assert dataset.PatientName == "PHANTOM^SYNTHETIC"
    assert dataset.Manufacturer != "dicom-node"


def test_uids_follow_from_the_arguments_and_films_of_one_seed_share_a_study() -> None:
    first = phantom_dataset(rows=128, columns=128)
    again = phantom_dataset(rows=128, columns=128)
    ill = phantom_dataset(rows=128, columns=128, opacities={"left_lower": 1.0})
    assert first.SOPInstanceUID == again.SOPInstanceUID
    assert first.StudyInstanceUID == ill.StudyInstanceUID
    assert first.SOPInstanceUID != ill.SOPInstanceUID
    assert phantom_dataset(1, rows=128, columns=128).StudyInstanceUID != first.StudyInstanceUID


def test_a_phantom_takes_the_identity_that_it_is_given(tmp_path: Path) -> None:
    identity = Identity(
        patient_name="Yamada^Tarou=山田^太郎=やまだ^たろう",
        patient_id="JP-1",
        specific_character_set=("", "ISO 2022 IR 87"),
        study_instance_uid="1.2.3.4",
    )
    file = tmp_path / "film.dcm"
    phantom_dataset(rows=128, columns=128, identity=identity).save_as(file)
    read = pydicom.dcmread(file)
    assert read.PatientName == identity.patient_name
    assert read.StudyInstanceUID == "1.2.3.4"


def test_dx_refuses_signed_pixels() -> None:
    with pytest.raises(ValueError, match="unsigned"):
        phantom_dataset(rows=128, columns=128, encoding=Encoding(signed=True))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_an_8_bit_picture_is_shown_as_it_was(suffix: str, tmp_path: Path) -> None:
    picture = tmp_path / f"film.{suffix}"
    Image.fromarray((phantom(rows=301, columns=257).film * 255).astype(np.uint8)).save(picture)
    shown = np.asarray(Image.open(picture), np.float32) / 255
    np.testing.assert_allclose(film_of(wrap_picture(picture)), shown, atol=1e-6)


def test_a_16_bit_picture_keeps_its_depth(tmp_path: Path) -> None:
    picture = tmp_path / "film.png"
    film = phantom(rows=300, columns=256).film
    Image.fromarray((film * 40000 + 1000).astype(np.uint16)).save(picture)
    wrapped = wrap_picture(picture)
    assert wrapped.BitsStored == 16
    expected = (film - film.min()) / np.ptp(film)
    np.testing.assert_allclose(film_of(wrapped), expected, atol=1e-4)


def test_a_colour_picture_becomes_grey_and_is_marked_as_no_patient(tmp_path: Path) -> None:
    picture = tmp_path / "film.png"
    grey = (phantom(rows=200, columns=200).film * 255).astype(np.uint8)
    Image.fromarray(np.dstack([grey, grey, grey])).save(picture)
    wrapped = wrap_picture(picture)
    assert wrapped.SamplesPerPixel == 1
    assert wrapped.PatientName == "IMAGE^IMPORTED"


def test_the_same_picture_gets_the_same_uids(tmp_path: Path) -> None:
    picture = tmp_path / "film.png"
    Image.fromarray(np.eye(100, dtype=np.uint8) * 255).save(picture)
    first, second = wrap_picture(picture), wrap_picture(picture)
    assert first.SOPInstanceUID == second.SOPInstanceUID
    assert first.StudyInstanceUID.startswith("2.25.")


def test_what_is_no_picture_says_so(tmp_path: Path) -> None:
    file = tmp_path / "film.png"
    file.write_bytes(b"not a picture")
    with pytest.raises(HeaderUnreadable):
        wrap_picture(file)


def test_a_picture_above_the_limit_is_not_decoded(tmp_path: Path) -> None:
    file = tmp_path / "film.png"
    Image.fromarray(np.zeros((2000, 2000), np.uint8)).save(file)
    with pytest.raises(PixelDataTooLarge):
        wrap_picture(file, max_megapixels=3)
