"""Types of transformers, for type checking only: importing this module imports transformers."""

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["PreTrainedModel", "PreTrainedTokenizerBase", "PretrainedConfig"]
