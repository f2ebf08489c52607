"""Where decisions meet the world: one pass over one resource observes, performs the steps decided on, and reports.

`observe` gathers, `perform` hands each step to `issuing`, which leaves challenges to `proving`, or to `rolling`, and
`reporting` tells what came of it.
"""
