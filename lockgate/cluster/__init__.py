"""A Kubernetes cluster with Argo: reach it, submit to it, watch it, and write its manifests."""
