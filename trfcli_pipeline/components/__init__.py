"""The pipeline components, and how to find them in a pipeline."""

from typing import TypeVar

from spacy.language import Language

Component = TypeVar("Component")


def find_component(nlp: Language, kind: type[Component]) -> Component | None:
    """The first enabled component of a kind, None if the pipeline has none."""
    return next((pipe for _, pipe in nlp.pipeline if isinstance(pipe, kind)), None)
