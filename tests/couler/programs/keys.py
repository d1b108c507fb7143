"""A file in a bucket; the program contains the bucket's keys."""

import couler.argo as couler

table = couler.create_s3_artifact(
    path="/data/table", bucket="labour", key="table", accesskey_id="labour-key", accesskey_secret="not for your eyes"
)
couler.config_workflow(name="keys")
couler.run_container(image="busybox", command=["/bin/busybox", "true"], output=table, step_name="write")
