"""What the site has beside the pages in ``docs/``: pages of other folders, and the notebook.

mkdocs calls these functions while it builds the site (``hooks`` in ``mkdocs.yml``).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "EXPERIMENTS.md": "experiments.md",
    "benchmarks/README.md": "benchmarks.md",
    "cluster/README.md": "cluster.md",
    "docs/first-search.ipynb": "first-search.md",
    "README.md": "index.md",
}
"""Files of the repository, and the pages that they are on the site."""
_SHIM = "https://unpkg.com/iframe-worker/shim"
"""What the theme would fetch, so that the search works where a page is opened from a folder."""
_DIALOG = 'data-md-component="search" role="dialog"'
"""The theme's search box, which it leaves without a name."""
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not lie in ``docs/``."""
    for source, page in PAGES.items():
        if page == "index.md":
            continue
        path = ROOT / source
        text = path.read_text(encoding="utf-8")
        text = notebook(text) if path.suffix == ".ipynb" else text
        files.append(File.generated(config, page, content=placed(text, path.parent)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links of a page in ``docs/`` lead to pages of the site."""
    is_ours = page.file.src_uri in PAGES.values() and page.file.src_uri != "index.md"
    return markdown if is_ours else placed(markdown, ROOT / "docs")


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Take the search's stand-in for a worker from the site itself, and name its box."""
    here = "../" * page.url.count("/")
    output = output.replace(_DIALOG, f'{_DIALOG} aria-label="Search"')
    return output.replace(_SHIM, f"{here}assets/file-worker.js")


def on_post_template(output_content: str, **_: Any) -> str:
    """Do the same in pages that come from no Markdown."""
    return output_content.replace(_SHIM, "assets/file-worker.js")


def placed(text: str, folder: Path) -> str:
    """Return a page with links as they are on the site; a file that is not there is only named.

    Args:
        text: Markdown.
        folder: where the page lies in the repository.
    """

    def link(found: re.Match[str]) -> str:
        picture, label, target = found.groups()
        path, mark, anchor = target.partition("#")
        if not path or "://" in path:
            return found[0]
        place = os.path.relpath(os.path.normpath(folder / path), ROOT)
        if place in PAGES:
            return f"{picture}[{label}]({PAGES[place]}{mark}{anchor})"
        if place.startswith("docs/"):
            return f"{picture}[{label}]({place.removeprefix('docs/')}{mark}{anchor})"
        return f"{label} (`{place}`)"

    return _LINK.sub(link, text)


def notebook(text: str) -> str:
    """Return a notebook as Markdown: its texts, its code, and what it printed."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(parts) + "\n"
