"""The meta.json of a package: read from the pipeline's, and checked field by field.

These fields become headers of the package's metadata, where a line break would start another
header, and an empty line would end them.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from email.errors import MessageError
from email.headerregistry import Address
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from spacy.about import __version__ as spacy_version
from spacy.util import get_minor_version_range, load_config, walk_dict

from trfcli_pipeline.data.files import read_object
from trfcli_pipeline.data.surrogates import SURROGATE
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.foreign_pipelines import (
    COPY_AGAIN,
    check_file,
    explain,
    meta_problems,
)
from trfcli_pipeline.pipeline.language import DISTRIBUTION
from trfcli_pipeline.pipeline.loading import check_name, check_pipeline, error_class

_HEADERS = ("lang", "name", "version", "spacy_version", "author", "email", "url", "license")
# Unicode's categories of control characters, line separators and paragraph separators.
_CONTROLS = ("Cc", "Zl", "Zp")


def package_meta(
    model_dir: Path, *, name: str | None = None, version: str | None = None
) -> dict[str, Any]:
    """Return the meta.json of a pipeline's package, without what loading the pipeline adds.

    Args:
        model_dir: The pipeline.
        name: Name without the language. Default: the name in meta.json.
        version: PEP 440 version, which is normalized. Default: the version in meta.json.

    Raises:
        ArgumentError: The name or the version can't be part of a package.
        PipelineError: `model_dir` isn't a pipeline, or a field can't be part of a package.
    """
    path = model_dir / "meta.json"
    check_pipeline(str(model_dir))
    check_file(model_dir / "config.cfg")
    meta = read_object(path, PipelineError, hint=COPY_AGAIN)
    options = {"name": name, "version": version}
    given = {key: value for key, value in options.items() if value is not None}
    meta.update(given)
    meta["spacy_version"] = meta.get("spacy_version") or get_minor_version_range(spacy_version)
    places = {key: f"--{key}" if key in given else f'{path}: "{key}"' for key in _HEADERS}
    for field, text in _texts(meta):
        _check_encodable(places.get(field, f'{path}: "{field}"'), text)
    problems = meta_problems(meta)
    if problems:
        raise PipelineError(f"{path}: {'; '.join(problems)}", hint="Correct it in meta.json")
    for key in _HEADERS:
        _check_line(places[key], meta.get(key, ""))
    # Summaries may have several lines in meta.json, but not in the package's metadata.
    meta["description"] = " ".join(meta.get("description", "").split())
    _check_line(f'{path}: "description"', meta["description"])
    # The package's name starts with the language anyway.
    meta["name"] = meta["name"].removeprefix(f"{meta['lang']}_")
    for key in ("lang", "name"):
        check_name(meta[key], place=places[key])
    meta["version"] = _normalized_version(places["version"], meta["version"])
    _check_email(places["email"], meta.get("email", ""))
    _check_url(places["url"], meta.get("url", ""))
    meta["requirements"] = _requirements(model_dir, meta)
    return meta


def _check_encodable(place: str, text: str) -> None:
    """Check that a text has no lone surrogate, which UTF-8 can't store."""
    if SURROGATE.search(text):
        raise error_class(place)(
            f"{place} has half of a character (a lone surrogate) in {text!a}",
            hint="Write the whole character, or remove it",
        )


def _texts(meta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """All texts in a meta.json, keys included, each with the dotted path of its field."""
    # A list instead of recursion: values may be nested deeper than Python's stack.
    values: list[tuple[str, Any]] = [("", meta)]
    while values:
        field, value = values.pop()
        if isinstance(value, str):
            yield ascii(field)[1:-1], value
        elif isinstance(value, list):
            values += [(field, item) for item in value]
        elif isinstance(value, dict):
            for key, item in value.items():
                within = f"{field}.{key}" if field else key
                values += [(within, key), (within, item)]


def _check_line(place: str, text: str) -> None:
    """Check that a text is a single line."""
    found = next((each for each in text if unicodedata.category(each) in _CONTROLS), None)
    if found is None:
        return
    is_break = len(f"a{found}b".splitlines()) > 1
    character = "line break" if is_break else f"control character (U+{ord(found):04X})"
    raise error_class(place)(f"{place} has a {character} in {text!a}", hint="Write it as one line")


def _normalized_version(place: str, version: str) -> str:
    """A version as it is written in the names of archives."""
    try:
        return str(Version(version))
    # Python refuses to read numbers of thousands of digits.
    except ValueError as error:
        raise error_class(place)(
            f"{place}: {version!r} is not a version of a Python package",
            hint="Use a form like 1.0.0 or 1.0.0rc1 (PEP 440)",
        ) from error


def _check_email(place: str, email: str) -> None:
    if not email:
        return
    try:
        is_valid = bool(Address(addr_spec=email).domain)
    # The parser raises all three.
    except (MessageError, ValueError, IndexError):
        is_valid = False
    if not is_valid:
        raise PipelineError(
            f"{place}: {email!r} is not an e-mail address", hint="Use a form like name@example.org"
        )


def _check_url(place: str, url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_valid = False
    if not is_valid or len(url.split()) > 1:
        raise PipelineError(
            f"{place}: {url!r} is not the address of a web page",
            hint="Use a form like https://example.org",
        )


def _requirements(model_dir: Path, meta: Mapping[str, Any]) -> list[str]:
    """Return the requirements in meta.json, plus spaCy, plus trfcli if the pipeline uses it.

    spaCy finds the other distributions itself. It doesn't find trfcli if that is an editable
    install, or if only `nlp.lang` refers to it.
    """
    path = model_dir / "meta.json"
    requirements: dict[str, str] = {}
    for place, requirement in [
        *((f'{path}: "requirements"', each) for each in meta.get("requirements", ())),
        (f'{path}: "spacy_version"', f"spacy{meta['spacy_version']}"),
    ]:
        # Quoted parts of a valid requirement may contain line breaks.
        _check_line(place, requirement)
        try:
            name = canonicalize_name(Requirement(requirement).name)
        except InvalidRequirement as error:
            raise PipelineError(
                f"{place}: {requirement!r} is not a requirement",
                hint="Use a form like spacy>=3.8 (PEP 508)",
            ) from error
        requirements.setdefault(name, requirement)
    own = _own_requirement(model_dir)
    if own is not None:
        requirements.setdefault(DISTRIBUTION, own)
    return list(requirements.values())


def _own_requirement(model_dir: Path) -> str | None:
    """Return trfcli as a requirement, or None if the config uses nothing that it registers."""
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
    entry_points = distribution.entry_points
    registered = {point.name for point in entry_points if point.group.startswith("spacy_")}
    with explain(str(model_dir)):
        config = load_config(model_dir / "config.cfg")
    for path, value in walk_dict({key: config.get(key, {}) for key in ("nlp", "components")}):
        is_name = path == ["nlp", "lang"] or path[-1] == "factory" or path[-1].startswith("@")
        if is_name and value in registered:
            return f"{DISTRIBUTION}{get_minor_version_range(distribution.version)}"
    return None
