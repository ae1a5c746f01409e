"""The page with pictures of the pages for a browser, which the browser tests make."""

import os
from pathlib import Path

_NONE = """\
The browser tests take a picture of every page, light, dark and narrow. There were none when this manual was made:

```sh
sudo qa/run browser
sudo qa/run manual build
```
"""


def write(page: Path, folder: Path) -> None:
    """Write the page. Pictures in `folder` are shown; where there are none, it is told how to make them."""
    pictures = sorted(folder.glob("*.png"))
    shown = "\n".join(
        f"## {each.stem.replace('-', ' ')}\n\n![{each.stem}]({os.path.relpath(each, page.parent)})\n"
        for each in pictures
    )
    page.write_text(
        f"# Pictures of the pages\n\nWhat is on them is told in [pages](pages.md).\n\n{shown or _NONE}"
    )
