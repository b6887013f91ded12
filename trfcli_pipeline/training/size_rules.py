"""Adapt batch size, epochs and learning rate to the number of texts.

The shipped config is made for thousands of texts, so we change it for smaller and larger data sets.
Values that the user chose stay as they are, and so does a config file of the user's own.
"""

import math
from typing import Any

from trfcli_pipeline.training.arguments import TrainingArguments

# With fewer texts, batches are smaller: there are few steps, and each is cheap. And a new
# classifier starts as a linear probe.
SMALL_TRAINING_SET = 500
_SMALL_BATCH = 16
# Fewer steps would hardly change the encoder.
_LEAST_STEPS = 200
# If epochs are short, more evaluations than this would take too much of the time.
_EVALUATIONS = 10
_MANY_TEXTS, _EPOCHS_OF_MANY = 50_000, 2
# With more steps than this, a lower learning rate trains the encoder just as well and overfits
# less. So we lower the rate in inverse proportion to the number of steps, down to the lowest rate
# in common use.
_FULL_RATE_STEPS, _LEAST_RATE = 300, 2e-5


def fit_to_size(
    training: dict[str, Any], n_texts: int, arguments: TrainingArguments, n_processes: int
) -> tuple[int, list[str]]:
    """Set the batch size and the number of epochs for a number of texts.

    Args:
        training: The `[training]` section of a config. Changed in place.

    Returns: Epochs between evaluations; and what was changed and why, as sentences.
    """
    batcher, epochs = training["batcher"], training["max_epochs"]
    changes = []
    if n_texts < SMALL_TRAINING_SET and not arguments.chooses("batch_size"):
        batcher["size"] = _SMALL_BATCH
        changes.append(f"batch size {_SMALL_BATCH} (--batch-size)")
    epochs_per_evaluation = 1
    batches = math.ceil(n_texts / batcher["size"] / n_processes)
    enough = math.ceil(_LEAST_STEPS / batches)
    if not arguments.chooses("epochs") and enough > epochs:
        training["max_epochs"] = enough
        epochs_per_evaluation = math.ceil(enough / _EVALUATIONS)
        changes.append(f"{enough} epochs to reach at least {_LEAST_STEPS} steps (--epochs)")
    elif not arguments.chooses("epochs") and n_texts > _MANY_TEXTS:
        training["max_epochs"] = _EPOCHS_OF_MANY
        return 1, [f"More than {_MANY_TEXTS:,} texts: {_EPOCHS_OF_MANY} epochs (--epochs)"]
    few = f"Fewer than {SMALL_TRAINING_SET} texts" if n_texts < SMALL_TRAINING_SET else "Few texts"
    return epochs_per_evaluation, [f"{few}: {' and '.join(changes)}"] if changes else []


def lower_rate(training: dict[str, Any], steps: int) -> list[str]:
    """Lower the encoder's learning rate if there are many steps.

    Args:
        training: The `[training]` section of a config. Changed in place.

    Returns: What was changed and why, as sentences.
    """
    if steps <= _FULL_RATE_STEPS:
        return []
    schedule = training["optimizer"]["trf_lr"]
    full = schedule["initial_rate"]
    schedule["initial_rate"] = max(full * _FULL_RATE_STEPS / steps, _LEAST_RATE)
    return [
        f"More than {_FULL_RATE_STEPS} steps: encoder learning rate lowered from "
        f"{format_rate(full)} to {format_rate(schedule['initial_rate'])} (--learn-rate)"
    ]


def format_rate(rate: float) -> str:
    """0.0001 -> 1e-4"""
    mantissa, _, exponent = f"{rate:.1e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if rate else "0"
