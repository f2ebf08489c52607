"""The network below everything: what programs and servers answer, with limits of time and size."""
