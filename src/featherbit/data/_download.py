"""Downloads into the user's cache, each file with a checksum; nothing else in the library needs a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError


def download(name: str, base_url: str, checksums: Mapping[str, str], *, unpack: tuple[str, ...] = ()) -> Path:
    """Fetch files that the cache does not hold yet, and return their folder.

    Args:
        name: of the data set: a folder of the cache, and the message's word.
        base_url: what the files' names are appended to.
        checksums: of each file, `algorithm:hex`, or plain SHA-256.
        unpack: members to take out of the files, which are tar archives then; their folder is returned instead.

    Raises:
        DataError: the network, the server or a checksum failed.
    """
    import pooch

    store = pooch.create(pooch.os_cache("featherbit") / name, base_url=base_url, registry=dict(checksums))
    pooch.get_logger().setLevel("WARNING")
    processor: Any = pooch.Untar(members=list(unpack), extract_dir="unpacked") if unpack else None
    try:
        for file_name in checksums:
            store.fetch(file_name, processor=processor)
    except Exception as error:  # the network has many ways to fail, and pooch passes them through
        raise DataError(f"{name} could not be downloaded: {error}; give a folder of its files instead") from error
    return Path(store.path, "unpacked") if unpack else Path(store.path)
