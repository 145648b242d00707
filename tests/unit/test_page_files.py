"""The page's files: all packaged, nothing from elsewhere, and what is vendored is what was released."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/shmtelemetry"
STATIC = PACKAGE / "service/static"
VENDOR = STATIC / "vendor"
OURS = sorted(path for path in STATIC.iterdir() if path.is_file())


def test_what_is_vendored_is_what_was_released() -> None:
    sums = dict(reversed(line.split()) for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.name != "SHA256SUMS"
    }
    assert "MIT License" in (VENDOR / "LICENSE").read_text()


def test_every_file_is_in_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["shmtelemetry"]
    packaged = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    assert set(OURS) | set(VENDOR.iterdir()) <= packaged
    assert "src/shmtelemetry/service/static/vendor/LICENSE" in project["project"]["license-files"]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_a_file_is_short_and_names_no_other_host(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert path.suffix == ".svg" or max(map(len, text.splitlines())) <= 120
    others = set(
        re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`]*", re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    )
    assert others <= {"http://www.w3.org/2000/svg"}


def test_the_page_has_no_script_and_no_style_of_its_own() -> None:
    """Which the content security policy would not let in."""
    text = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []


def test_text_from_outside_never_becomes_markup() -> None:
    for path in OURS:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", path.read_text()), path


@pytest.mark.parametrize("path", [path for path in OURS if path.suffix == ".js"], ids=lambda path: path.name)
def test_every_import_is_there_and_used(path: Path) -> None:
    text = path.read_text()
    for names, module in re.findall(r"^import \{([^}]+)\} from \"\./([\w.]+)\";$", text, re.MULTILINE):
        exported = re.findall(
            r"^export (?:const|class|function|async function) ([\w$]+)", (STATIC / module).read_text(), re.MULTILINE
        )
        for name in (one.strip() for one in names.split(",")):
            assert name in exported, (module, name)
            assert len(re.findall(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text)) > 1, name
