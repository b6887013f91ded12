"""What the HTML pages that commands write have in common: each is one self-contained file."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

# Of a page: more than what comes before the generator.
_HEAD_BYTES = 1000


def is_page(path: Path, command: str) -> bool:
    """Whether a file is a page that `render_page` has rendered for a command."""
    with path.open("rb") as file:
        return _generator(command).encode() in file.read(_HEAD_BYTES)


def page_environment(*packages: str) -> jinja2.Environment:
    """An environment with the templates of this package, and of others."""
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(each) for each in (*packages, "trfcli_pipeline.evaluation")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(
    environment: jinja2.Environment,
    template: str,
    *,
    command: str,
    styles: Sequence[str],
    script: str | None = None,
    styled_attributes: bool = False,
    **values: Any,
) -> str:
    """Render a template that extends `page.html`.

    Browsers load nothing else for the page, and run no script but its own.

    Args:
        environment: See `page_environment`.
        template: Name of the template.
        command: The command that writes the page, such as "trf evaluate"; see `is_page`.
        styles: Names of the templates of its styles.
        script: Name of the template of its script.
        styled_attributes: Whether elements have styles of their own.
        values: What the template needs.
    """
    # Our own styles and script must not be escaped.
    style, code = (
        Markup("").join(Markup(environment.get_template(name).render()) for name in names)
        for names in (styles, [script] if script else [])
    )
    page = environment.get_template(template).render(
        generator=Markup(_generator(command)),
        style=style,
        style_source=Markup("'unsafe-inline'") if styled_attributes else _hash(f"\n{style}\n"),
        script=code,
        script_source=_hash(code),
        **values,
    )
    # The name of a file may contain bytes that aren't UTF-8.
    return page.encode("utf8", errors="replace").decode("utf8")


def _generator(command: str) -> str:
    return f'<meta name="generator" content="{command}">'


def _hash(content: str) -> Markup:
    """The source of a Content-Security-Policy that allows this content of an element."""
    digest = hashlib.sha256(content.encode()).digest()
    return Markup("'sha256-{}'").format(base64.b64encode(digest).decode())
