"""Under which splits a layer's numbers are kept: metrics at (run, epoch, split, layer); and what the file of gradients
over steps holds. Nothing here loads torch.
"""

GRADIENT_L2 = "gradient_l2"
"""L2 norm of the weight's gradient, mean over the measured steps."""
GRADIENT_MEAN_ABS = "gradient_mean_abs"
"""Mean absolute value over the weight's gradient, mean over the measured steps."""
BIAS_GRADIENT_L2 = "bias_gradient_l2"
"""L2 norm of the bias's gradient, mean over the measured steps; absent where a layer has no bias."""
WEIGHT_NORM = "weight_norm"
"""L2 norm of the weight itself, when the numbers are read."""
LAYER_POSITION = "layer_position"
"""0 for the layer nearest the input; only with epoch 0, because rows by name have no order of their own."""

LAYER_SPLITS = (GRADIENT_L2, GRADIENT_MEAN_ABS, BIAS_GRADIENT_L2, WEIGHT_NORM, LAYER_POSITION)

LAYER_GRADIENTS_NAME = "layer-gradients.safetensors"
"""Of a run that was asked for the gradients of a few parameters over its steps."""
STATISTICS = ("l2", "mean_abs", "max_abs")
"""Of one parameter's gradient at one step: L2 norm, mean and largest absolute value of its elements."""
MAGNITUDES = tuple(10 ** (quarter / 4) for quarter in range(-40, 9))
"""Edges between the bins of a histogram, from 1e-10 to 100; the first bin has what is smaller, exact zeros too, the
last what is larger.
"""
