"""What the DNS says of a name or a mail domain, and the policy it points to; only reads, and judges nothing."""
