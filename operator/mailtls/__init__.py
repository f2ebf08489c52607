"""mailtls: certificates for mail servers, proven where they are served.

Read the package as a story: `handlers` put keys on the `queue`, `reconcile` observes, asks `lifecycle` for the
next step, lets `world` perform it, and reports. `model` holds the nouns that all of them share.
"""

__version__ = "0.1.0"
