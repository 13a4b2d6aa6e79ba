"""Studies: many experiments that are written, watched and steered as one."""
