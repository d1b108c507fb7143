"""What runs leave behind: records, environments, the store and its pointers."""
