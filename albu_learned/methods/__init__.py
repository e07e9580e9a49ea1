"""The methods, a file each. None imports another."""
