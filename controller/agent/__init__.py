"""The sidecar's program: drives ``neo4j-admin`` next to the data; knows nothing of Kubernetes or clouds.

It runs inside Neo4j's own image from a bundle, so it may use the standard library, msgspec,
``controller.wire`` and ``controller.neo4j`` only.
"""
