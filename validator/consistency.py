"""What other reports say of this one."""
