"""Domains: check what the mail domains of a resource publish."""
