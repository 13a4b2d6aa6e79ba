"""The command line `lab`. What speaks to a service over HTTP loads nothing of the server; what serves or works on the
database loads it when called.
"""
