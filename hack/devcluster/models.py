"""Schemas of the built-in types, read from the models of the kubernetes-asyncio package.

Guarantee: every field of the Kubernetes release that the package was generated from, with its type, its
description, whether it is required, and, from the tables here, its default and its list-map keys.
Non-guarantee: no enums and no formats; the server's own validation is in :mod:`builtin_rules`.

The model files are read as text: importing the package takes seconds on a busy machine, and a control
plane needs a tenth of it.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

from hack.devcluster.objects import Obj

PREFIX = "#/components/schemas/"

_DEFAULTS: dict[str, Obj] = {
    "V1PodSpec": {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "securityContext": {},
    },
    "V1Container": {
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
    },
    "V1Probe": {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    "V1HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    "V1ContainerPort": {"protocol": "TCP"},
    "V1ObjectFieldSelector": {"apiVersion": "v1"},
    "V1SecretVolumeSource": {"defaultMode": 420},
    "V1ConfigMapVolumeSource": {"defaultMode": 420},
    "V1ProjectedVolumeSource": {"defaultMode": 420},
    "V1DownwardAPIVolumeSource": {"defaultMode": 420},
    "V1ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    "V1ServicePort": {"protocol": "TCP"},
    "V1ServiceSpec": {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"},
    "V1PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    "V1PersistentVolumeSpec": {"volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain"},
    "V1StatefulSetSpec": {
        "replicas": 1,
        "podManagementPolicy": "OrderedReady",
        "revisionHistoryLimit": 10,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    },
    "V1DeploymentSpec": {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
    },
    "V1ReplicaSetSpec": {"replicas": 1},
    "V1JobSpec": {
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "podReplacementPolicy": "TerminatingOrFailed",
    },
    "V1CronJobSpec": {
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    },
    "V1StorageClass": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    "V1RoleRef": {"apiGroup": "rbac.authorization.k8s.io"},
    "V1CustomResourceDefinitionSpec": {"conversion": {"strategy": "None"}},
}

_LIST_KEYS: dict[str, dict[str, list[str]]] = {
    "V1ObjectMeta": {"ownerReferences": ["uid"]},
    "V1PodSpec": {
        "containers": ["name"],
        "initContainers": ["name"],
        "ephemeralContainers": ["name"],
        "volumes": ["name"],
        "imagePullSecrets": ["name"],
        "hostAliases": ["ip"],
        "topologySpreadConstraints": ["topologyKey", "whenUnsatisfiable"],
    },
    "V1Container": {
        "env": ["name"],
        "volumeMounts": ["mountPath"],
        "volumeDevices": ["devicePath"],
        "ports": ["containerPort", "protocol"],
    },
    "V1ResourceRequirements": {"claims": ["name"]},
    "V1PodStatus": {"conditions": ["type"], "podIPs": ["ip"]},
    "V1ServiceSpec": {"ports": ["port", "protocol"]},
    "V1ServiceAccount": {"secrets": ["name"]},
    **{
        f"V1{kind}Status": {"conditions": ["type"]}
        for kind in (
            "StatefulSet",
            "Deployment",
            "ReplicaSet",
            "Namespace",
            "Node",
            "PersistentVolumeClaim",
            "PodDisruptionBudget",
            "CustomResourceDefinition",
        )
    },
}

_SETS: dict[str, tuple[str, ...]] = {"V1ObjectMeta": ("finalizers",)}

_QUANTITIES: dict[str, tuple[str, ...]] = {
    "V1ResourceRequirements": ("limits", "requests"),
    "V1VolumeResourceRequirements": ("limits", "requests"),
    "V1PersistentVolumeClaimStatus": ("capacity",),
    "V1PersistentVolumeSpec": ("capacity",),
    "V1NodeStatus": ("capacity", "allocatable"),
    "V1EmptyDirVolumeSource": ("sizeLimit",),
}

_INT_OR_STRING: dict[str, tuple[str, ...]] = {
    "V1HTTPGetAction": ("port",),
    "V1TCPSocketAction": ("port",),
    "V1ServicePort": ("targetPort",),
    "V1RollingUpdateDeployment": ("maxSurge", "maxUnavailable"),
    "V1PodDisruptionBudgetSpec": ("minAvailable", "maxUnavailable"),
    "V1NetworkPolicyPort": ("port",),
}

_ATOMIC_STRUCTS = frozenset(
    {
        "V1LabelSelector",
        "V1ObjectReference",
        "V1LocalObjectReference",
        "V1ObjectFieldSelector",
        "V1SecretKeySelector",
    }
    | {"V1ConfigMapKeySelector", "V1ResourceFieldSelector", "V1NodeSelector", "V1RoleRef"}
)

_SCALARS: dict[str, Obj] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "object": {"x-kubernetes-preserve-unknown-fields": True},
}


def reference(model: str) -> Obj:
    return {"$ref": PREFIX + model}


def resolve(schema: Obj) -> Obj:
    """The schema itself, or the model that it refers to."""
    if "$ref" in schema:
        return component(schema["$ref"].removeprefix(PREFIX))
    if "allOf" in schema and "$ref" in schema["allOf"][0]:
        return component(schema["allOf"][0]["$ref"].removeprefix(PREFIX))
    return schema


@cache
def component(model: str) -> Obj:
    """The schema of one model; models inside it are references."""
    if model == "V1JSONSchemaProps":
        # It is recursive, and defaults or unknown fields in it are the user's text, not ours to touch.
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    source = _source(model)
    types: dict[str, str] = ast.literal_eval(_literal(source, "openapi_types"))
    names: dict[str, str] = ast.literal_eval(_literal(source, "attribute_map"))
    required = set(re.findall(r"Invalid value for `(\w+)`, must not be `None`", source))
    described = _descriptions(source)
    properties = {
        names[attribute]: _property(model, names[attribute], kind, described.get(attribute, ""))
        for attribute, kind in types.items()
    }
    schema: Obj = {"type": "object", "properties": properties}
    if required:
        schema["required"] = sorted(names[attribute] for attribute in required)
    if model in _ATOMIC_STRUCTS:
        schema["x-kubernetes-map-type"] = "atomic"
    return schema


def _property(model: str, name: str, kind: str, description: str) -> Obj:
    schema = _type(kind)
    if name in _QUANTITIES.get(model, ()):
        quantity = {"x-kubernetes-int-or-string": True, "format": "quantity"}
        schema = quantity if kind == "str" else {"type": "object", "additionalProperties": quantity}
    if name in _INT_OR_STRING.get(model, ()):
        schema = {"x-kubernetes-int-or-string": True}
    if keys := _LIST_KEYS.get(model, {}).get(name):
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}
    if name in _SETS.get(model, ()):
        schema |= {"x-kubernetes-list-type": "set"}
    default = _DEFAULTS.get(model, {}).get(name)
    extra = {"description": description} if description else {}
    if default is not None:
        extra["default"] = default
    if "$ref" in schema and extra:
        return {"allOf": [schema], **extra}
    return schema | extra


def _type(kind: str) -> Obj:
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    if kind.startswith("list["):
        return {"type": "array", "items": _type(kind[5:-1])}
    if kind.startswith("dict("):
        return {"type": "object", "additionalProperties": _type(kind[5:-1].partition(",")[2].strip())}
    return reference(kind)


@cache
def _source(model: str) -> str:
    package = importlib.util.find_spec("kubernetes_asyncio")
    assert package is not None
    assert package.submodule_search_locations is not None
    file = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", model)).lower()
    models = Path(package.submodule_search_locations[0]) / "client" / "models"
    return (models / f"{file}.py").read_text(encoding="utf-8")


def _literal(source: str, name: str) -> str:
    found = re.search(rf"    {name} = (\{{.*?\n    \}})", source, re.DOTALL)
    assert found is not None, f"the models of this kubernetes-asyncio have no {name}"
    return found[1]


def _descriptions(source: str) -> dict[str, str]:
    # One without a description has an empty line more, and the search must not run on to the next one's.
    pattern = re.compile(r'"""Gets the (\w+) of this \w+\.[^\n]*\n\n(?!\n)(.*?)\n\n *:return', re.DOTALL)
    return {
        name: text.replace("# noqa: E501", "").replace('\\"', '"').strip()
        for name, text in pattern.findall(source)
    }
