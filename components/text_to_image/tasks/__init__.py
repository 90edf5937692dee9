"""What training minimises, where no engine has it."""
