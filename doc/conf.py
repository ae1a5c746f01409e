"""How Sphinx makes the manual of this folder: `tox run -e manual`, or `qa/run manual --pages`.

Pages are Markdown (MyST), so that they can be read as they are. Those below `reference/` are made from the code each
time, and are not kept.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from mgr_fscrypt.messages import RELEASE  # noqa: E402 - the path above is what makes it importable
from qa.manual import pictures, reference  # noqa: E402

project = "cephfs-fscrypt"
author = "the authors of cephfs-fscrypt"
project_copyright = "the authors of cephfs-fscrypt, LGPL-2.1-or-later"
release = version = RELEASE

extensions = ["myst_parser"]
myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 4
exclude_patterns = ["_build", "results"]
nitpicky = True

html_theme = "furo"
html_title = f"cephfs-fscrypt {RELEASE}"
# nothing is fetched from elsewhere when a page is shown
html_use_opensearch = ""
html_copy_source = False

# links to other pages and files are held by the build; nothing outside is asked
linkcheck_ignore = [r"https?://"]

reference.write(HERE / "reference", openapi=HERE / "openapi.json")
pictures.write(HERE / "screenshots.md", HERE.parent / "build" / "pages")
