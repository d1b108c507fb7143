"""`lockgate doctor`: check a machine or a cluster, and show the fix for each problem."""
