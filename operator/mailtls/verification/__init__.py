"""Verification: probe what the pods serve, and decide what is probed when."""
