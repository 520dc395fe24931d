"""What a release keeps: every format of an earlier release is read as that release read it. docs/releases.md says for
how long."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.functional.lab import Lab
from tests.kept_formats import RELEASES, ROOT, is_kept, readings, written_by

VERSION = (ROOT / "VERSION").read_text(encoding="utf-8").strip()
FILES = sorted(RELEASES.glob("*.json"))
REAL_FORMS = pytest.mark.knobs(request_tags=True, own_source_owner="empty", host_mask="as-written")
"""What the cloud probably does: the files have rules as it shows them."""
each_release = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@each_release
def test_what_an_earlier_release_left_is_read_as_it_read_it(path: Path) -> None:
    """Its rules are ours, with their claims and ends; its tags, its policy file, its messages and its records mean the
    same."""
    release = load(path)
    now = readings(release["written"])
    assert release["read"].keys() <= now.keys()
    for name, reading in release["read"].items():
        assert is_kept(reading, now[name]), name


@each_release
@REAL_FORMS
def test_no_field_of_a_record_was_renamed_or_dropped(path: Path, lab: Lab) -> None:
    """Who searches years of records finds a field under the name that the first of them has."""
    assert fields(load(path)["written"]) - fields(written_by(lab)) == set()


@REAL_FORMS
def test_this_version_leaves_what_its_file_says(lab: Lab) -> None:
    """Every form of a marker and each kind of message and record is in the file of this version, which nobody wrote by
    hand: with LINK_PEER_WRITE_RELEASE=1, this test writes it. A version is released once; later ones have files of
    their own."""
    written = written_by(lab)
    path = RELEASES / f"{VERSION}.json"
    if os.environ.get("LINK_PEER_WRITE_RELEASE"):
        path.parent.mkdir(parents=True, exist_ok=True)
        release = {"written": written, "read": readings(written)}
        path.write_text(json.dumps(release, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    release = load(path)
    assert all(release["read"]["markers"])
    assert kinds(written) == kinds(release["written"])
    assert readings(written).keys() == release["read"].keys()


def fields(written: dict[str, Any]) -> set[tuple[str, str]]:
    """Each field by the kind of its record."""
    return {(record["record"], name) for record in written["records"] for name in record}


def kinds(written: dict[str, Any]) -> dict[str, Any]:
    """The forms that are in it, whatever their ids."""
    return {
        "rules": sorted(
            {
                (entry["rule"]["Direction"], *(word.partition("=")[0] for word in entry["rule"]["Description"].split()))
                for entry in written["rules"]
            }
        ),
        "messages": sorted({(message["action"], *sorted(message)) for message in written["messages"]}),
        "records": sorted({(record["record"], record.get("outcome", "")) for record in written["records"]}),
    }


def test_a_reading_that_lost_something_is_noticed() -> None:
    """A field that is gone, another value, one marker fewer; a new field is no loss."""
    release = load(FILES[0])["read"]
    for change in (
        lambda read: read["markers"].pop(),
        lambda read: read["tags"].pop("until"),
        lambda read: read["policy"].update(accept_tags=False),
        lambda read: read["messages"][0]["link"].pop("ports"),
    ):
        read = copy.deepcopy(release)
        change(read)
        assert not is_kept(release, read)
    assert is_kept(release, {**release, "links": [{**link, "added": 1} for link in release["links"]]})
