"""Building on another run: a student's teacher, a transfer's source, published weights, and features of a frozen
network.
"""
