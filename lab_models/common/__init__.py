"""What every room of the lab uses and what knows none of them: errors, files, names, checks, seeds. Nothing here loads
torch.
"""
