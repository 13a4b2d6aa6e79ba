"""Studies: from what a person asks for, a recipe or an own list or grid of specs, to cells with whole requests. Nothing
here loads torch.
"""
