"""Configs of models in Hugging Face's format."""

from pathlib import Path
from typing import TYPE_CHECKING

from trfcli_pipeline.errors import EncoderError
from trfcli_pipeline.huggingface.foreign_files import explain, read_config

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def load_config(path: Path) -> "PretrainedConfig":
    """Read the config of a model.

    Configs from before transformers had model types are identified by their architecture, such as
    "BertForMaskedLM".

    Args:
        path: Directory of the model.

    Raises:
        EncoderError: The config can't be used, or has neither a model type nor a known
            architecture.
    """
    from transformers import AutoConfig

    facts, file = read_config(path), path / "config.json"
    with explain(f"{file}: can't be used"):
        if "model_type" in facts:
            return AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model_type = _type_of_architectures(facts.get("architectures") or [])
        if model_type is None:
            raise EncoderError(
                f"{file}: has no model_type",
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
