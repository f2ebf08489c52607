"""`python -m bench`: the operator measured on the embedded cluster, against its targets."""
