"""Verdicts on what a mail domain publishes, beside what its hosts serve."""
