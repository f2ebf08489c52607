"""The ACME client (RFC 8555, RFC 9773), in small steps."""
