"""What can end a run early, and what is told of it: signals, budgets, ranks that hang, figures that are not finite."""
