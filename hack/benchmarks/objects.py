"""The objects of the benchmarks: Neo4jBackups of two and a half kilobytes, as an API server prints them.

Guarantee: the same number and version always give the same bytes, with the managedFields of two
managers, a spec, and a status with a condition and ten runs. Non-guarantee: the runs never happened.
"""

from __future__ import annotations

GROUP = "neo4j.neo4j.com"
VERSION = "v1alpha1"
PLURAL = "neo4jbackups"
KIND = "Neo4jBackup"
COLLECTION = f"/apis/{GROUP}/{VERSION}/{PLURAL}"
NAMESPACES = 50
FIRST_VERSION = 1_000_000
"""Resource versions as old as a cluster's usually are: seven digits."""

_FIELDS = ",".join(
    f'"f:{name}":{{}}' for name in ("target", "storage", "schedule", "retention", "options", "suspend")
)
_MANAGED = (
    '[{"manager":"kubectl-client-side-apply","operation":"Update","apiVersion":"neo4j.neo4j.com/v1alpha1",'
    '"time":"2026-10-01T08:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{".":{},'
    '"f:team":{}},"f:labels":{".":{},"f:app":{},"f:tier":{}}},"f:spec":{".":{},' + _FIELDS + "}}},"
    '{"manager":"neo4j-backup-operator","operation":"Update","apiVersion":"neo4j.neo4j.com/v1alpha1",'
    '"time":"2026-11-20T02:00:00Z","fieldsType":"FieldsV1","subresource":"status","fieldsV1":{"f:status":{".":{},'
    '"f:conditions":{},"f:history":{},"f:lastRunTime":{},"f:nextRunTime":{},"f:phase":{},"f:message":{}}}}]'
)
_HISTORY = ",".join(
    f'{{"runID":"r{day:02d}","startTime":"2026-11-{day:02d}T02:00:00Z","status":"Completed","type":"FULL"}}'
    for day in range(20, 10, -1)
)


def key(number: int) -> tuple[str, str]:
    """Namespace and name of an object."""
    return f"team-{number % NAMESPACES:02d}", f"backup-{number:05d}"


def render(number: int, version: int, generation: int = 1) -> bytes:
    """One object as JSON."""
    namespace, name = key(number)
    return (
        f'{{"apiVersion":"{GROUP}/{VERSION}","kind":"{KIND}","metadata":{{"annotations":{{"team":"graph"}},'
        f'"creationTimestamp":"2026-10-01T08:00:00Z","generation":{generation},"labels":{{"app":"neo4j",'
        f'"tier":"gold"}},"managedFields":{_MANAGED},"name":"{name}","namespace":"{namespace}",'
        f'"resourceVersion":"{version}","uid":"5e1f0c1a-7c2b-4d0e-9f5a-{number:012x}"}},'
        f'"spec":{{"target":{{"kind":"Cluster","name":"cluster-{number % 100:03d}"}},'
        f'"storage":{{"type":"s3","bucket":"backups-{number % 7}","path":"neo4j/{namespace}/{name}",'
        f'"cloud":{{"provider":"aws","region":"eu-central-1","credentialsSecret":"aws-credentials"}}}},'
        f'"schedule":"0 {number % 24} * * *","retention":{{"maxAge":"30d","maxCount":14,"deletePolicy":"Delete"}},'
        f'"options":{{"backupType":"AUTO","compress":true,"verify":true}},"suspend":false}},'
        f'"status":{{"phase":"Scheduled","message":"next run is planned","lastRunTime":"2026-11-20T02:00:00Z",'
        f'"nextRunTime":"2026-11-21T02:00:00Z","conditions":[{{"type":"Ready","status":"True",'
        f'"reason":"Scheduled","message":"waits for its next run","observedGeneration":1,'
        f'"lastTransitionTime":"2026-10-01T08:00:05Z"}}],"history":[{_HISTORY}]}}}}'
    ).encode()


def bookmark(version: int) -> bytes:
    """The event that ends the beginning of a streamed list."""
    return (
        f'{{"type":"BOOKMARK","object":{{"apiVersion":"{GROUP}/{VERSION}","kind":"{KIND}","metadata":{{'
        f'"resourceVersion":"{version}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}\n'
    ).encode()
