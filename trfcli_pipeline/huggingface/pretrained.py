"""Loads and saves pretrained encoders and tokenizers in Hugging Face's format.

We import transformers inside functions only: spaCy imports this package whenever it creates any
pipeline, and transformers is slow to import.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trfcli_pipeline.data.files import read_object
from trfcli_pipeline.errors import EncoderError
from trfcli_pipeline.huggingface.configs import load_config
from trfcli_pipeline.huggingface.foreign_files import COPY_AGAIN, check_files, explain

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Tokenizers without a maximum have one like 1e30.
_NO_LIMIT = 10**6
# Bytes to which torch aligns new tensors on a CPU.
_ALIGNMENT = 64

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

    with quiet(), explain(f"{path}: can't load the tokenizer"):
        check_files(path)
        settings = path / "tokenizer_config.json"
        if settings.exists():
            read_object(settings, EncoderError, hint=COPY_AGAIN)
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


def fingerprint(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Compute a hash of what determines the wordpieces of a text."""
    if tokenizer.is_fast:
        content = tokenizer.backend_tokenizer.to_str().encode()
    else:
        files = to_files(tokenizer.save_pretrained)
        # This one has settings such as the directory that it was loaded from.
        files.pop("tokenizer_config.json", None)
        content = b"".join(files.values())
    return hashlib.sha256(type(tokenizer).__name__.encode() + content).hexdigest()


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
        EncoderError: The directory has no encoder that can be loaded, or weights are missing, have
            another shape than the config says, or aren't finite.
        DeviceError: Memory ran out.
    """
    from transformers import AutoModel

    with quiet(), explain(f"{path}: can't load the encoder"):
        check_files(path)
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
            # Instead of an error that doesn't say which. Below, we say it.
            ignore_mismatched_sizes=True,
            # SDPA returns no attentions.
            attn_implementation="eager" if all_attentions else None,
        )
    unnamed = _unnamed_weights(model, loading["unexpected_keys"])
    if unnamed:
        raise EncoderError(
            f"{path}: has weights that its config doesn't name ({len(unnamed)}, such as "
            f"{unnamed[0]})",
            hint="Use the config.json that was saved with the weights",
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
    _check_weights(path, model, loading["mismatched_keys"])
    _align_weights(model.eval().to(device))
    return model


def _align_weights(model: "PreTrainedModel") -> None:
    """Move weights to addresses that are multiples of 64 bytes, as those of new tensors are.

    Weights that are mapped from a file lie anywhere. On some CPUs, the last bits of a product
    depend on that, so that a copy of the model would predict something else.
    """
    for each in (*model.parameters(), *model.buffers()):
        if each.device.type == "cpu" and each.data_ptr() % _ALIGNMENT:
            each.data = each.data.clone()


def _check_weights(
    path: Path, model: "PreTrainedModel", mismatched: Iterable[tuple[str, Any, Any]]
) -> None:
    """Check that the weights fit the config, and are numbers.

    Args:
        mismatched: For each tensor of another shape than the config asks for its name, its shape,
            and the shape that fits.
    """
    for name, found, expected in mismatched:
        raise EncoderError(
            f"{path}: {name} has the shape {[*found]}, but config.json asks for {[*expected]}",
            hint=COPY_AGAIN,
        )
    for name, weights in model.named_parameters():
        # NaN is the minimum and the maximum of values that include it.
        if weights.numel() and not torch.stack(weights.aminmax()).isfinite().all():
            raise EncoderError(f"{path}: {name} contains NaN or infinite values", hint=COPY_AGAIN)


def _unnamed_weights(model: "PreTrainedModel", unexpected: Iterable[str]) -> list[str]:
    """Select the weights of the encoder itself: those of heads for other tasks are left out."""
    children = {name for name, _ in model.named_children()}
    buffers = {name for name, _ in model.named_buffers()}
    found = []
    for key in sorted(unexpected):
        name = key.removeprefix(f"{model.base_model_prefix}.")
        # Old checkpoints have buffers that are constants now, as GPT-2's masked_bias.
        is_constant = name in buffers or name.endswith(".masked_bias")
        if name.partition(".")[0] in children and not is_constant:
            found.append(key)
    return found


def vocab_size(path: Path) -> int | None:
    """Read the number of wordpieces that an encoder knows; None if it has no fixed number."""
    with quiet(), explain(f"{path}: can't read the encoder's config"):
        return getattr(load_config(path), "vocab_size", None)


def max_length(path: Path, tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Find the maximum number of wordpieces that an encoder accepts, special tokens included.

    Args:
        path: Directory of the encoder.
        tokenizer: Its tokenizer.

    Returns:
        The maximum; None for no limit.
    """
    with quiet(), explain(f"{path}: can't find the maximum length"):
        limits = [tokenizer.model_max_length]
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
    # safetensors lets nobody but the owner read its files.
    for weights in path.glob("*.safetensors"):
        weights.chmod((path / "config.json").stat().st_mode)


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
