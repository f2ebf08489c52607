"""Rollout: brings the certificate into the pods, one after the other, each verified before the next."""
