"""`lockgate doctor`: check a machine or a cluster, and name the fix of each finding."""
