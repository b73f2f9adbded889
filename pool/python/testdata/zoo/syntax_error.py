"""Is no Python."""
def def
