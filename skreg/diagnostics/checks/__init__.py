"""Functions that each look for one problem and return a `Finding` or None; `registry` lists them."""
