"""How the encoder gets to know the heads that read its token vectors."""

from typing import Any

from thinc.api import Model

from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.heads.layers import TOKEN_VECTORS

Layer = Model[Any, Any]


class ListenedTo:
    """spaCy's protocol for a component whose output others train on.

    It is how the encoder finds its heads wherever the pipeline comes from, and how `spacy train`
    knows to warn if only one side is frozen (`spacy.ty.ListenedToComponent`).

    Attributes:
        listener_map: By component, the layers that read the token vectors.
    """

    model: TransformersWrapper

    def __init__(self) -> None:
        self.listener_map: dict[str, list[Layer]] = {}

    @property
    def token_vector_width(self) -> int:
        """Width of the encoder, and so of `doc.tensor`."""
        return self.model.shim.module.config.hidden_size

    @property
    def listening_components(self) -> list[str]:
        """Names of the components that read the token vectors."""
        return list(self.listener_map)

    @property
    def listeners(self) -> list[Layer]:
        """Their layers of the architecture `trfcli.TokenVectors.v1`."""
        return [layer for layers in self.listener_map.values() for layer in layers]

    def find_listeners(self, component: Any) -> None:
        """Find the layers of a component that read the token vectors, and tell them the width.

        spaCy calls it with each component behind this one, whenever the pipeline changes.
        """
        model = getattr(component, "model", None)
        for layer in model.walk() if isinstance(model, Model) else ():
            if layer.name == TOKEN_VECTORS:
                self.add_listener(layer, component.name)

    def add_listener(self, listener: Layer, component_name: str) -> None:
        layers = self.listener_map.setdefault(component_name, [])
        if listener not in layers:
            layers.append(listener)
        self.tell_width()

    def remove_listener(self, listener: Layer, component_name: str) -> bool:
        layers = self.listener_map.get(component_name, [])
        if listener not in layers:
            return False
        layers.remove(listener)
        if not layers:
            del self.listener_map[component_name]
        return True

    def tell_width(self) -> None:
        """Tell the layers how wide the encoder is, once it has weights."""
        for layer in self.listeners:
            if self.model.shim.is_loaded and layer.has_dim("nO") is None:
                layer.set_dim("nO", self.token_vector_width)
