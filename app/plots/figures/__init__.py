"""What pictures show, as plain values: made by whoever knows the numbers, drawn by the module of the same name. Nothing
here draws.
"""
