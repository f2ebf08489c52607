"""Reads what people wrote into frozen values; each complaint names its path."""
