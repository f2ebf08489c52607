"""TLS as a mail client meets it: handshakes, what clients trust, and offers that no library makes any more."""
