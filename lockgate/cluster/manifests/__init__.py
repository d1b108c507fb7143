"""What a cluster needs to run Lockgate: namespace, accounts, network, quotas, policies, settings of Argo's controller.

Plain dicts, as Kubernetes documents them: a typed model would put a package of a thousand classes into every
installation for some thirty objects. A test reads each of them with lightkube's typed models instead, strictly.
"""
