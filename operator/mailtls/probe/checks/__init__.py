"""Verdicts on what a probe saw, and why: an ordered tuple of checks, grouped by what they check."""
