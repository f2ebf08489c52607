"""Checks of what a mail domain publishes: pure, one finding for each fault."""
