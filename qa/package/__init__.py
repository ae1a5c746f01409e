"""What is looked at on a host on which packages were installed: by its own commands, with nothing of the checkout."""
