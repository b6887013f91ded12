"""Loads and saves pretrained encoders and tokenizers in Hugging Face's format.

We import transformers inside functions only: spaCy imports this package whenever it creates any
pipeline, and transformers is slow to import.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch

from trfcli_pipeline.errors import EncoderError, one_line

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Tokenizers without a maximum have one like 1e30.
_NO_LIMIT = 10**6

# These types of models number positions from 0. The list only saves time: for other types,
# `max_length` imports the model's code to find out, which takes two seconds.
_POSITIONS_FROM_ZERO = {
    "albert",
    "bert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "gpt2",
    "mobilebert",
    "modernbert",
}


def load_tokenizer(path: Path) -> "PreTrainedTokenizerBase":
    """Load a tokenizer and prepare it with `encode_whole`, without a limit.

    Args:
        path: Directory with the tokenizer's files.

    Raises:
        EncoderError: The directory has no tokenizer.
    """
    from transformers import AutoTokenizer

    with quiet(), _explain(f"{path}: can't load the tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            path,
            # The directory that a component saved has only a tokenizer_config.json.
            config=load_config(path) if (path / "config.json").exists() else None,
            local_files_only=True,
            trust_remote_code=False,
        )
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        # From a config.json alone, transformers creates a tokenizer of special tokens only.
        raise EncoderError(
            f"{path}: has no tokenizer", hint="Add the model's tokenizer.json or vocabulary file"
        )
    encode_whole(tokenizer, None)
    return tokenizer


def encode_whole(tokenizer: "PreTrainedTokenizerBase", limit: int | None) -> None:
    """Let a tokenizer encode texts without padding, and truncate them only at the model's limit.

    Text that looks like a special token is treated as text. tokenizer.json doesn't store that
    setting, so it has to be set again on every copy.

    Args:
        tokenizer: The tokenizer to change.
        limit: Maximum number of wordpieces, special tokens included; None for no limit.
    """
    tokenizer.truncation_side = "right"
    if not tokenizer.is_fast:
        return
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.encode_special_tokens = True
    if limit is None:
        backend.no_truncation()
    else:
        backend.enable_truncation(limit)


def load_model(
    path: Path,
    *,
    all_attentions: bool = False,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> "PreTrainedModel":
    """Load an encoder in evaluation mode.

    A pooler without trained weights is left out, because transformers would initialize it at
    random.

    Args:
        path: Directory with the encoder's files.
        all_attentions: Use an attention implementation that can return attentions; it is slower.
        device: Where to put the weights; the CPU if None.
        dtype: Data type to convert the weights to.

    Raises:
        EncoderError: The directory has no encoder that can be loaded, or weights are missing.
    """
    from transformers import AutoModel

    with quiet(), _explain(f"{path}: can't load the encoder"):
        config = load_config(path)
        if config.is_encoder_decoder:
            raise EncoderError(
                f"{path}: {config.model_type} is an encoder-decoder",
                hint="Use an encoder (BERT, RoBERTa, ...) or a decoder (GPT-2, ...)",
            )
        model, loading = AutoModel.from_pretrained(
            path,
            config=config,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            # SDPA returns no attentions.
            attn_implementation="eager" if all_attentions else None,
        )
    missing = sorted(loading["missing_keys"])
    if any(key.startswith("pooler.") for key in missing):
        model.pooler = None
        missing = [key for key in missing if not key.startswith("pooler.")]
    if missing:
        raise EncoderError(
            f"{path}: weights are missing ({len(missing)}, such as {missing[0]})",
            hint="Use the directory that the model was saved to, with all its files",
        )
    return model.eval().to(device)


def max_length(path: Path, tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Find the maximum number of wordpieces that an encoder accepts, special tokens included.

    Args:
        path: Directory of the encoder.
        tokenizer: Its tokenizer.

    Returns:
        The maximum; None for no limit.
    """
    limits = [tokenizer.model_max_length]
    with quiet(), _explain(f"{path}: can't read the encoder's config"):
        config = load_config(path)
        n_positions = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
        limits.append(n_positions)
        # RoBERTa and its relatives number positions from the padding index on.
        after_padding = n_positions - (config.pad_token_id or 0) - 1
        if min(limits) > after_padding and config.model_type not in _POSITIONS_FROM_ZERO:
            limits += _positions_after_padding(config)
    limit = min(limit for limit in limits if limit > 0)
    return limit if limit < _NO_LIMIT else None


def _positions_after_padding(config: "PretrainedConfig") -> Iterator[int]:
    """Yield the number of usable positions if the encoder numbers them from the padding index."""
    from transformers import AutoModel

    with torch.device("meta"):
        model = AutoModel.from_config(config)
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            yield len(module.weight) - padding - 1


def to_files(save_pretrained: Callable[[Path], Any]) -> dict[str, bytes]:
    """Return the contents of the files that `save_pretrained` of a tokenizer or model writes."""
    with tempfile.TemporaryDirectory() as folder:
        save(save_pretrained, Path(folder))
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }


@contextmanager
def from_files(files: dict[str, bytes]) -> Iterator[Path]:
    """Write what `to_files` returned to a temporary directory."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield Path(folder)


def save(save_pretrained: Callable[[Path], Any], path: Path) -> None:
    """Call `save_pretrained` of a tokenizer or model, without its progress bar."""
    with quiet():
        save_pretrained(path)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence messages and progress bars of transformers."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_config(path: Path) -> "PretrainedConfig":
    """Read the config of a model.

    Configs from before transformers had model types are identified by their architecture, such as
    "BertForMaskedLM".

    Args:
        path: Directory of the model.

    Raises:
        EncoderError: The config has neither a model type nor a known architecture.
    """
    from transformers import AutoConfig, PretrainedConfig

    facts, _ = PretrainedConfig.get_config_dict(path, local_files_only=True)
    if "model_type" in facts:
        return AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    model_type = _type_of_architectures(facts.get("architectures") or [])
    if model_type is None:
        raise EncoderError(
            f"{path / 'config.json'}: has no model_type",
            hint='Add the type of the model to it, such as "model_type": "bert"',
        )
    return AutoConfig.for_model(model_type, **facts)


def _type_of_architectures(names: list[str]) -> str | None:
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    for model_type, base in MODEL_MAPPING_NAMES.items():
        # A BertModel with a head is called BertForMaskedLM etc.
        if isinstance(base, str) and base.endswith("Model"):
            heads = base.removesuffix("Model") + "For"
            if any(name == base or name.startswith(heads) for name in names):
                return model_type
    return None


@contextmanager
def _explain(problem: str) -> Iterator[None]:
    """Turn the exceptions of transformers for unusable files into an EncoderError."""
    from safetensors import SafetensorError

    try:
        yield
    except EncoderError:
        raise
    except UnpicklingError as error:
        raise EncoderError(
            f"{problem}: its file contains more than weights, possibly malicious code",
            hint="Use a checkpoint in the safetensors format",
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise EncoderError(f"{problem}: {one_line(error)}") from error
