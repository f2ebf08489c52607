"""`make demo`: the main job before your eyes, on a real cluster with a real ACME server."""
