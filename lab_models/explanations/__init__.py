"""Where in an image a trained network finds its answer, and whether that is so: class activation maps and checks of
them. Nothing here loads torch.
"""
