"""Programs that run. Each has a README and a test."""
