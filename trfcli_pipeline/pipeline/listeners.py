"""How the encoder finds the heads that read its token vectors."""

from typing import Any

from thinc.api import Model

from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.architectures import classifier_width
from trfcli_pipeline.heads.token_vectors import TOKEN_VECTORS

Layer = Model[Any, Any]


class ListenedTo:
    """Mixin with spaCy's protocol for components that others train on.

    The protocol, `spacy.ty.ListenedToComponent`, tells the encoder about its heads wherever the
    pipeline comes from, and lets `spacy train` warn if only one side is frozen.

    Attributes:
        listener_map: The layers that read the token vectors, by component name.
    """

    model: TransformersWrapper
    name: str

    def __init__(self) -> None:
        self.listener_map: dict[str, list[Layer]] = {}

    @property
    def token_vector_width(self) -> int:
        """Width of the encoder and of `doc.tensor`."""
        return self.model.shim.module.config.hidden_size

    @property
    def listening_components(self) -> list[str]:
        """Names of the components that read the token vectors."""
        return list(self.listener_map)

    @property
    def listeners(self) -> list[Layer]:
        """All layers that read the token vectors."""
        return [layer for layers in self.listener_map.values() for layer in layers]

    def find_listeners(self, component: Any) -> None:
        """Find the layers of a component that read the token vectors, and set their width.

        spaCy calls this with each component after this one, whenever the pipeline changes.

        Raises:
            PipelineError: The component is an encoder, too, or was trained with one of another
                width.
        """
        if isinstance(component, ListenedTo):
            raise PipelineError(
                f"{component.name}: a pipeline can have only one encoder, and this one has "
                f"{self.name}",
                hint=f"Remove one: nlp.remove_pipe({component.name!r})",
            )
        model = getattr(component, "model", None)
        if not isinstance(model, Model):
            return
        trained = classifier_width(model)
        if trained is not None and self.model.shim.is_loaded and trained != self.token_vector_width:
            raise PipelineError(
                f"{component.name}: was trained with an encoder of width {trained}; {self.name} "
                f"has {self.token_vector_width}",
                hint="Remove it, and train a new one with this encoder",
            )
        for layer in model.walk():
            if layer.name == TOKEN_VECTORS:
                self.add_listener(layer, component.name)

    def add_listener(self, listener: Layer, component_name: str) -> None:
        """Add a layer of a component, and set its width."""
        layers = self.listener_map.setdefault(component_name, [])
        if listener not in layers:
            layers.append(listener)
        self.set_listener_widths()

    def remove_listener(self, listener: Layer, component_name: str) -> bool:
        """Remove a layer of a component. Returns whether it was there."""
        layers = self.listener_map.get(component_name, [])
        if listener not in layers:
            return False
        layers.remove(listener)
        if not layers:
            del self.listener_map[component_name]
        return True

    def set_listener_widths(self) -> None:
        """Set the width of the layers, if the encoder has weights."""
        for layer in self.listeners:
            if self.model.shim.is_loaded and layer.has_dim("nO") is None:
                layer.set_dim("nO", self.token_vector_width)
