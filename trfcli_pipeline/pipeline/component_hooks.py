"""Lets a Doc find the components that annotated it, as long as they exist in this process."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from spacy.tokens import Doc

ENCODER, CLASSIFIER = "trf_encoder", "trf_classifier"


class ComponentHook:
    """Weak reference to a component.

    It is among the hooks of a Doc, which spaCy neither writes to files nor sends to other
    processes, except by pickle. A pickled hook has lost its component.

    Args:
        component: The component; None if it is in another process.
    """

    def __init__(self, component: Any = None) -> None:
        self._find: Callable[[], Any] = _nothing if component is None else weakref.ref(component)

    def __call__(self) -> Any:
        """Return the component; None if it no longer exists."""
        return self._find()

    def __reduce__(self) -> tuple[Any, ...]:
        return ComponentHook, ()


def remember_component(docs: Iterable[Doc], role: str, component: Any) -> None:
    """Let Docs find a component. A later one of the same role and name replaces it.

    Args:
        docs: The Docs that it annotated.
        role: `ENCODER` or `CLASSIFIER`.
        component: The component.
    """
    key, hook = f"{role} {component.name}", ComponentHook(component)
    for doc in docs:
        doc.user_hooks[key] = hook


def find_components(doc: Doc, role: str) -> Iterator[Any]:
    """Yield the components of a role that annotated a Doc, the last first; None for lost ones."""
    for key, hook in reversed(list(doc.user_hooks.items())):
        if key.startswith(f"{role} ") and isinstance(hook, ComponentHook):
            yield hook()


def _nothing() -> None:
    return None
