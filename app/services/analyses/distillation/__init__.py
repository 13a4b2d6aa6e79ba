"""What distillation has gained: teacher, baseline and student side by side."""
