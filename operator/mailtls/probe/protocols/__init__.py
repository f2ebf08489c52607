"""The talk with a mail server as state machines without I/O: one grammar for each protocol, one walk for all."""
