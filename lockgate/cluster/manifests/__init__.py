"""The manifests a cluster needs: namespace, accounts, network, quotas, policies, settings of Argo's controller.

They are plain dicts in the form that Kubernetes documents: a typed model would add a package of a thousand classes to
every installation for about thirty objects. Instead, a test parses each with lightkube's typed models, strictly.
"""
