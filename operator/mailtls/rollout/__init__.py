"""Rollout: bring the stored certificate into the pods, one after the other."""
