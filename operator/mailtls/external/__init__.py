"""Certificates that somebody else writes into the Secret: checked before they go to pods, and never written."""
