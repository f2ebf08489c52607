"""Issuance: whether a certificate is due, the order that gets it, and the Secret that holds it."""
