"""An agents backend in small: see README.md."""
