"""Verbs: pure decisions, in the order in which a certificate lives.

`plan` reads the chapters and takes the first unmet one; `issue` says whether a certificate is due, `order` walks one
ACME order, `schedule` picks times, `store` guards the Secret, `roll` brings the Secret into the pods one by one,
`probe` judges what the pods serve, `domain` what the mail domains publish, `report` turns it all into conditions.
"""
