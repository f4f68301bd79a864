"""Functions that look for one problem each and return a `Finding` or None; `registry` lists them."""
