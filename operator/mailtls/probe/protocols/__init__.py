"""Dialogs with mail servers as state machines without I/O: one grammar for each protocol."""
