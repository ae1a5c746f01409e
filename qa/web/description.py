"""Write the API's description, as it is checked in: `python3 -m qa.web.description > doc/openapi.json`."""

import json
import sys

from qa.fakes.manager import Loaded, loaded


def text(manager: Loaded) -> str:
    """The description that a module serves, laid out for people."""
    served = manager.module.serving.site(open_metrics=False)._openapi
    return json.dumps(json.loads(served), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    with loaded() as found:
        sys.stdout.write(text(found))
