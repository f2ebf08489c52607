"""The certificate authority: an ACME client (RFC 8555, RFC 9773) of small steps, none of which waits."""
