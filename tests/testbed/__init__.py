"""A real Kubernetes, ACME server and DNS on one machine, in one network namespace.

The story in the order of the modules: `host` says whether this machine can run it, `tools` builds Kubernetes, Helm
and Pebble, `images` makes what the pods run, `network` gives the cluster a namespace of its own, `processes` starts
and ends its programs, `cluster` puts it together; `pebble`, `zones`, `mailserver` and `audit` are what tests talk to.
"""
