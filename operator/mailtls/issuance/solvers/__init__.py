"""Solvers: how challenge responses are published where the CA looks for them, one module for each way."""
