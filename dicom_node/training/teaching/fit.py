"""Teaching a task by Keras' own loop: schedule, averaged weights, backups, a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from dicom_node.training.teaching.course import Course


def compiled(task: Any, course: Course) -> Any:
    """Return the task with the course's optimiser: AdamW, warm-up, half a cosine, averages.

    The averaged weights (Polyak: ``ema`` a step) are what the network holds after the last epoch.
    """
    steps = course.epochs * course.steps
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=course.learning_rate / 20,
        decay_steps=max(1, steps - course.warmup * course.steps),
        alpha=0.01,
        warmup_target=course.learning_rate,
        warmup_steps=course.warmup * course.steps,
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=course.weight_decay, global_clipnorm=5.0,
        use_ema=course.ema > 0, ema_momentum=course.ema or 0.99,
    )  # fmt: skip
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    task.compile(optimizer=optimizer, jit_compile=False)
    return task


def fit(task: Any, feed: Any, course: Course, run: Path, callbacks: tuple[Any, ...] = ()) -> None:
    """Teach the task to the course's last epoch; a run that was stopped goes on.

    ``run``: its folder, with ``backup`` (Keras' own) and ``history.csv``, one line an epoch.
    """
    run.mkdir(parents=True, exist_ok=True)
    # Backups want a built model; the networks of a task were built with it.
    task.build(None)
    task.fit(
        feed,
        epochs=course.epochs,
        verbose=0,
        callbacks=[
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.BackupAndRestore(str(run / "backup"), delete_checkpoint=False),
            keras.callbacks.CSVLogger(str(run / "history.csv"), append=True),
            *callbacks,
        ],
    )
