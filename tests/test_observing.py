"""From a declared network's numbers to observations on the film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from dicom_node.analysis.observing import Looked, Observed, observed
from dicom_node.bundles.declared import Says
from dicom_node.errors import OutputUnusable
from dicom_node.imaging.lungs import lungs_from
from dicom_node.imaging.wanted import seen
from dicom_node.observations import Observation
from tests import declared_kit as kit

FILM = np.zeros((640, 320), np.float32)


def looked(
    says: str,
    outputs: Mapping[str, Any],
    *,
    pixels: str = "rows = 32\ncolumns = 32",
    spacing: tuple[float, float] | None = None,
    lungs: Any = None,
) -> Observed:
    net = kit.manifest_alone(says, pixels)
    arrays = {name: np.asarray(value, np.float32) for name, value in outputs.items()}
    film = Looked(seen(FILM, net.manifest.eats.pixels, lungs), (640, 320), lungs, spacing)
    return observed(net, "net", arrays, film)


def one(says: str, outputs: Mapping[str, Any], **more: Any) -> Observation:
    (found,) = looked(says, outputs, **more).observations
    return found


def test_labels_are_each_there_or_not() -> None:
    found = one(kit.LABELS, {"logits": [2.0, -2.0, 0.0]})
    assert [label.key for label in found.believed] == ["effusion", "cardiomegaly"]
    assert found.labels[0].probability == pytest.approx(0.8808, abs=1e-4)
    assert not found.calibrated


def test_an_index_picks_the_values_that_count() -> None:
    says = kit.LABELS.replace('kind = "labels"', 'kind = "labels"\nindex = [17, 0, 3]')
    values = np.full(18, -9.0)
    values[17] = 9.0
    assert [label.key for label in one(says, {"logits": values}).believed] == ["effusion"]


def test_of_classes_the_most_probable_is_named_where_it_reaches_its_threshold() -> None:
    found = one(kit.CLASS, {"logits": [0.0, 1.0]})
    assert found.named is not None
    assert found.named.key == "lying"
    assert sum(label.probability for label in found.labels) == pytest.approx(1.0)
    strict = kit.CLASS.replace('kind = "class"', 'kind = "class"\nthreshold = 0.9')
    assert one(strict, {"logits": [0.0, 1.0]}).named is None


def test_a_level_is_a_number_too() -> None:
    assert one(kit.LEVEL, {"logits": [0.0, 0.0, 5.0]}).value == 2.0


def test_a_score_stays_in_its_range_with_its_interval() -> None:
    found = one(kit.SCORE, {"score": [[9.5]]})
    assert (found.value, found.low, found.high, found.reached) == (9.5, 8.0, 10.0, True)
    assert one(kit.SCORE, {"score": [-3.0]}).value == 0.0


def test_two_points_are_a_length_in_millimetres_by_the_spacing_of_both_ways() -> None:
    across = one(kit.LENGTH, {"points": [8, 16, 24, 16]}, spacing=(0.2, 0.5))
    assert across.value == pytest.approx(16 * 10 * 0.5)
    assert across.places[0].points == ((80.0, 320.0), (240.0, 320.0))
    down = one(kit.LENGTH, {"points": [16, 8, 16, 24]}, spacing=(0.2, 0.5))
    assert down.value == pytest.approx(16 * 20 * 0.2)


def test_without_spacing_there_is_no_length_but_why() -> None:
    found = one(kit.LENGTH, {"points": [8, 16, 24, 16]})
    assert (found.value, found.reached) == (None, False)
    assert "spacing" in found.absent
    assert found.places
    beyond = one(kit.LENGTH, {"points": [8, 16, 90, 16]}, spacing=(1, 1))
    assert beyond.value is None
    assert "outside" in beyond.absent


@pytest.mark.parametrize(
    ("form", "unit", "box"),
    [
        ("corners", "pixels", [8, 4, 16, 12]),
        ("corner-size", "pixels", [8, 4, 8, 8]),
        ("centre-size", "pixels", [12, 8, 8, 8]),
        ("corners", "parts", [0.25, 0.125, 0.5, 0.375]),
    ],
)
def test_boxes_of_every_form_lie_on_the_film(form: str, unit: str, box: Sequence[float]) -> None:
    says = kit.BOXES.replace(
        'boxes = "boxes"',
        f'boxes = "boxes"\nbox_form = "{form}"\nbox_unit = "{unit}"\nactivation = "sigmoid"',
    )
    found = one(says, {"scores": [3.0, -3.0], "boxes": [box, [0, 0, 4, 4]]})
    (place,) = found.places
    assert place.points == ((80, 80), (160, 80), (160, 240), (80, 240))
    assert found.reached


def test_of_boxes_that_cover_each_other_the_most_probable_stays() -> None:
    boxes = [[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [5, 5, 5, 9]]
    found = one(kit.BOXES, {"scores": [0.7, 0.9, 0.6, 0.99], "boxes": boxes})
    assert [place.probability for place in found.places] == pytest.approx([0.9, 0.6])


def test_boxes_have_the_class_that_is_most_probable_or_that_the_network_numbers() -> None:
    classes = '[[says.classes]]\nkey = "nodule"\n[[says.classes]]\nkey = "mass"\n'
    says = kit.BOXES.split("[template")[0].replace("\nfinding =", "\n#") + classes
    box = {"boxes": [[0, 0, 10, 10]]}
    assert one(says, {"scores": [[0.2, 0.9]], **box}).places[0].label == "mass"
    numbered = says.replace('boxes = "boxes"', 'boxes = "boxes"\nlabels_output = "labels"')
    found = one(numbered, {"scores": [0.9], "labels": [1], **box})
    assert found.places[0].label == "mass"
    with pytest.raises(OutputUnusable, match="number of a class"):
        one(numbered, {"scores": [0.9], "labels": [7], **box})


def test_a_place_is_kept_from_the_threshold_of_its_class_on() -> None:
    classes = (
        '[[says.classes]]\nkey = "nodule"\nthreshold = 0.8\n[[says.classes]]\nkey = "mass"\n'
        '[[says.classes]]\nkey = "tube"\nthreshold = 0.2\n'
    )
    says = kit.BOXES.split("[template")[0].replace("\nfinding =", "\n#") + classes
    numbered = says.replace('boxes = "boxes"', 'boxes = "boxes"\nlabels_output = "labels"')
    boxes = [[0, 0, 5, 5], [6, 6, 9, 9], [10, 10, 15, 15], [16, 16, 20, 20], [21, 21, 25, 25]]
    said = {"scores": [0.8, 0.7, 0.5, 0.3, 0.1], "labels": [0, 0, 1, 2, 9], "boxes": boxes}
    found = one(numbered, said)
    assert [place.label for place in found.places] == ["nodule", "mass", "tube"]


def test_no_boxes_are_no_finding() -> None:
    found = one(kit.BOXES, {"scores": np.zeros((0,)), "boxes": np.zeros((0, 4))})
    assert (found.places, found.reached) == ((), False)


def test_a_mask_counts_in_the_lungs_alone_where_it_should() -> None:
    probability = np.zeros((64, 32), np.float32)
    probability[:32] = 1
    lungs = lungs_from(probability, 640, 320)
    logits = np.full((1, 16, 16), -9.0)
    logits[0, 4:12] = 9.0
    says = kit.MASK.replace('kind = "mask"', 'kind = "mask"\ninside = "lungs"')
    found = looked(says, {"mask": logits}, lungs=lungs)
    assert found.observations[0].value == pytest.approx(0.5)
    (area,) = found.areas
    assert (area.region.bottom, area.region.right) == (640, 320)
    assert (area.probability[4:8] > 0.9).all()
    assert (area.probability[8:] == 0).all()
    whole = looked(kit.MASK, {"mask": logits}, lungs=lungs)
    assert whole.observations[0].value == pytest.approx(0.5)
    assert (whole.areas[0].probability[8:12] > 0.9).all()


def test_what_was_filled_up_around_the_film_is_no_part_of_a_mask() -> None:
    pixels = 'rows = 32\ncolumns = 32\nfit = "pad"'
    (area,) = looked(kit.MASK, {"mask": np.zeros((1, 16, 16))}, pixels=pixels).areas
    assert area.probability.shape == (16, 8)
    assert (area.region.left, area.region.right) == (0, 320)


@pytest.mark.parametrize(
    ("says", "outputs", "why"),
    [
        (kit.LABELS, {"logits": [1.0, 2.0]}, "3 values are needed; it gave 2"),
        (kit.LABELS, {"logits": [1.0, np.nan, 2.0]}, "no numbers"),
        (kit.LABELS, {"a": [1.0], "b": [2.0]}, "name its output; there are: a, b"),
        (kit.BOXES, {"scores": [0.9], "boxes": [[1, 2, 3]]}, "shape"),
        (kit.BOXES, {"scores": [0.9, 0.1, 0.2], "boxes": [[1, 2, 3, 4]]}, "it gave 3"),
        (kit.BOXES, {"scores": [7.0], "boxes": [[1, 2, 3, 4]]}, "from 0 to 1"),
        (kit.BOXES, {"boxes": [[1, 2, 3, 4]]}, "there is no output 'scores'"),
        (kit.SCORE, {"score": [np.inf]}, "no numbers"),
        (kit.LENGTH, {"points": [1.0, 2.0]}, "4 values are needed"),
        (kit.MASK, {"mask": [1.0]}, "rows and columns"),
    ],
)
def test_what_is_not_as_declared_is_said_in_words(
    says: str, outputs: Mapping[str, Any], why: str
) -> None:
    with pytest.raises(OutputUnusable, match=why):
        looked(says, outputs)


def test_every_kind_is_read() -> None:
    assert set(Says.model_fields["kind"].annotation) == {  # type: ignore[arg-type]
        kit.manifest_alone(text).manifest.says[0].kind
        for text in (kit.LABELS, kit.BOXES, kit.LENGTH, kit.CLASS, kit.LEVEL, kit.SCORE, kit.MASK)
    }


def with_line(says: str, *lines: str) -> str:
    """Return a table of [[says]] with further lines."""
    return says.replace("kind =", "\n".join((*lines, "kind =")), 1)


CLASSES = '[[says.classes]]\nkey = "nodule"\n[[says.classes]]\nkey = "mass"\n'
TWO = kit.BOXES.split("[template")[0].replace("\nfinding =", "\n#") + CLASSES


@pytest.mark.parametrize(
    ("says", "outputs", "why"),
    [
        (with_line(kit.MASK, 'activation = "none"'), {"mask": np.full((16, 16), -3)}, "from 0 to"),
        (kit.MASK, {"mask": np.zeros((3, 16, 16))}, "3 planes: name the one"),
        (with_line(kit.MASK, "index = [3]"), {"mask": np.zeros((3, 16, 16))}, "3 planes"),
        (kit.MASK, {"mask": np.zeros((2, 3, 16, 16))}, "rows and columns"),
        (kit.MASK, {"mask": np.float32(1)}, "rows and columns"),
        (with_line(kit.CLASS, "temperature = 1e-306"), {"logits": [1e5, 0]}, "leaves no numbers"),
        (with_line(kit.SCORE, "scale = 1e300"), {"score": [3e38]}, "beyond all others"),
        (TWO, {"scores": [0.9], "boxes": [[0, 0, 9, 9]]}, "2 probabilities, 2 a box; it gave 1"),
        (TWO, {"scores": [], "boxes": [[0, 0, 9, 9]]}, "it gave 0"),
        (TWO, {"scores": [0.9], "boxes": np.zeros((0, 4))}, "it gave 1"),
        (with_line(TWO, "index = [0, 7]"), {"scores": [[0.9, 0]], "boxes": [[0, 0, 9, 9]]},
         "no value 7: it gave 2 a box"),
        (with_line(TWO, 'labels_output = "labels"'),
         {"scores": [0.9], "labels": [0.5], "boxes": [[0, 0, 9, 9]]}, "number of a class"),
        (with_line(TWO, 'labels_output = "labels"'),
         {"scores": [0.9], "labels": [1e30], "boxes": [[0, 0, 9, 9]]}, "number of a class"),
    ],
)  # fmt: skip
def test_nothing_is_guessed_of_what_cannot_be_meant(
    says: str, outputs: Mapping[str, Any], why: str
) -> None:
    with pytest.raises(OutputUnusable, match=why):
        looked(says, outputs)


def test_probabilities_that_an_engine_rounded_are_in_their_range() -> None:
    found = one(with_line(kit.CLASS, 'activation = "none"'), {"logits": [1.0000002, -1e-6]})
    assert [label.probability for label in found.labels] == [1.0, 0.0]


def test_one_no_number_in_one_observation_leaves_a_network_without_an_answer() -> None:
    says = with_line(kit.LABELS.split("[template")[0], 'output = "logits"')
    says += with_line(kit.SCORE, 'output = "score"')
    good = {"logits": [1.0, 0.0, 0.0], "score": [3.0]}
    assert len(looked(says, good).observations) == 2
    with pytest.raises(OutputUnusable, match="'congestion': output 'score' holds"):
        looked(says, {**good, "score": [np.nan]})


def test_a_mask_may_be_one_plane_of_several_whatever_their_order() -> None:
    logits = np.zeros((3, 16, 16))
    logits[2, :8] = 9
    says = with_line(kit.MASK, "index = [2]", 'activation = "softmax"')
    first = looked(says, {"mask": logits})
    assert first.observations[0].value == 0.5
    last = 'rows = 32\ncolumns = 32\nlayout = "channels-last"'
    second = looked(says, {"mask": np.moveaxis(logits, 0, -1)}, pixels=last)
    assert np.array_equal(first.areas[0].probability, second.areas[0].probability)
    single = looked(kit.MASK, {"mask": logits[2, :, :, None]}, pixels=last)
    assert single.areas[0].probability.shape == (16, 16)


def test_a_mask_is_a_part_of_the_film_and_of_the_lungs_and_not_of_what_was_seen() -> None:
    seen_half = 'rows = 32\ncolumns = 32\nfit = "crop"'
    full = {"mask": np.full((16, 16), 9)}
    assert looked(kit.MASK, full, pixels=seen_half).observations[0].value == pytest.approx(0.5)
    probability = np.ones((64, 32), np.float32)
    lungs = lungs_from(probability, 640, 320)
    inside = with_line(kit.MASK, 'inside = "lungs"')
    (found,) = looked(inside, full, pixels=seen_half, lungs=lungs).observations
    assert found.value == pytest.approx(0.5)


@pytest.mark.parametrize("cells", [(2, 2), (3, 5), (16, 16), (17, 31)])
def test_a_mask_around_a_film_lies_on_the_film_however_coarse_it_is(cells: tuple[int, int]) -> None:
    pixels = 'rows = 32\ncolumns = 32\nfit = "pad"'
    (area,) = looked(kit.MASK, {"mask": np.full(cells, 9)}, pixels=pixels).areas
    region = area.region
    assert (region.top, region.left, region.bottom, region.right) == (0, 0, 640, 320)
    assert area.probability.min() > 0.99


def test_places_of_several_classes_are_those_that_index_names() -> None:
    logits = [[0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0]]
    boxes = [[0, 0, 9, 9], [12, 12, 20, 20]]
    says = with_line(TWO, "index = [1, 2]", 'activation = "softmax"')
    found = one(says, {"scores": logits, "boxes": boxes})
    assert [(place.label, place.points[0]) for place in found.places] == [("nodule", (0, 0))]


def test_numbers_of_classes_are_asked_for_of_places_that_are_kept() -> None:
    outputs = {"scores": [0.9, 0.0], "labels": [1, -1], "boxes": [[0, 0, 9, 9], [0, 0, 0, 0]]}
    found = one(with_line(TWO, 'labels_output = "labels"'), outputs)
    assert [place.label for place in found.places] == ["mass"]


def test_of_very_many_boxes_the_same_few_are_kept_at_once() -> None:
    draw = np.random.default_rng(0)
    boxes = draw.uniform(0, 16, (20_000, 4))
    boxes[:, 2:] += boxes[:, :2]
    says = with_line(kit.BOXES, "most = 100", "overlap = 0.9")
    outputs = {"scores": np.full(len(boxes), 0.9), "boxes": boxes}
    first = one(says, outputs)
    assert len(first.places) == 100
    assert first == one(says, outputs)


def test_a_sliver_at_the_edge_of_the_film_is_no_place() -> None:
    found = one(kit.BOXES, {"scores": [0.9, 0.8], "boxes": [[-5, 0, 0.01, 9], [4, 4, 8, 8]]})
    assert [place.probability for place in found.places] == pytest.approx([0.8])
