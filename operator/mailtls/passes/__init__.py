"""Where decisions meet the world: one pass over one resource observes, performs the steps decided on, and reports.

`observe` gathers, `perform` hands each step to `issuing` or `rolling`, `reporting` tells what came of it.
"""
