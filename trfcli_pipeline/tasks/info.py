"""Describe this machine and a pipeline."""

import os
import platform
from datetime import datetime
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.data.files import directory_bytes
from trfcli_pipeline.data.outputs.manifest import META
from trfcli_pipeline.pipeline import saved
from trfcli_pipeline.pipeline.loading import check_pipeline, describe_encoder, load_pipeline
from trfcli_pipeline.progress import phase
from trfcli_pipeline.tasks.origin import read_origin

if TYPE_CHECKING:
    from spacy.language import Language

_PACKAGES = ("trfcli", "spacy", "thinc", "torch", "transformers", "tokenizers")


def info(model: str | None = None, *, verify: bool = False) -> dict[str, Any]:
    """Describe this machine, and under "model" a pipeline if one is given.

    Args:
        verify: Whether to check first that the pipeline's files are as they were saved.

    Raises:
        PipelineError: The pipeline doesn't exist, can't be loaded, or its files have changed.
    """
    if model is not None:
        check_pipeline(model)
    found = describe_machine()
    if model is None:
        return found
    verified = {}
    if verify:
        with phase(f"Verifying {model}"):
            verified["verified_files"] = saved.verify(model)
    return {**found, "model": {**describe_pipeline(load_pipeline(model)), **verified}}


def describe_machine() -> dict[str, Any]:
    """Collect versions, devices, the number of threads, and memory in GB (10⁹ bytes)."""
    import torch

    from trfcli_pipeline.encoder.devices import (
        accelerator_memory,
        installed_version,
        resolve_device,
    )

    devices = []
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        for index in range(torch.accelerator.device_count()):
            device = torch.device(f"{kind}:{index}")
            free_and_total = accelerator_memory(device)
            memory = None if free_and_total is None else round(free_and_total[1] / 1e9, 1)
            devices.append({"name": str(device), "type": device.type, "memory_gb": memory})
    pages = _sysconf("SC_PHYS_PAGES")
    memory = round(pages * _sysconf("SC_PAGE_SIZE") / 1e9, 1) if pages else None
    devices.append({"name": "cpu", "type": "cpu", "memory_gb": memory})
    return {
        "python": platform.python_version(),
        "versions": {name: installed_version(name) for name in _PACKAGES},
        "device": str(resolve_device()),
        "devices": devices,
        "threads": torch.get_num_threads(),
        "memory_gb": memory,
    }


def describe_pipeline(nlp: "Language") -> dict[str, Any]:
    """Collect a pipeline's parts, how it came about, and its size in MB (10⁶ bytes)."""
    from trfcli_pipeline.pipeline.components import find_component
    from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
    from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer

    encoder = find_component(nlp, TransformersTok2Vec)
    wordpiecer = find_component(nlp, TransformersWordPiecer)
    described = None
    origin = read_origin(nlp.meta)
    encoder_origin = origin.pop("encoder")
    if encoder is not None:
        described = {
            "name": encoder.trf_name,
            **encoder_origin,
            **describe_encoder(encoder),
            "backend": encoder.model.shim.inference.backend,
            "precision": encoder.model.shim.inference.precision,
            "max_length": None if wordpiecer is None else wordpiecer.max_length,
        }
    meta = nlp.meta
    return {
        "name": f"{meta['lang']}_{meta['name']}",
        "version": meta["version"],
        "lang": meta["lang"],
        "path": str(nlp.path),
        "size_mb": directory_bytes(nlp.path) / 1e6,
        # Not recorded in the pipeline, because the same training gives the same bytes.
        "changed": datetime.fromtimestamp((nlp.path / META).stat().st_mtime).isoformat(
            " ", "minutes"
        ),
        "components": [
            {
                "name": name,
                "factory": nlp.get_pipe_meta(name).factory,
                "labels": list(getattr(pipe, "labels", [])),
                **_promise(pipe),
            }
            for name, pipe in nlp.pipeline
        ],
        "encoder": described,
        **origin,
        "requirements": list(meta.get("requirements", [])),
        "performance": meta.get("performance", {}),
    }


def _promise(pipe: Any) -> dict[str, Any]:
    """When a classifier doesn't answer; nothing if that wasn't fitted."""
    fitted = getattr(pipe, "fitted_abstention", None)
    return {} if fitted is None else {"abstention": fitted.as_json(), "promise": fitted.summary}


def _sysconf(name: str) -> int:
    # Windows has no sysconf; macOS lacks some of the names.
    return os.sysconf(name) if name in getattr(os, "sysconf_names", {}) else 0
