"""Types of transformers and tokenizers, for type checking only: importing them is slow."""

from tokenizers import Encoding as FastEncoding
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["FastEncoding", "PreTrainedModel", "PreTrainedTokenizerBase", "PretrainedConfig"]
