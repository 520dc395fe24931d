"""The certificates of a file as a folder in which OpenSSL finds each by its subject: it reads those that a server's
certificate needs, instead of all 120, whose parsing is a sixteenth of a cold start's instructions.

A file's name is the hash of the subject, as `openssl rehash` makes it [man X509_LOOKUP_hash_dir, src
X509_NAME_hash_ex].
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.name import _ASN1Type

_BLOCK = re.compile(b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


def write(file: Path, folder: Path) -> None:
    """Write each certificate of a file into a new folder. The same file gives the same names and bytes."""
    folder.mkdir()
    counts: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # of old certificates, which are as they are
        for block in _BLOCK.findall(file.read_bytes()):
            name = subject_hash(x509.load_pem_x509_certificate(block).subject)
            (folder / f"{name}.{counts[name]}").write_bytes(block)
            counts[name] += 1


def subject_hash(name: x509.Name) -> str:
    """The eight digits by which OpenSSL looks for the certificate of a subject: of the SHA-1 of its parts, without what
    they are in, where texts are UTF-8 in small letters, with one space between words."""
    parts = (x509.Name([x509.RelativeDistinguishedName(map(_canonical, part))]).public_bytes() for part in name.rdns)
    # without the head, which has more bytes for a length above 127
    inner = b"".join(part[2 + (part[1] & 0x7F if part[1] & 0x80 else 0) :] for part in parts)
    return hashlib.sha1(inner, usedforsecurity=False).digest()[3::-1].hex()


def _canonical(attribute: x509.NameAttribute[Any]) -> x509.NameAttribute[Any]:
    if not isinstance(attribute.value, str):
        return attribute
    text = re.sub(r"[ \t\n\v\f\r]+", " ", attribute.value).strip(" ")
    text = re.sub("[A-Z]+", lambda match: match[0].lower(), text)
    return x509.NameAttribute(attribute.oid, text, _type=_ASN1Type.UTF8String, _validate=False)
