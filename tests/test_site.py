"""The documentation as a site: built strictly, opened from a folder; the notebook runs as it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from helpers.browser import browser

NOTEBOOK = ROOT / "docs" / "first-search.ipynb"


def cells() -> list[str]:
    found = json.loads(NOTEBOOK.read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_the_site_builds_without_warnings_fetches_nothing_and_all_can_read_it(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs-material is not installed: make docs")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert (tmp_path / "search" / "search_index.js").stat().st_size > 10_000
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert {page.stem for page in tmp_path.glob("*.html")} >= {*pages, "first-search", "cluster"}
    for page in tmp_path.glob("*.html"):
        text = page.read_text()
        fetched = re.findall(r'<(?:script|img|iframe)[^>]*src="(https?:[^"]*)"', text)
        fetched += re.findall(
            r'<link[^>]*rel="(?:stylesheet|preload)"[^>]*href="(https?:.*?)"', text
        )
        assert fetched == [], page.name
        # Code that stands too far left in a list ends it, and each further item has number 1.
        for numbered in re.findall(r"<ol>.*?</ol>", text, re.DOTALL):
            assert numbered.count("<li") > 1, f"{page.name}: {numbered}"
        assert "```" not in text, page.name
        for source in re.findall(r'<script src="([^"]+)"', text):
            assert (tmp_path / source.removeprefix("/")).is_file(), source
    with browser() as opened:
        for name in ("index", "space", "results"):
            opened.open((tmp_path / f"{name}.html").as_uri())
            assert opened.barriers() == [], name


def test_every_page_stands_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    for page in (ROOT / "docs").glob("*.md"):
        assert re.search(rf"\b{re.escape(page.name)}$", nav, re.M), page.name


def test_the_notebook_is_kept_without_what_it_printed():
    notebook = json.loads(NOTEBOOK.read_text())
    assert notebook["nbformat"] == 4
    assert all(not cell.get("outputs") for cell in notebook["cells"])
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_notebook_runs_as_it_stands(tmp_path):
    """Its cells in one process, as a kernel runs them, in an empty folder."""
    program = "\n".join(["import matplotlib", "matplotlib.use('agg')", *cells()])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(\d)  +([\d.]+) %", done.stdout, re.M)
    assert [int(rank) for rank, _ in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= 3
    loaded = re.search(r"validation CER ([\d.]+) %", done.stdout)[1]
    assert loaded == rows[0][1], "the winner's weights"
