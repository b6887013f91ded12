"""The pipeline components, and how to find them in a pipeline."""

from typing import TypeVar

from spacy.language import Language

Component = TypeVar("Component")


def find_component(nlp: Language, kind: type[Component]) -> Component | None:
    """The first component of a kind, an enabled one if there is one; None if there is none."""
    # Disabled ones count: spaCy disables what needs no training while it initialises the others.
    pipes = [pipe for _, pipe in (*nlp.pipeline, *nlp.components)]
    return next((pipe for pipe in pipes if isinstance(pipe, kind)), None)
