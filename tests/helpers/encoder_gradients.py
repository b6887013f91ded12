"""The gradients of an encoder."""

import torch
from spacy.language import Language


def gradients(nlp: Language) -> dict[str, torch.Tensor | None]:
    """Return copies of the gradients of the encoder's parameters."""
    return gradients_of(nlp.get_pipe("trf_tok2vec").transformers_model)


def gradients_of(module: torch.nn.Module) -> dict[str, torch.Tensor | None]:
    """Return copies of the gradients of a module's parameters."""
    return {
        name: None if each.grad is None else each.grad.cpu().clone()
        for name, each in module.named_parameters()
    }
