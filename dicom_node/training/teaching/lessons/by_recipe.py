"""The lesson of a recipe."""

from __future__ import annotations

from pathlib import Path

from dicom_node.training.datasets.cases import Data
from dicom_node.training.teaching.lessons.classes import ClassLesson
from dicom_node.training.teaching.lessons.lesson import Lesson
from dicom_node.training.teaching.lessons.lungs import LungLesson
from dicom_node.training.teaching.lessons.suite import SuiteLesson
from dicom_node.training.teaching.recipe import Recipe


def lesson_of(recipe: Recipe, data: Data, models: Path) -> Lesson:
    """Return the lesson of a recipe on the films of ``data``.

    ``models``: where bundles lie that the lesson needs (the one that finds the lungs). Raises
    `TrainingError`.
    """
    if recipe.task == "suite":
        return SuiteLesson(recipe, data, models)
    if recipe.task == "segmentation":
        return LungLesson(recipe, data)
    return ClassLesson(recipe, data, models)
