"""Checks of `mailtls preflight`: what would go wrong with a manifest before it is applied."""
