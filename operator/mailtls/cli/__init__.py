"""The commands: preflight, probe, status, requests, explain and run."""
