"""Studies: from what a person asks for, a recipe or an own list or grid of specs, to cells with whole requests; and
single requests made from others in the same way. Nothing here loads torch.
"""
