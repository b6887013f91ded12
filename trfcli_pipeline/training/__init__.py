"""Fine-tuning of an encoder together with a text classifier."""

from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.events import (
    Checkpointed,
    Evaluated,
    Finished,
    Planned,
    Stepped,
    TrainingEvent,
)
from trfcli_pipeline.training.train import train_textcat

__all__ = [
    "Checkpointed",
    "Evaluated",
    "Finished",
    "Planned",
    "Stepped",
    "TrainingArguments",
    "TrainingEvent",
    "train_textcat",
]
