"""The manual in `doc/`: its commands are run on real clusters, its reference is made from the code.

`pages.py` reads the commands of a page, `session.py` runs them as a person would, `stages.py` has what pages need
around them, `reference.py` and `pictures.py` write the pages that are made each time.
"""
