"""Verification: which ports are probed when and how deep, and what the evidence proves."""
