"""`trf train-textcat`: fine-tune a pipeline's encoder and text classifier."""

from trfcli.commands.train_textcat.command import train_textcat
from trfcli.commands.train_textcat.overrides import TakesOverrides

__all__ = ["TakesOverrides", "train_textcat"]
