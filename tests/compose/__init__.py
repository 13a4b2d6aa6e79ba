"""The containers, used as a user does: `make compose-test`. Not among the tests that pytest collects: it builds images
and takes minutes.
"""
