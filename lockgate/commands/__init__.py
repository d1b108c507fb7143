"""What each verb does, on this machine and on a cluster; prints nothing."""
