"""Build trfcli's own wheel, for packages that require it: it is on no package index."""

import base64
import csv
import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path
from time import gmtime
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import Requirement

from trfcli_pipeline.errors import OutputError
from trfcli_pipeline.pipeline.language import DISTRIBUTION
from trfcli_pipeline.tasks.archives import build_archives, timestamp

# What installers add to a wheel's metadata directory.
_OF_INSTALLERS = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json")


def build_own_wheel(directory: Path, requirement: Requirement) -> Path:
    """Write the wheel of the installed trfcli to a directory.

    An editable installation is built from its source tree. Otherwise the installed files are put
    back into a wheel.

    Args:
        directory: Where to put the wheel.
        requirement: The requirement that it has to meet.

    Returns:
        The wheel.

    Raises:
        OutputError: trfcli isn't installed, doesn't meet the requirement, or has no source tree or
            list of files to build from.
    """
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise OutputError("it isn't installed") from error
    if not requirement.specifier.contains(distribution.version, prereleases=True):
        raise OutputError(f"{distribution.version} is installed, which isn't {requirement}")
    source = _source_tree(distribution)
    if source is None:
        return _pack(distribution, directory)
    if not (source / "pyproject.toml").is_file():
        raise OutputError(f"its source tree isn't at {source} any more")
    with tempfile.TemporaryDirectory() as folder:
        (wheel,) = build_archives(source, Path(folder), ["wheel"])
        return Path(shutil.copy(wheel, directory))


def _source_tree(distribution: metadata.Distribution) -> Path | None:
    """The source tree of an editable installation (PEP 610)."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(url2pathname(urlsplit(origin["url"]).path))


def _pack(distribution: metadata.Distribution, directory: Path) -> Path:
    """Put the files of an installed distribution back into a wheel."""
    # Scripts and compiled files are outside of the wheel: installers generate them.
    files = [
        file
        for file in sorted(distribution.files or (), key=str)
        if ".." not in file.parts and file.suffix != ".pyc" and file.name not in _OF_INSTALLERS
    ]
    info = next((file.parent for file in files if file.name == "METADATA"), None)
    if info is None:
        raise OutputError("its installation has no list of files")
    # A plain `pip install` writes one pure-Python wheel, tagged py3-none-any.
    wheel = directory / f"{info.name.removesuffix('.dist-info')}-py3-none-any.whl"
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    date = gmtime(timestamp())[:6]

    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:

        def write(path: str, content: bytes) -> None:
            entry = zipfile.ZipInfo(path, date)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)

        for file in files:
            content = Path(str(file.locate())).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            if file.hash is not None and file.hash.value != digest:
                raise OutputError(f"{file} was changed after its installation")
            rows.writerow([file.as_posix(), f"sha256={digest}", len(content)])
            write(file.as_posix(), content)
        path = f"{info.as_posix()}/RECORD"
        rows.writerow([path, "", ""])
        write(path, record.getvalue().encode())
    return wheel
