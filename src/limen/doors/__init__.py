"""Protocol front ends: only these know HTTP, and none imports another."""
