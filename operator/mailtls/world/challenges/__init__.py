"""Proofs for the authority that names are ours: published, looked at as it would, and removed (RFC 8555 section 8)."""
