"""The only I/O: each module adapts one part of the outside world behind a Protocol of `ports`.

`reading` is what people wrote, `cluster` is Kubernetes, `acme` the authority, `challenges` the proofs for it, `dns`
what the DNS says, and `probing` a mail server as its clients meet it.
"""
