"""The code packages that were uploaded: unpacked, one folder for each content, until this process ends."""

from __future__ import annotations

import atexit
import base64
import binascii
import hashlib
import io
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from link_peer_local.core.errors import ApiError
from link_peer_local.core.real_api import not_offered

_lock = threading.Lock()
MAX_ZIP = 100 * 1024 * 1024
"""Of a package that is sent with the call [doc limits of usage]."""


def unpack(code: Mapping[str, Any]) -> str:
    """The folder with the files of a package. `code` is an InputCodeLocation; ApiError for one that holds no ZIP archive."""
    if "ossBucketName" in code or "ossObjectName" in code:
        raise not_offered("fc", "code in OSS")
    try:
        packed = base64.b64decode(code.get("zipFile") or "", validate=True)
        archive = zipfile.ZipFile(io.BytesIO(packed))
        folder = _root() / hashlib.sha256(packed).hexdigest()
        if len(packed) > MAX_ZIP:
            raise ApiError("InvalidArgument", 400, f"the package is larger than {MAX_ZIP} bytes")
        with _lock:
            if not folder.exists():
                half = tempfile.mkdtemp(dir=_root())
                archive.extractall(half)
                Path(half).rename(folder)
    except (TypeError, binascii.Error, zipfile.BadZipFile) as problem:
        raise ApiError("InvalidArgument", 400, f"code.zipFile is no ZIP archive in base64: {problem}") from None
    return str(folder)


@cache
def _root() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="link-peer-fc-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
