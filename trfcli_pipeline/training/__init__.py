"""Fine-tuning of an encoder together with a text classifier."""

from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.events import (
    Checkpointed,
    Evaluated,
    Event,
    Finished,
    Planned,
    Stepped,
)
from trfcli_pipeline.training.train import train_textcat

__all__ = [
    "Checkpointed",
    "Evaluated",
    "Event",
    "Finished",
    "Planned",
    "Stepped",
    "TrainingArguments",
    "train_textcat",
]
